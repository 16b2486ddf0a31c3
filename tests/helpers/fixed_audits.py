"""What is stored of the judge: its audits of fixed models, none of them made by a method of efface."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import efface
from efface import Recipe, Report, Result
from efface.auditing.verdict import JUDGE_VERSION
from efface.methods import Method
from efface.methods.base import Problem, Step
from efface.runtime.options import option
from helpers.audits import audited
from helpers.fixed_problems import Fixed, many_records, retrained, whole_class
from helpers.stored import Case, of_tree

RECIPE = Recipe(epochs=1, lr=1e-2, batch=64, least_steps=30)
SECTIONS = ("tests", "exchangeable", "roc", "canaries", "ensembles", "metrics", "records", "verdict")
WORDS = {"key", "records", "kind", "state", "outcome", "status"}  # other text is wording, and may change
NAMES = {"reasons", "next", "id", "position", "label"}  # what names a record, and wording
SHOWN = 20  # records, evenly from all
RATES = np.geomspace(3e-3, 0.9, 16)  # false positive rates at which curves are read
LOAD = {"cpu_s", "found", "method"}  # of the ensembles: what time, a cache and the request decide


@dataclass(frozen=True)
class Doubt(Method):
    """Descends on all records at once, with even odds as the target of forget records."""

    key = "doubt"
    summary = "teach even odds for the forget set"
    source = "stands for any tool in tests of the judge"

    steps: int = option(15, "steps of Adam", 1)

    @property
    def max_evaluations(self) -> int:
        return 1

    @property
    def length(self) -> int:
        return self.steps

    def run(self, problem: Problem) -> Iterator[Step]:
        forget, retain = (problem.train.read(at) for at in (problem.forget, problem.retain))
        optimiser = torch.optim.Adam(problem.trainable(), lr=1e-2)
        for k in range(1, self.steps + 1):
            with torch.enable_grad():
                optimiser.zero_grad()
                z_f, z_r = (problem.task.forward(problem.model, b.inputs) for b in (forget, retain))
                loss = F.cross_entropy(z_r, retain.targets) - 0.2 * F.log_softmax(z_f, 1).mean()
                loss.backward()
                optimiser.step()
            yield Step(k, loss.item(), is_eval_point=k == self.steps)


@cache
def audits() -> dict[str, Report]:
    """Audits at every level, of models of each kind that the judge tells apart."""
    given, classes = many_records(), whole_class()
    doubting = efface.unlearn(
        given.original,
        forget=given.forget,
        task=given.task,
        method=Doubt(),
        options=efface.UnlearnOptions(evaluate=False),
    )
    without_class = retrained(classes, seed=1)
    again = [retrained(given, seed) for seed in range(1, 6)]
    with TemporaryDirectory() as kept:  # two strong audits of one request are measured against the same models
        strong = _audit(doubting, level="strong", cache=kept)
        strong_retrained = _of_model(given, again[4], level="strong", cache=kept)
    return {
        "quick": _audit(doubting, level="quick"),
        "quick, class": _of_model(classes, without_class, level="quick"),
        "standard": _audit(doubting),
        "standard, original": _of_model(given, given.original),
        "standard, retrained": _of_model(given, again[4]),
        "standard, beside retrained": _audit(doubting, retrained=again[:4]),
        "standard, class": _of_model(classes, without_class),
        "strong": strong,
        "strong, retrained": strong_retrained,
    }


def audit_case(report: Report) -> Case:
    """What the judge found, less what time and load decide; of records and curves, a selection."""
    found = {name: _numbers(report.document[name]) for name in SECTIONS}
    found["records"] = found["records"][:: max(1, len(found["records"]) // SHOWN)]
    if found["roc"] is not None:
        curves = found["roc"].pop("models")
        found["roc"]["tpr"] = {who: None if c is None else _read(c["fpr"], c["tpr"]) for who, c in curves.items()}
    return of_tree(found, JUDGE_VERSION)


def _audit(result: Result | None = None, **changes: Any) -> Report:
    common = {"recipe": RECIPE, "references": 2, "models": 8, "jobs": 1, "progress": False}
    return audited(result, **{**common, **changes})


def _of_model(given: Fixed, model: torch.nn.Module, **changes: Any) -> Report:
    return _audit(original=given.original, unlearned=model, forget=given.forget, task=given.task, **changes)


def _numbers(tree: Any) -> Any:
    """The tree less wording, ids of records, and the load of ensembles."""
    if isinstance(tree, Mapping):
        return {
            key: _numbers(value)
            for key, value in tree.items()
            if key not in LOAD and (key in WORDS or not isinstance(value, str)) and key not in NAMES
        }
    return [_numbers(value) for value in tree] if isinstance(tree, list) else tree


def _read(fpr: list[float], tpr: list[float]) -> list[float]:
    """True positive rates at RATES; the points themselves change number and place with every pair of equal scores."""
    at = np.searchsorted(fpr, RATES, side="right") - 1
    return [tpr[k] for k in at]
