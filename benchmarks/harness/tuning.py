"""The same small tuning for every method: draws from a stated space, on another forget set and another model."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from benchmarks.harness.cell import HowRun, unlearn_all, why_failed
from benchmarks.harness.cost import time_epoch
from benchmarks.harness.evaluator import Evaluator, compare
from benchmarks.harness.readings import request_of
from benchmarks.harness.requests import train_models, train_retrained
from benchmarks.harness.suite import Cell, Recipe, Setting, Suite, Tuning
from benchmarks.harness.versions import is_current, versions_of
from efface.errors import EffaceError
from efface.methods import REGISTRY
from efface.runtime.devices import threads
from efface.runtime.provenance import versions
from efface.runtime.seeds import derive_seed

ORIGINALS_SEED = 500  # of models that no cell unlearns
# by what the draws are compared: excess d2 of margins
SCORED: Mapping[str, str] = {"forget": "margin", "retain": "retain"}
AFFORDABLE = 0.25  # of a retraining, what options may cost in a run
# Raised by hand when draws are made or compared in another way.
TUNING_VERSION = 2
MAX_SCORE = 1e9  # score of options that gave no model


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


def tunings_of(suite: Suite) -> tuple[Tuned, ...]:
    """All that a suite tunes."""
    if suite.tuning is None:
        return ()
    return tuple(dict.fromkeys(tuned_for(c, suite.tuning) for c in suite.cells if c.variant == "tuned"))


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


def tuning_is_current(result: Mapping[str, Any], tuned: Tuned, suite: Suite) -> bool:
    """Whether a tuning's result has the draws that would be made now, by the versions of now."""
    recipe, tuning = suite.recipes[tuned.method], suite.tuning
    return (
        tuning is not None
        and [t["options"] for t in result["tried"]] == drawn(tuned, recipe, tuning)
        and is_current(
            result, tuned.method, tuned=asdict(tuned), evidence=recipe.evidence, tuning_version=TUNING_VERSION
        )
    )


def tune(tuned: Tuned, recipe: Recipe, tuning: Tuning, cache: Path) -> dict[str, Any]:
    """Try the draws; `best` has the least excess d2 of margins on forget and retain records together.

    Of the draws that cost at most a quarter of retraining, if there are any: what costs more is no rival in the tables.
    """
    with threads(1):
        request = request_of(tuned.setting, cache)
        positions = [np.arange(request.records)] * tuning.models
        models = train_models(request, positions, ORIGINALS_SEED, cache / "models")
        controls = train_retrained(request, tuning.retrained, cache / "models")
        evaluator = Evaluator(request, controls[0])
        limit = AFFORDABLE * time_epoch(request).cpu_s * request.problem.epochs[request.records]
        original, retrained = evaluator.read_all(models), evaluator.read_all(controls)
        tried = []
        for options in drawn(tuned, recipe, tuning):
            start = time.process_time()
            try:
                unlearned, cost = unlearn_all(request, models, tuned.method, HowRun(recipe, options))
                spent = cost["cpu_s"]
                far = compare(original, evaluator.read_all(unlearned), retrained)
                parts: dict[str, Any] = {place: far[key].unlearned.value for place, key in SCORED.items()}
                score = sum(parts.values())
            except EffaceError as error:
                failed = why_failed(error)
                parts, score, spent = {"failed": failed}, MAX_SCORE, (time.process_time() - start) / len(models)
            score = score if np.isfinite(score) else MAX_SCORE
            tried.append({"options": options, "score": score, "cpu_s": spent, **parts})
    affordable = [t for t in tried if t["cpu_s"] <= limit and t["score"] < MAX_SCORE]
    best = min(affordable or tried, key=lambda t: t["score"])
    return {
        "tuned": asdict(tuned),
        "evidence": recipe.evidence,
        **versions_of(tuned.method),
        "tuning_version": TUNING_VERSION,
        "versions": versions(),
        "tried": tried,
        "best": best["options"],
        "limit_s": limit,
        "cpu_s": sum(t["cpu_s"] for t in tried) * tuning.models,
    }
