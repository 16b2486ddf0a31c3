"""The same small tuning for every method: draws from a stated space, on another forget set and another model."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from efface.bench.cell import cell_key, time_epoch, unlearn_all
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
AFFORDABLE = 0.25  # of a retraining, what options may cost in a run
VERSION = 2  # of how draws are made and compared
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
    return cell_key(cell, {"recipe": {**asdict(recipe), "note": ""}, "tuning": asdict(tuning), "version": VERSION})


def tune(tuned: Tuned, recipe: Recipe, tuning: Tuning, cache: Path) -> dict[str, Any]:
    """Try the draws; `best` has the least excess d2 of margins on forget and retain records together.

    Of the draws that cost at most a quarter of retraining, if there are any: what costs more is no rival in the tables.
    """
    s, key = tuned.setting, tuning_key(tuned, recipe, tuning)
    with threads(1):
        asked = ask(problem(s.problem), s.records, s.request, s.share, s.draw, cache / "models")
        models = trained(asked, [np.arange(asked.records)] * tuning.models, ORIGINALS_SEED, cache / "models")
        again = retrained(asked, tuning.retrained, cache / "models")
        ground = Ground(asked, again[0])
        limit = AFFORDABLE * time_epoch(asked).cpu_s * asked.problem.epochs[s.records]
        first, gold = ground.reads(models), ground.reads(again)
        tried = []
        for options in drawn(tuned, recipe, tuning):
            start = time.process_time()
            try:
                unlearned, cost = unlearn_all(asked, models, tuned.method, recipe, options)
                spent = cost["cpu_s"]
                far = judged(first, ground.reads(unlearned), gold)
                parts: dict[str, Any] = {place: far[key].unlearned.value for place, key in SCORED.items()}
                score = sum(parts.values())
            except EffaceError as error:
                parts, score, spent = {"failed": str(error)}, WORST, (time.process_time() - start) / len(models)
            score = score if np.isfinite(score) else WORST
            tried.append({"options": options, "score": score, "cpu_s": spent, **parts})
    affordable = [t for t in tried if t["cpu_s"] <= limit and t["score"] < WORST]
    best = min(affordable or tried, key=lambda t: t["score"])
    return {
        "key": key,
        "tuned": asdict(tuned),
        "tried": tried,
        "best": best["options"],
        "limit_s": limit,
        "cpu_s": sum(t["cpu_s"] for t in tried) * tuning.models,
        "models": {"originals": tuning.models, "retrained": tuning.retrained},
    }
