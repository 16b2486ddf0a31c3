"""The same small tuning for every method: draws from a stated space, on another forget set and another model."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from efface.bench.cell import cell_key, unlearn_all
from efface.bench.ground import Ground, judged
from efface.bench.problems import problem
from efface.bench.requests import ask, retrained, trained
from efface.bench.suite import Cell, Recipe, Setting, Tuning
from efface.errors import EffaceError
from efface.methods import REGISTRY
from efface.runtime import derive_seed, threads

ORIGINALS_SEED = 500  # of models that no cell unlearns
# by what the draws are compared: excess d2 of margins
SCORED: Mapping[str, str] = {"forget": "margin", "retain": "retain"}
WORST = 1e9  # score of options that gave no model


@dataclass(frozen=True)
class Tuned:
    """A method to tune in a setting."""

    setting: Setting  # with the tuning's draw and numbers of models
    method: str

    @property
    def name(self) -> str:
        """Its name in file names."""
        return f"{self.setting.name}-{self.method}-tuning"


def tuned_for(cell: Cell, tuning: Tuning) -> Tuned:
    """What tunes a cell's method: the same request, another draw of it."""
    s = replace(cell.setting, draw=tuning.draw, originals=tuning.models, retrained=tuning.retrained)
    return Tuned(s, cell.method)


def drawn(tuned: Tuned, recipe: Recipe, tuning: Tuning) -> list[dict[str, Any]]:
    """Published options with those of the space drawn log-uniformly; a method draws the same in every setting."""
    rng = np.random.default_rng(derive_seed(0, "tuning", tuned.method))
    hints = get_type_hints(REGISTRY[tuned.method])
    kinds = {f.name: hints[f.name] for f in fields(REGISTRY[tuned.method])}
    found = []
    for _ in range(tuning.draws):
        values = {k: float(np.exp(rng.uniform(*np.log(ends)))) for k, ends in recipe.space.items()}
        whole = {k: max(1, round(v)) if kinds.get(k) is int else float(f"{v:.3g}") for k, v in values.items()}
        found.append({**recipe.published, **whole})
    return found


def tuning_key(tuned: Tuned, recipe: Recipe, tuning: Tuning) -> str:
    """What a tuning's result depends on."""
    cell = Cell(tuned.setting, tuned.method, "tuning", tuning.models)
    return cell_key(cell, {"recipe": {**asdict(recipe), "note": ""}, "tuning": asdict(tuning)})


def tune(tuned: Tuned, recipe: Recipe, tuning: Tuning, cache: Path) -> dict[str, Any]:
    """Try the draws; `best` has the least excess d2 of margins on forget and retain records together."""
    s = tuned.setting
    with threads(1):
        asked = ask(problem(s.problem), s.records, s.request, s.share, s.draw, cache / "models")
        models = trained(asked, [np.arange(asked.records)] * tuning.models, ORIGINALS_SEED, cache / "models")
        again = retrained(asked, tuning.retrained, cache / "models")
        ground = Ground(asked, again[0])
        first, gold = ground.reads(models), ground.reads(again)
        tried = []
        for options in drawn(tuned, recipe, tuning):
            try:
                unlearned, cost = unlearn_all(asked, models, tuned.method, recipe, options)
                far = judged(first, ground.reads(unlearned), gold)
                parts: dict[str, Any] = {place: far[key].unlearned.value for place, key in SCORED.items()}
                score = sum(parts.values())
            except EffaceError as error:
                parts, score, cost = {"failed": str(error)}, WORST, {"cpu_s": 0.0}
            score = score if np.isfinite(score) else WORST
            tried.append({"options": options, "score": score, "cpu_s": cost["cpu_s"] * len(models), **parts})
    best = min(tried, key=lambda t: t["score"])
    return {
        "key": tuning_key(tuned, recipe, tuning),
        "tuned": asdict(tuned),
        "tried": tried,
        "best": best["options"],
        "cpu_s": sum(t["cpu_s"] for t in tried),
        "models": {"originals": tuning.models, "retrained": tuning.retrained},
    }
