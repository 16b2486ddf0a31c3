"""Offline LiRA against a slow loop and the paper's form."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from efface.attacks.lira import lira
from efface.attacks.outputs import RecordOutputs
from helpers.draws import CLASSES, RECORDS, random_outputs


def slow_margin(logits: list[float], label: int) -> float:
    p = math.exp(logits[label]) / sum(map(math.exp, logits))
    return math.log(p / (1 - p))


def test_lira_is_that_of_a_slow_loop() -> None:
    outputs, references = random_outputs(0), [random_outputs(1), random_outputs(2), random_outputs(3)]
    outs = [[slow_margin(r.logits[i].tolist(), i % CLASSES) for r in references] for i in range(RECORDS)]
    spread = math.sqrt(np.mean([np.var(out, ddof=1) for out in outs]))
    found = lira(outputs, references, spread)
    assert found is not None and found.dtype == torch.float64
    own = [slow_margin(z, i % CLASSES) for i, z in enumerate(outputs.logits.tolist())]
    expected = [(phi - np.mean(out)) / spread for phi, out in zip(own, outs, strict=True)]
    assert found.tolist() == pytest.approx(expected, rel=1e-6)
    # the paper's form, whose rank it has, with or without the spread
    paper = [norm.logcdf(phi, np.mean(out), spread) for phi, out in zip(own, outs, strict=True)]
    unscaled = lira(outputs, references)
    assert unscaled is not None
    assert np.argsort(paper).tolist() == found.argsort().tolist() == unscaled.argsort().tolist()


def test_a_records_lira_score_depends_on_no_other_record() -> None:
    def part(v: RecordOutputs) -> RecordOutputs:
        return RecordOutputs(v.logits[3:9], v.targets[3:9], None)

    outputs, references = random_outputs(0), [random_outputs(1), random_outputs(2)]
    every, some = lira(outputs, references), lira(part(outputs), [part(r) for r in references])
    assert every is not None and some is not None and torch.equal(every[3:9], some)


def test_lira_without_enough_references() -> None:
    assert lira(random_outputs(0), ()) is None
    assert lira(random_outputs(0), [random_outputs(1)]) is not None
