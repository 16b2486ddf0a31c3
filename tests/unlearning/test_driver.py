"""The driver: when it evaluates, when it stops, and which weights it gives back, by methods with scripted steps."""

import gc
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import efface
from efface import DivergedError, RequestError, Result
from efface.models.checkpoint import load_weights, weights_digest
from efface.unlearning.evidence import Evaluation, Outcome
from efface.unlearning.stopping import Decision, LooksUnseen, StopRule, UtilityFloor
from helpers.calls import unlearn
from helpers.judged import GONE, class_problem
from helpers.scripted import Move, Scripted, forgetful, shift
from helpers.tiny import REFERENCE, Tiny, memorise, weights


@dataclass(frozen=True)
class AtEvaluation(StopRule):
    """Stops at the evaluation of a given number, whatever it shows."""

    number: int = 2

    def check(self, evaluations: Sequence[Evaluation]) -> Decision | None:
        return Decision(Outcome.LOOKS_UNSEEN, "as planned") if len(evaluations) == self.number else None


def spoil(model: nn.Module) -> None:
    with torch.no_grad():
        model[2].weight[0, 0] = float("nan")


def run(tiny: Tiny, *moves: Move, stop: StopRule | None = None, only_last: bool = False, **call: Any) -> Result:
    method = Scripted(moves=moves, only_last=only_last)
    call = {"reference": REFERENCE} | call
    return unlearn(tiny.model, forget=tiny.forget, task=tiny.task(), method=method, stop=stop, **call)


def bias(result: Result) -> float:
    return float((result.model[0].bias - result.original[0].bias)[0].detach())


def test_the_loop_ends_with_the_decision(tiny: Tiny) -> None:
    result = run(tiny, shift(1e-4), shift(1e-4), shift(1e-4), stop=AtEvaluation(number=3))
    assert [e.step for e in result.evidence.evaluations] == [0, 1, 2]
    assert (result.evidence.outcome, result.evidence.chosen_step) == (Outcome.LOOKS_UNSEEN, 2)
    assert result.evidence.reason == "as planned"
    assert bias(result) == pytest.approx(2e-4, rel=1e-3)


def test_only_evaluation_points_are_evaluated(tiny: Tiny) -> None:
    result = run(tiny, *[shift(1e-4)] * 5, only_last=True)
    assert [e.step for e in result.evidence.evaluations] == [0, 5]
    assert result.evidence.planned_evaluations == 1


@pytest.mark.parametrize("planned", [1, 5])
def test_intervals_are_widened_for_the_evaluations_planned(planned: int, tiny: Tiny) -> None:
    result = run(tiny, *[shift(1e-4)] * planned, stop=LooksUnseen())
    for evaluation in result.evidence.evaluations:
        assert evaluation.auc.level == pytest.approx(1 - 0.10 / planned)


def test_below_the_utility_floor_it_goes_back(tiny: Tiny) -> None:
    result = run(tiny, shift(1e-4), forgetful, stop=UtilityFloor(drop=0.01) | LooksUnseen())
    assert result.evidence.outcome is Outcome.UTILITY_FLOOR
    assert result.evidence.evaluations[-1].holdout_accuracy < result.evidence.evaluations[0].holdout_accuracy - 0.1
    assert result.evidence.chosen_step == 1
    assert bias(result) == pytest.approx(1e-4, rel=1e-3)
    assert torch.equal(result.model[2].weight, tiny.model[2].weight)


def test_what_was_overdone_is_undone(tiny: Tiny) -> None:
    at = torch.tensor(tiny.forget)

    def shun(model: nn.Module) -> None:
        memorise(model, tiny.x[at], (tiny.y[at] + 1) % 3, steps=60)

    result = run(tiny, shift(1e-4), shun, stop=LooksUnseen())
    assert result.evidence.outcome is Outcome.OVER_UNLEARNED
    assert result.evidence.evaluations[-1].auc.high < 0.5
    assert result.evidence.chosen_step == 1
    assert torch.equal(result.model[2].weight, tiny.model[2].weight)


