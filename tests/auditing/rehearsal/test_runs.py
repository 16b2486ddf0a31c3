"""The batches of a rehearsal, and by which model each record is read."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import efface
from efface.attacks.outputs import ModelOutputs
from efface.auditing.inputs import AuditInputs
from efface.auditing.rehearsal.candidates import NoRehearsalError
from efface.auditing.rehearsal.readings import Readings
from efface.auditing.rehearsal.run import group_end
from efface.auditing.rehearsal.runs import MAX_RUNS, MIN_BATCH, deal
from efface.runtime.cost import Meter
from efface.types import Indices
from helpers.memorised import FORGET, TRAIN, Memorised
from helpers.tiny import REFERENCE

REHEARSED = np.setdiff1d(np.arange(TRAIN), FORGET)[::2][:80]


class Says(nn.Module):
    """A model that says the same of every record: a number."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = nn.Parameter(torch.tensor(float(number)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.number.expand(len(x)), torch.zeros(len(x)), torch.zeros(len(x))], 1)


def inputs_of(known: Memorised, forget: tuple[int, ...], **groups: Any) -> AuditInputs:
    inputs: AuditInputs = known.audit(forget=forget, task=replace(known.task, **groups), level="quick").inputs
    return inputs


@pytest.fixture(scope="module")
def three(known: Memorised) -> AuditInputs:
    return inputs_of(known, FORGET[:3])


