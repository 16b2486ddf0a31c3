"""How a run's model is judged: the limit of lost accuracy holds for every model, whatever an audit says of it."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from efface.auditing.verdict import Status
from efface.store import DriftLimits, RunPlan, Stage, Store, StoreSettings
from helpers.store_cases import ANEW, QUICK, people, served, task_of
from helpers.store_verbs import interrupt, pending, result_of
from helpers.tiny import Tiny

Ruin = Callable[[nn.Module], None]


def prefer_a_class(model: nn.Module) -> None:
    """Let a model answer everything with one class."""
    with torch.no_grad():
        model[2].bias[0] += 100.0  # type: ignore[index, operator]


def answer_nothing(model: nn.Module) -> None:
    """Let the logits of a model with finite weights be NaN."""
    with torch.no_grad():
        model[2].weight.fill_(3e38)  # type: ignore[index, operator, union-attr]
        model[2].weight[:, ::2] *= -1  # type: ignore[index, operator]


@pytest.fixture
def ruined(monkeypatch: pytest.MonkeyPatch) -> Callable[[Ruin], None]:
    """Lets unlearning ruin the model."""

    def ruin(how: Ruin) -> None:
        def unlearn(model: nn.Module, **given: Any) -> Any:
            how(model)
            return result_of(model, **given)

        monkeypatch.setattr("efface.store.build.unlearn", unlearn)

    return ruin


def concluded(monkeypatch: pytest.MonkeyPatch, status: Status) -> None:
    """Put a conclusion in the audit's place."""
    verdict = SimpleNamespace(status=status, reasons=("said so",), next_steps=("do so",))
    report = SimpleNamespace(verdict=verdict, document={})
    monkeypatch.setattr(
        "efface.store.judging.write", lambda _, folder, receipt: (folder / "report.json").write_text("{}")
    )
    monkeypatch.setattr("efface.store.judging.audit_models", lambda **_: report)
    monkeypatch.setattr("efface.store.judging.noted_ranks", lambda *_: None)


@pytest.mark.parametrize("accept", ["verified", "undecided"])
@pytest.mark.parametrize("status", [Status.VERIFIED, Status.UNDECIDED])
def test_a_ruined_model_is_refused_whatever_the_audit_says(
    asked_store: Store,
    status: Status,
    accept: str,
    ruined: Callable[[Ruin], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ruined(prefer_a_class)
    concluded(monkeypatch, status)
    before = served(asked_store.path)
    outcome = asked_store.run(RunPlan(accept=accept))
    assert (outcome.status, outcome.version) == (status, None)
    assert outcome.reasons[0] == "said so" and "which is past the limit of 0.020" in outcome.reasons[1]
    assert any("efface run --retrain" in step for step in outcome.next_steps)
    assert any("another method" in step for step in outcome.next_steps) and "do so" in outcome.next_steps
    assert "efface run --accept any" in outcome.next_steps[-1]
    run = asked_store.history().runs[1]
    assert (run.stage, run.why) == (
        Stage.REJECTED,
        f"{status}; holdout accuracy is past the limit, and {accept} was asked for",
    )
    assert (served(asked_store.path), pending(asked_store)) == (before, [1])
    assert asked_store.verify(level=None).problems == ()


@pytest.mark.parametrize("ruin", [prefer_a_class, answer_nothing])
def test_a_ruined_model_that_nobody_audits_is_refused_unless_any_is_accepted(
    asked_store: Store, ruin: Ruin, ruined: Callable[[Ruin], None]
) -> None:
    ruined(ruin)
    outcome = asked_store.run(QUICK)
    assert (outcome.status, outcome.version) == ("not_audited", None)
    taken = asked_store.run(replace(QUICK, accept="any"))
    assert taken.version is not None and taken.version.drift is not None
    assert taken.version.drift["accuracy"] < -0.1 and "past the limit" in taken.reasons[1]
    assert len(taken.retraining) == 2
    assert asked_store.run(ANEW).version is not None, "a retraining begins anew"


def test_a_store_may_allow_any_loss(tmp_path: Any, tiny: Tiny, ruined: Callable[[Ruin], None]) -> None:
    ruined(prefer_a_class)
    settings = StoreSettings(limits=DriftLimits(changed=1.0, accuracy=1.0))
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model, settings=settings)
    store.add(people([5]))
    assert store.run(QUICK).version is not None


@pytest.mark.parametrize("point", ["run.made", "run.drift-read", "audited.before-commit", "run.judged"])
def test_a_resumed_run_comes_to_the_same_conclusion(
    asked_store: Store, point: str, ruined: Callable[[Ruin], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ruined(prefer_a_class)
    concluded(monkeypatch, Status.VERIFIED)
    interrupt(asked_store, RunPlan(), point)
    outcome = asked_store.run(RunPlan())
    assert (outcome.resumed, outcome.status, outcome.version) == (True, "verified", None)
    assert len(outcome.reasons) == 2 and "past the limit" in outcome.reasons[1]


def test_a_retrained_model_is_held_to_the_same_limit(asked_store: Store, tiny: Tiny) -> None:
    def fit(model: nn.Module, dataset: Any, seed: int) -> None:
        task_of(tiny).fit(model, dataset, seed)  # type: ignore[misc]
        prefer_a_class(model)

    store = Store(asked_store.path, replace(task_of(tiny), fit=fit))
    outcome = store.run(ANEW)
    assert outcome.version is None and "which is past the limit" in outcome.reasons[0]
    assert outcome.next_steps[0].startswith("see to Task.fit")
