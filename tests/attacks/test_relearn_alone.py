"""Relearning of single records: each from a copy of its own, and in steps."""

import numpy as np
import pytest
import torch

from efface.attacks.outputs import RecordSet
from efface.attacks.relearn import relearn
from efface.attacks.relearn_alone import relearn_alone
from efface.data.records import Records
from efface.models.checkpoint import weights_digest
from efface.runtime.cost import Meter
from helpers.memorised import FORGET, Memorised

STEPS = 4


def test_each_record_is_learned_from_the_model_as_it_is(known: Memorised) -> None:
    task, train, model = known.task, Records(known.task.train, known.task), known.retrained[0]
    before, meter = weights_digest(model), Meter()
    at = np.array(FORGET[:3])
    found = relearn_alone(task, model, RecordSet(train, at), 0, meter, STEPS)
    # the slower way: relearn each alone as a set of one, and add up its doubts
    one_by_one = [
        sum(relearn(task, model, RecordSet(train, r), RecordSet(train, r), 0, Meter(), STEPS).forget)
        for r in at[:, None]
    ]
    assert found.tolist() == pytest.approx(one_by_one)
    assert ((found >= 0) & (found <= STEPS + 1)).all()
    assert weights_digest(model) == before
    assert (meter.cost().total.forward, meter.cost().total.backward) == (3 * (STEPS + 1), 3 * STEPS)


def test_a_known_record_takes_fewer_steps(known: Memorised) -> None:
    task, train = known.task, Records(known.task.train, known.task)
    chosen = RecordSet(train, np.array(FORGET[:20]))
    knows, never_saw = (relearn_alone(task, m, chosen, 0, Meter(), STEPS) for m in (known.original, known.retrained[0]))
    assert float(torch.median(knows)) < float(torch.median(never_saw))