@pytest.mark.parametrize(("records", "runs"), [(60, 2), (80, 2), (300, 10), (600, 10)])
def test_batches_are_about_as_large_as_the_request(
    three: AuditInputs, records: int, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("efface.data.checks.MAX_SHARE", 0.9)  # of so small a training set
    rehearsed = np.setdiff1d(np.arange(TRAIN), FORGET)[:records]
    batches = deal(three, rehearsed)
    assert len(batches) == runs <= MAX_RUNS
    asked = set(FORGET[:3])
    parts = [set(b.forget.tolist()) - asked for b in batches]
    assert all(asked <= set(b.forget.tolist()) for b in batches)
    assert set().union(*parts) == set(rehearsed.tolist()) and sum(map(len, parts)) == records
    sizes = sorted(map(len, parts))
    assert sizes[0] >= MIN_BATCH and sizes[-1] - sizes[0] <= 1


def test_a_larger_request_has_larger_batches(known: Memorised, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("efface.data.checks.MAX_SHARE", 0.9)
    batches = deal(inputs_of(known, FORGET[:40]), np.setdiff1d(np.arange(TRAIN), FORGET)[:160])
    assert len(batches) == 4


def test_a_person_is_in_one_batch(known: Memorised) -> None:
    persons = [f"person {i // 4}" for i in range(TRAIN)]
    inputs = inputs_of(known, (0, 1, 2, 3), groups=persons)
    batches = deal(inputs, np.arange(40, 200))
    for batch in batches:
        found = batch.forget[batch.forget >= 4] // 4
        assert (np.unique(found, return_counts=True)[1] == 4).all()


def test_a_single_group_makes_no_two_runs_to_compare(known: Memorised) -> None:
    crowd = ["one" if 40 <= i < 110 else f"person {i}" for i in range(TRAIN)]
    inputs = inputs_of(known, (0, 1), groups=crowd)
    with pytest.raises(NoRehearsalError, match="of one group"):
        deal(inputs, np.arange(40, 110))


def test_batches_of_unlike_groups_are_as_equal_as_these_allow(known: Memorised) -> None:
    crowd = ["many" if 40 <= i < 80 else f"person {i}" for i in range(TRAIN)]
    batches = deal(inputs_of(known, (0, 1), groups=crowd), np.arange(40, 125))
    assert sorted(len(b.forget) - 2 for b in batches) == [42, 43]


def test_twins_are_in_one_batch_and_those_with_twins_elsewhere_in_none(known: Memorised) -> None:
    x, y = (t.clone() for t in known.task.train.tensors)  # type: ignore[attr-defined]
    x[100:130] = x[130:160]  # 30 pairs among the rehearsed
    x[200:205] = x[300:305]  # five have a twin that stays
    task = replace(known.task, train=TensorDataset(x, y))
    options = efface.UnlearnOptions(twins="keep", reference=REFERENCE, evaluate=False)
    result = efface.unlearn(known.original, task=task, forget=[0, 1], method="finetune", options=options)
    inputs: AuditInputs = efface.audit(result, level="quick").inputs
    batches = deal(inputs, np.r_[100:160, 200:220])
    found = [set(b.forget.tolist()) - {0, 1} for b in batches]
    assert set().union(*found) == {*range(100, 160), *range(205, 220)}
    for one in found:
        assert all((at + 30 in one) == (at in one) for at in range(100, 130))
    with pytest.raises(NoRehearsalError, match="50 records are left to rehearse without those with twins elsewhere"):
        deal(inputs, np.r_[100:155, 200:205])  # five have their twins from 155 on


def test_never_seen_records_are_dealt_as_the_rehearsed_ones_are(known: Memorised) -> None:
    crowd = ["many" if 40 <= i < 100 else f"person {i // 2}" for i in range(TRAIN)]
    inputs = inputs_of(known, (0, 1, 2, 3), groups=crowd)
    joined, rehearsed = deal(inputs, np.arange(40, 120)), np.arange(40, 120)
    nowhere = ModelOutputs(*[None] * 2)  # type: ignore[arg-type]
    models = (Says(number) for number in range(len(joined)))
    positions = np.concatenate([inputs.request.forget, rehearsed])
    read = Readings(inputs, positions, nowhere, nowhere, ()).with_runs(models, joined, Meter()).judged
    shares = [torch.bincount(z[:, 0].long()) / len(z) for z in (read.forget.logits[4:], read.nonmembers.logits)]
    assert shares[0].tolist() == [0.75, 0.25]
    assert torch.allclose(*shares, atol=0.01)
    said = read.forget.logits[:4, 0]
    assert said[0] == said[1] and said[2] == said[3], "a person is read by one model"


@pytest.mark.parametrize(("wanted", "taken"), [(4, 4), (5, 8), (7, 8), (12, 12)])
def test_the_last_group_is_not_cut(wanted: int, taken: int, known: Memorised) -> None:
    inputs = inputs_of(known, (0, 1), groups=[f"person {i // 4}" for i in range(TRAIN)])
    nowhere = ModelOutputs(*[None] * 2)  # type: ignore[arg-type]
    read = Readings(inputs, np.r_[0, 1, 40:52], nowhere, nowhere, ())
    assert group_end(read, wanted) == taken


def test_each_record_is_read_by_the_run_that_forgot_it(three: AuditInputs) -> None:
    q, nowhere = 3, ModelOutputs(*[None] * 2)  # type: ignore[arg-type]
    positions: Indices = np.concatenate([three.request.forget, REHEARSED])
    joined = deal(three, REHEARSED)
    models = [Says(number) for number in range(len(joined))]
    read = Readings(three, positions, nowhere, nowhere, ()).with_runs(models, joined, Meter())
    said = read.judged.forget.logits[:, 0]
    assert torch.equal(read.judged.forget.targets, three.request.train.targets(positions))
    for number, batch in enumerate(joined):
        assert (said[q:][torch.from_numpy(np.isin(REHEARSED, batch.forget))] == number).all()
        assert (read.requested_by_run[number].logits[:, 0] == number).all()
    # requested and never-seen records are dealt among the models in equal parts, in their order
    assert said[:q].tolist() == [0, 1, 0]
    unseen = read.judged.nonmembers
    assert torch.equal(unseen.targets, three.request.holdout.targets(three.nonmembers))
    counts = torch.bincount(unseen.logits[:, 0].long())
    assert len(counts) == len(joined) and int(counts.max() - counts.min()) <= 1
