"""Requests in a row are kept at what the first model said; that of a record leaves with it, and that of its nearest."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Subset

import efface
from efface import FirstOutputs, RequestError, UnlearnOptions
from efface.calibration.aim import Aim, aim_at
from efface.methods import steer
from efface.methods.base import Method
from efface.methods.steer import Steer
from helpers.tiny import RECORDS, REFERENCE, Tiny, memorise, mlp

QUICK = Steer(steps=8)


def asked(tiny: Tiny, given: FirstOutputs | None, method: Method = QUICK, **options: Any) -> efface.Result:
    chosen = UnlearnOptions(first_outputs=given, reference=REFERENCE, evaluate=False, **options)
    return efface.unlearn(tiny.model, task=tiny.task(), forget=tiny.forget, method=method, options=chosen)


def test_they_are_what_the_model_says_of_records_drawn_once(tiny: Tiny) -> None:
    found = efface.first_outputs(tiny.model, task=tiny.task(ids=[f"r{i}" for i in range(RECORDS)]), records=40)
    assert len(found) == 40 == len(set(found.ids))
    with torch.no_grad():
        for name, values in zip(found.ids, found.values, strict=True):
            assert torch.allclose(values, tiny.model(tiny.x[int(str(name)[1:])][None])[0], atol=1e-5)
    assert (
        found.ids
        == efface.first_outputs(tiny.model, task=tiny.task(ids=[f"r{i}" for i in range(RECORDS)]), records=40).ids
    )
    assert len(efface.first_outputs(tiny.model, task=tiny.task(), records=10**6)) == RECORDS


def features(tiny: Tiny) -> Tensor:
    with torch.no_grad():
        return tiny.model[:2](tiny.x).double()  # type: ignore[index]


def test_the_forget_set_and_its_nearest_leave_with_a_request(tiny: Tiny) -> None:
    given = efface.first_outputs(tiny.model, task=tiny.task(), records=150)
    left = asked(tiny, given).first_outputs
    assert left is not None
    there = np.array([i for i in given.ids if i not in tiny.forget])
    described = features(tiny)
    described = torch.nn.functional.normalize(described - described[there].mean(0), dim=1)
    pairs = sorted(((float(described[f] @ described[o]), int(o)) for f in tiny.forget for o in there), reverse=True)
    best = {f: max((float(described[f] @ described[o]), int(o)) for o in there) for f in tiny.forget}
    # of 12 forget records some 6 have their nearest of all 288 retain records among these 150 or so
    likely = -(-len(tiny.forget) * len(there) // (RECORDS - len(tiny.forget)))
    near: list[int] = []
    for nearness, other in pairs:
        if (nearness, other) in best.values() and other not in near and len(near) < likely:
            near.append(other)
    assert 0 < len(near) == likely < len(tiny.forget)
    assert set(left.ids) == set(there.tolist()) - set(near)
    by_id = dict(zip(given.ids, given.values, strict=True))
    assert all(torch.equal(by_id[name], values) for name, values in zip(left.ids, left.values, strict=True))


def test_nothing_is_left_where_a_whole_class_goes(tiny: Tiny) -> None:
    tiny = replace(tiny, y=torch.where(torch.arange(RECORDS) % 10 == 0, 2, tiny.y % 2))  # a class of a tenth
    model = memorise(mlp(), tiny.x, tiny.y)
    given = efface.first_outputs(model, task=tiny.task())
    forget = torch.where(tiny.y == 2)[0].tolist()
    options = UnlearnOptions(first_outputs=given, reference=REFERENCE, evaluate=False, checks=False)
    result = efface.unlearn(model, task=tiny.task(), forget=forget, method=QUICK, options=options)
    assert result.first_outputs is not None and len(result.first_outputs) == 0
    assert asked(tiny, result.first_outputs, checks=False).first_outputs is not None  # which the next run may be given


def test_a_run_without_them_gives_none(tiny: Tiny) -> None:
    assert asked(tiny, None).first_outputs is None


@pytest.fixture
def kept_at(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What steer keeps retain records at, in each run."""
    seen: list[Tensor] = []

    def spied(wanted: Tensor, now: Tensor, *rest: Any) -> Aim:
        if wanted is now:
            seen.append(wanted)
        return aim_at(wanted, now, *rest)

    monkeypatch.setattr(steer, "aim_at", spied)
    return seen


def test_steer_keeps_retain_records_at_them_and_others_where_they_are_few(tiny: Tiny, kept_at: list[Tensor]) -> None:
    given = efface.first_outputs(tiny.model, task=tiny.task(), records=150)
    marked = FirstOutputs(given.ids, given.values + 1000.0 * (torch.arange(3) == 0))
    result = asked(tiny, marked)
    assert result.first_outputs is not None
    readable = np.setdiff1d(result.splits.retain, result.splits.audit_reference)
    known = np.intersect1d(np.array(result.first_outputs.ids), readable)
    (kept,) = kept_at
    assert int((kept[:, 0] - kept[:, 1] > 500).sum()) == len(known) > 50
    assert len(kept) == len(readable), "too few are known, so all others are kept where the original has them"


