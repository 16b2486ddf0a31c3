"""The methods as a table: what they do, where they come from, and how the benchmark runs them."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from benchmarks.harness.markdown import NONE, table
from benchmarks.harness.suite import CONTROLS, Recipe
from efface.methods import REGISTRY

HEADER = ("key", "what it does", "source", "published values", "tuned over", "note")


def methods(recipes: Mapping[str, Recipe]) -> str:
    """One row a method of the registry; values that a recipe does not give are efface's defaults."""
    return table(HEADER, [_line(key, recipes.get(key, Recipe())) for key in REGISTRY], right=len(HEADER))


def _line(key: str, recipe: Recipe) -> list[str]:
    method = REGISTRY[key]
    own = not recipe.published and key not in CONTROLS and bool(fields(method))
    published = "efface's defaults" if own else _values(recipe.published)
    tuned = ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in recipe.space.items())
    stopped = "stopped by efface's evidence, which is charged" if recipe.evidence else ""
    notes = "; ".join(part for part in (recipe.note, stopped) if part)
    return [f"`{key}`", method.summary, method.source, published, tuned or NONE, notes]


def _values(options: Mapping[str, Any]) -> str:
    shown = (f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in options.items())
    return ", ".join(shown) or NONE
