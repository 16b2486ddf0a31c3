"""The arguments of an audit: what is refused, what is said about options without effect, and what is taken."""

from typing import Any

import numpy as np
import pytest

import efface
from efface import AuditOptions, Recipe, RequestError
from efface.auditing.config import MODELS, REFERENCES
from efface.runtime.kinds import network_problem
from helpers.memorised import FORGET, Memorised
from helpers.tiny import REFERENCE

pytestmark = pytest.mark.usefixtures("brief")


def refused(known: Memorised, **changes: Any) -> tuple[str, ...]:
    """The problems of an audit of the original as the unlearned model."""
    pair = {"original": known.original, "unlearned": known.original, "forget": FORGET, "task": known.task}
    given = {**pair, **changes}
    with pytest.raises(RequestError) as caught:
        efface.audit_models(given.pop("original"), given.pop("unlearned"), **given)
    return caught.value.problems


@pytest.mark.parametrize("level", ["quick", "standard"])
def test_a_method_and_a_cache_are_refused_below_level_strong(level: str, known: Memorised) -> None:
    options = AuditOptions(method="scrub", cache="cache", models=16)
    lines = ("method: only level strong and a rehearsal use it", "cache: only level strong uses it")
    assert refused(known, level=level, options=options) == lines


def test_settings_that_a_level_does_not_use_are_noted(known: Memorised) -> None:
    usual: dict[str, Any] = {"models": MODELS, "jobs": None, "recipe": Recipe(), "references": REFERENCES}
    others: dict[str, Any] = {"models": 16, "jobs": 1, "recipe": REFERENCE, "references": 2}
    quick = known.audit(level="quick", **others)
    assert "without effect at level quick: models, jobs, recipe, references" in quick.notes
    standard = known.audit(**others)
    assert "without effect at level standard: models, jobs" in standard.notes
    one = known.audit(level="quick", **{**usual, "references": 2})
    assert "without effect at level quick: references" in one.notes
    assert not any("without effect" in note for note in known.audit(level="quick", **usual).notes)


def test_arguments_of_wrong_kinds_are_refused_together(known: Memorised) -> None:
    weights = known.original.state_dict()
    assert refused(
        known, original=weights, unlearned="model.pt", task=None, level="best", seed=True, references="4", options=3
    ) == (
        f"original: {network_problem(weights)}",
        f"unlearned: {network_problem('model.pt')}",
        "task: expected an efface.Task, got None",
        "level: expected one of quick, standard, strong, got 'best'",
        "references: expected a number of models, or models, got str",
        "seed: expected an integer, got True",
        "options: expected an efface.AuditOptions, got int",
    )
    assert refused(known, unlearned=known.steered) == (
        "unlearned: expected a torch.nn.Module, got Result: give the network within it, its .model",
    )


def test_kinds_are_ids_by_the_name_of_each() -> None:
    for kinds in ({3: [5]}, {"ages": 5}, {"ages": "u-17"}, {"ages": None}):
        with pytest.raises(RequestError, match="kinds: expected the record ids of each kind by its name, got"):
            AuditOptions(kinds=kinds)  # type: ignore[arg-type]
    assert AuditOptions(kinds={"ages": (5,), "sizes": {5, 7}, "rest": np.arange(3)}).kinds  # type: ignore[dict-item]
    with pytest.raises(RequestError, match=r"no argument 'groups' \(did you mean 'kinds'\?\)"):
        AuditOptions(groups={"ages": (5,)})  # type: ignore[call-arg]


def test_test_records_in_another_role_are_refused(known: Memorised) -> None:
    for name in ("train", "holdout"):
        with pytest.raises(RequestError, match=f"test is the same data set as {name}"):
            efface.audit(known.noop, test=getattr(known.task, name))


def test_numbers_of_numpy_are_taken(known: Memorised) -> None:
    made = AuditOptions(run_seed=np.int64(3), models=np.int32(16), jobs=np.int8(2))  # type: ignore[arg-type]
    assert (made.run_seed, made.models, made.jobs) == (3, 16, 2)
    assert all(type(value) is int for value in (made.run_seed, made.models, made.jobs))
    given, own = (known.audit(known.noop, level="quick", seed=seed) for seed in (np.int64(7), 7))
    assert given.document["seed"] == own.document["seed"] and given.document["metrics"] == own.document["metrics"]
    few = known.audit(known.noop, references=np.int64(1), recipe=Recipe(epochs=1, lr=1e-2, batch=32, least_steps=40))
    assert len(few.findings.references) == 1