def test_an_audit_takes_them_for_a_rehearsal_alone(tiny: Tiny) -> None:
    given = efface.first_outputs(tiny.model, task=tiny.task())
    models = {"original": tiny.model, "unlearned": tiny.fresh(), "forget": tiny.forget, "task": tiny.task()}
    with pytest.raises(RequestError, match="only a rehearsal uses them"):
        efface.AuditOptions(first_outputs=given)
    other = FirstOutputs((1, 2), torch.zeros(2, 4))
    options = efface.AuditOptions(first_outputs=other, rehearse=True, method=QUICK)
    with pytest.raises(RequestError, match="they have 4 numbers a record"):
        efface.audit_models(**models, options=options)
    with pytest.raises(RequestError, match="given beside a result"):
        efface.audit(asked(tiny, None), options=efface.AuditOptions(first_outputs=given, rehearse=True))
    with pytest.raises(RequestError, match="first_outputs: expected what efface"):
        efface.AuditOptions(first_outputs="all")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ids", "values", "said"),
    [
        ([1, 1], torch.zeros(2, 3), "ids: some stand there more than once"),
        ([1, 2], torch.zeros(3, 3), "values: expected a row for each of 2 ids, got 3"),
        ([1, 2], torch.zeros(2), r"values: expected a floating tensor \(records, k\)"),
        ([1, 2], torch.zeros(2, 3, dtype=torch.long), r"values: expected a floating tensor \(records, k\)"),
        ([1, 2], [[0.0], [1.0]], r"values: expected a floating tensor \(records, k\), got list"),
        ([1, 2], torch.tensor([[0.0], [torch.nan]]), "values: some are NaN or infinite"),
        ([1, 2], torch.tensor([[0.0], [torch.inf]]), "values: some are NaN or infinite"),
        ("12", torch.zeros(2, 3), "ids: expected a sequence"),
    ],
)
def test_what_does_not_fit_is_refused(ids: Any, values: Any, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        FirstOutputs(ids, values)


def test_those_of_another_task_or_model_are_refused_before_any_work(tiny: Tiny) -> None:
    with pytest.raises(RequestError, match="none of their ids is in the training set"):
        asked(tiny, FirstOutputs(("a", "b"), torch.zeros(2, 3)))
    with pytest.raises(RequestError, match=r"they have 4 numbers a record, and the model gives 3"):
        asked(tiny, FirstOutputs((1, 2), torch.zeros(2, 4)))
    with pytest.raises(RequestError, match="first_outputs: expected what efface"):
        UnlearnOptions(first_outputs=[1])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "fields", "said"),
    [
        ({}, {"ids": [1, 2]}, "ids"),
        ({"records": 0}, {}, "records: expected an integer of 1 or more, got 0"),
        ({"records": "5"}, {}, "records: expected an integer of 1 or more, got '5'"),
        ({"seed": "a"}, {}, "seed: expected an integer"),
        ({"model": "x"}, {}, "model: "),
        ({}, {"train": []}, "the training set is empty"),
        ({}, {"train": [(torch.zeros(3), 0)] * 200}, "model"),
    ],
)
def test_what_cannot_be_read_is_refused(given: Any, fields: Any, said: str, tiny: Tiny) -> None:
    with pytest.raises(RequestError, match=said):
        efface.first_outputs(**{"model": tiny.model, "task": tiny.task(**fields), **given})


def test_a_subset_must_say_what_its_records_are_called(tiny: Tiny) -> None:
    train = Subset(tiny.task().train, range(50, 250))  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="train is a Subset: say how its records are named"):
        efface.first_outputs(tiny.model, task=tiny.task(train=train))
    assert min(efface.first_outputs(tiny.model, task=tiny.task(train=train, ids="base")).ids) == 50


def test_hand_made_ones_of_a_pass_with_gradients_serve(tiny: Tiny) -> None:
    result = asked(tiny, FirstOutputs(range(RECORDS), tiny.model(tiny.x).double()))  # type: ignore[arg-type]
    assert result.first_outputs is not None and not result.first_outputs.values.requires_grad


def test_nothing_is_left_for_a_model_that_was_trained_anew(tiny: Tiny) -> None:
    given = efface.first_outputs(tiny.model, task=tiny.task())
    assert asked(tiny, given, efface.methods.Retrain(epochs=1)).first_outputs is None
    assert asked(tiny, given, efface.methods.Noop()).first_outputs is not None


def test_a_model_that_gives_no_number_for_some_records_has_none_of_these(tiny: Tiny) -> None:
    odd = tiny.x.clone()
    odd[7] = torch.nan
    found = efface.first_outputs(replace(tiny, x=odd).model, task=replace(tiny, x=odd).task())
    assert set(range(RECORDS)) - set(found.ids) == {7}