def test_nan_weights_are_found_where_no_loss_shows_them(tiny: Tiny) -> None:
    before = weights(tiny.model)
    for evaluate in (True, False):
        with pytest.raises(DivergedError, match="scripted gave NaN or infinite weights at step 2"):
            run(tiny, shift(1e-4), spoil, evaluate=evaluate)
    assert weights(tiny.model) == before


def test_no_reference_is_trained_that_nothing_asks_for(tiny: Tiny) -> None:
    assert "reference" not in run(tiny, shift(1e-4), evaluate=False).cost.phases
    assert run(tiny, shift(1e-4)).cost.phases["reference"].backward > 0


def test_no_weights_of_the_reference_are_held_after_the_first_step(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[weakref.ref[nn.Module]] = []
    make = efface.unlearning.reference.reference_model  # type: ignore[attr-defined]

    def noted(*given: Any) -> nn.Module:
        model: nn.Module = make(*given)
        assert all(p.grad is None for p in model.parameters())
        trained.append(weakref.ref(model))
        return model

    monkeypatch.setattr("efface.unlearning.reference.reference_model", noted)
    alive: list[bool] = []

    def look(model: nn.Module) -> None:
        gc.collect()
        alive.append(trained[0]() is not None)

    result = run(tiny, look, shift(1e-4), look)
    assert alive == [True, False] and len(result.evidence.evaluations) == 4


def test_a_reference_that_learns_nothing_is_trained_once_more_by_another_recipe(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = iter(["nothing learned", None, "nothing learned"])
    monkeypatch.setattr("efface.unlearning.reference.RECIPES", (replace(REFERENCE, lr=1e-6), REFERENCE))
    plain = run(tiny, shift(1e-4))
    monkeypatch.setattr("efface.unlearning.reference.check_reference", lambda *_: next(said))
    second = run(tiny, shift(1e-4), reference=None)
    assert second.reference == plain.reference
    assert second.cost.phases["reference"].backward == 2 * plain.cost.phases["reference"].backward
    with pytest.raises(RequestError, match="nothing learned"):
        run(tiny, shift(1e-4))


def test_a_result_names_the_reference_that_it_was_made_by(tiny: Tiny) -> None:
    assert run(tiny, shift(1e-4), evaluate=False).reference is None
    first, second, other = (run(tiny, shift(1e-4), seed=seed).reference for seed in (0, 0, 1))
    assert first is not None and first == second != other


def test_a_run_can_keep_to_the_parts_of_another(tiny: Tiny) -> None:
    first, other = run(tiny, shift(1e-4), seed=3), run(tiny, shift(1e-4), seed=4)
    kept = run(tiny, shift(1e-4), seed=4, splits=first.splits)
    for part in (
        "forget",
        "retain",
        "reference",
        "heldout_retain",
        "audit_reference",
        "calibration",
        "stopping",
        "audit",
    ):
        assert getattr(kept.splits, part).tolist() == getattr(first.splits, part).tolist(), part
    assert first.splits.audit.tolist() != other.splits.audit.tolist()
    # trained on the same records by another seed, or on others by the same
    assert len({r.reference for r in (first, other, kept)}) == 3
    assert first.evidence.evaluations[0].holdout_accuracy == kept.evidence.evaluations[0].holdout_accuracy


@pytest.mark.parametrize("evaluate", [True, False])
def test_a_whole_class_can_be_forgotten(evaluate: bool) -> None:
    judged = class_problem()
    result = judged.unlearned("steer", evaluate=evaluate)
    said = [before_and_after(result, judged.x[judged.y == c]) for c in range(3)]
    assert said[GONE][0].eq(GONE).all() and not said[GONE][1].eq(GONE).any(), "not said of its records any more"
    # and nearly all that is said of the others stays
    for before, after in said[1:]:
        assert (before == after).double().mean() > 0.9
    assert "the request takes every record of class 0" in result.warnings
    assert result.splits.forget.tolist() == list(judged.forget)
    for part in (result.splits.reference, result.splits.heldout_retain):
        assert not judged.y[part].eq(GONE).any()


def before_and_after(result: Result, x: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        before, after = (m(x).argmax(1) for m in (result.original, result.model))
    return before, after


def test_a_class_that_stays_must_be_in_the_holdout() -> None:
    judged = class_problem()
    x, y = judged.task.holdout.tensors  # type: ignore[attr-defined]
    task = replace(judged.task, holdout=TensorDataset(x, torch.full_like(y, GONE)))
    with pytest.raises(RequestError, match="the holdout has no records of the classes that stay"):
        judged.unlearned("steer", task=task)


def test_bare_data_sets_do_without_a_task(tiny: Tiny) -> None:
    task, names = tiny.task(), [f"r{i}" for i in range(len(tiny.x))]
    method = Scripted(moves=(shift(1e-4),))
    data = {"train": task.train, "holdout": task.holdout, "ids": names}
    result = efface.unlearn(
        tiny.model, forget=["r9", "r3"], method=method, options=efface.UnlearnOptions(reference=REFERENCE), **data
    )
    assert result.forget == ("r9", "r3") and result.splits.forget.tolist() == [3, 9]
    assert result.task.ids == names


def test_a_result_is_saved_with_its_digest(tiny: Tiny, tmp_path: Any) -> None:
    result = run(tiny, shift(1e-4), evaluate=False)
    digest = result.save(tmp_path / "w.safetensors")
    model = tiny.fresh()
    load_weights(model, tmp_path / "w.safetensors")
    assert weights(model) == weights(result.model)
    assert digest == weights_digest(result.model)


def test_a_seed_of_numpy_is_taken_as_pythons_and_true_is_none(tiny: Tiny) -> None:
    given, own = (
        efface.unlearn(tiny.model, forget=tiny.forget, task=tiny.task(), method="noop", seed=seed)  # type: ignore[arg-type]
        for seed in (np.int64(5), 5)
    )
    assert (given.seed, type(given.seed)) == (own.seed, int)
    assert np.array_equal(given.splits.calibration, own.splits.calibration)
    odd: Any
    for odd in (True, 1.5, "0", None):
        with pytest.raises(RequestError, match="seed: expected an integer, got"):
            efface.unlearn(tiny.model, forget=tiny.forget, task=tiny.task(), seed=odd)
    for odd in ("no", 1):
        with pytest.raises(RequestError, match="progress: expected True or False, got"):
            efface.unlearn(tiny.model, forget=tiny.forget, task=tiny.task(), progress=odd)


def test_a_result_is_saved_to_a_path(tiny: Tiny) -> None:
    result = efface.unlearn(tiny.model, forget=tiny.forget, task=tiny.task(), method="noop")
    with pytest.raises(RequestError, match="path: expected a path, got int"):
        result.save(3)  # type: ignore[arg-type]


def test_the_runs_own_evidence_counts_persons(tiny: Tiny) -> None:
    call = {"forget": tiny.forget, "method": Scripted(moves=(shift(1e-4),)), "reference": REFERENCE}

    def evaluation(**groups: Any) -> Evaluation:
        return unlearn(tiny.model, task=tiny.task(**groups), **call).evidence.evaluations[1]

    records, others = len(tiny.y), len(tiny.holdout_y)
    plain, alone = evaluation(), evaluation(groups=range(records), holdout_groups=range(others))
    assert alone == plain
    persons = evaluation(groups=[i // 20 for i in range(records)])  # of the forget records, four each
    assert persons.auc.value == plain.auc.value
    assert persons.auc.high - persons.auc.low > 1.2 * (plain.auc.high - plain.auc.low)
    assert persons.accuracy_change == plain.accuracy_change
    seen_elsewhere = evaluation(holdout_groups=[i // 40 for i in range(others)])
    assert seen_elsewhere.auc.high - seen_elsewhere.auc.low != plain.auc.high - plain.auc.low
