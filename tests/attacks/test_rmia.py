"""Offline RMIA: its score by hand, and that its rank among nonmembers is the paper's count at gamma = 1."""

import math

import pytest
import torch

from efface.attacks.outputs import RecordOutputs
from efface.attacks.rmia import OFFLINE, rmia
from helpers.draws import random_outputs


def of_probability(*shares: float) -> RecordOutputs:
    """What a model says that gives the label, of two classes, these probabilities."""
    logits = torch.tensor([[math.log(p), math.log(1 - p)] for p in shares], dtype=torch.float64)
    return RecordOutputs(logits, torch.zeros(len(shares), dtype=torch.long), None)


def test_rmia_by_hand() -> None:
    """Two references give .2 and .6, so p_out = .4 and p = ((1 + a) .4 + 1 - a) / 2."""
    found = rmia(of_probability(0.9), [of_probability(0.2), of_probability(0.6)])
    assert found is not None
    assert found.tolist() == pytest.approx([math.log(0.9 / (((1 + OFFLINE) * 0.4 + 1 - OFFLINE) / 2))])


def test_the_rank_among_nonmembers_is_the_papers_count() -> None:
    """The share of population records z with ratio(x) / ratio(z) > 1, ratio = p(. | model) / p(.)."""
    outputs, references = random_outputs(0), [random_outputs(1), random_outputs(2)]

    def ratio(record: int) -> float:
        own, *out = (float(o.logits[record].softmax(0)[int(o.targets[record])]) for o in (outputs, *references))
        return own / (((1 + OFFLINE) * sum(out) / len(out) + 1 - OFFLINE) / 2)

    scores = rmia(outputs, references)
    assert scores is not None
    records, population = range(10), range(10, 30)
    counts = [sum(ratio(x) / ratio(z) > 1 for z in population) for x in records]
    assert [int((scores[x] > scores[10:]).sum()) for x in records] == counts
    assert len(set(counts)) > 3  # so that the line before can fail
