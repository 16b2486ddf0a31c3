"""Which assumptions a request meets, and what a run's own evidence may say where it meets too few."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import efface
from efface import RequestError, Result
from efface.unlearning.evidence import Outcome
from helpers.judged import class_problem
from helpers.tiny import REFERENCE, Tiny


def met(result: Result) -> dict[str, bool]:
    return {a.name: a.met for a in result.assumptions}


def test_a_random_request_meets_them(tiny: Tiny) -> None:
    result = efface.unlearn(
        tiny.model, forget=tiny.forget, task=tiny.task(), options=efface.UnlearnOptions(reference=REFERENCE)
    )
    found = met(result)
    assert list(found) == ["classes stay", "enough nonmembers", "alike", "support", "not memorised beyond nonmembers"]
    # 100 of the 200 holdout records are nonmembers, which is few
    assert not found.pop("enough nonmembers") and all(found.values())
    assert any("100 holdout records" in line for line in result.warnings)


def test_a_chosen_request_is_told_and_not_judged_by_the_run(tiny: Tiny) -> None:
    # what the model knows best among the records of wrong labels, which no nonmember could know
    at = torch.arange(len(tiny.y))
    wrong = (tiny.y != at % 3).nonzero().flatten()[:20].tolist()
    result = efface.unlearn(
        tiny.model, forget=wrong, task=tiny.task(), options=efface.UnlearnOptions(reference=REFERENCE)
    )
    named = {r for a in result.assumptions if not a.met for r in a.records}
    assert named and named <= set(wrong)
    assert not met(result)["not memorised beyond nonmembers"]


def test_records_of_one_person_show_nothing_of_how_persons_were_chosen(tiny: Tiny) -> None:
    at = torch.arange(len(tiny.y))
    wrong = (tiny.y != at % 3).nonzero().flatten()[:20].tolist()

    def found(groups: list[int] | None) -> dict[str, bool]:
        options = efface.UnlearnOptions(reference=REFERENCE)
        return met(efface.unlearn(tiny.model, forget=wrong, task=tiny.task(groups=groups), options=options))

    alone, together = found(at.tolist()), found(torch.isin(at, torch.tensor(wrong)).long().tolist())
    assert alone == found(None)
    assert not alone["not memorised beyond nonmembers"] and together["not memorised beyond nonmembers"]


def test_most_of_a_class_is_no_random_request() -> None:
    judged = class_problem()
    some = [int(i) for i in judged.forget][:-2]  # all but two records
    result = efface.unlearn(
        judged.original, forget=some, task=judged.task, options=efface.UnlearnOptions(reference=REFERENCE)
    )
    assert not met(result)["classes stay"]
    assert result.evidence.outcome in (Outcome.NOT_JUDGED, Outcome.UTILITY_FLOOR)
    if result.evidence.outcome is Outcome.NOT_JUDGED:
        assert "an audit can tell" in result.evidence.reason and result.evidence.evaluations


def test_splits_of_another_request_are_refused(tiny: Tiny) -> None:
    splits = efface.unlearn(
        tiny.model, forget=tiny.forget, task=tiny.task(), method="noop", options=efface.UnlearnOptions(evaluate=False)
    ).splits
    for forget in (tiny.forget[:3], [*tiny.forget, 1]):
        with pytest.raises(RequestError, match="splits: they are those of another request"):
            efface.unlearn(
                tiny.model,
                forget=forget,
                task=tiny.task(),
                method="noop",
                options=efface.UnlearnOptions(evaluate=False, splits=splits),
            )


def test_sparse_gradients_are_refused_before_any_work(tiny: Tiny) -> None:
    model = nn.Sequential(nn.EmbeddingBag(10, 4, sparse=True), nn.Linear(4, 3))
    x = torch.randint(10, (300, 5), generator=torch.Generator().manual_seed(0))
    held = torch.randint(10, (200, 5), generator=torch.Generator().manual_seed(1))
    data = {"train": TensorDataset(x, tiny.y), "holdout": TensorDataset(held, tiny.holdout_y)}
    with pytest.raises(RequestError, match="sparse=False"):
        efface.unlearn(model, forget=[1, 2], options=efface.UnlearnOptions(checks=False), **data)
