"""Confidence, entropy and modified entropy, which share their log-probabilities, against exact decimals and scipy."""

import math
from decimal import Decimal, localcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy as scipy_entropy

from efface.attacks.confidence import confidence
from efface.attacks.entropy import entropy
from efface.attacks.loss import loss
from efface.attacks.modified_entropy import modified_entropy
from efface.attacks.outputs import RecordOutputs
from helpers.draws import CLASSES, RECORDS, random_outputs

STATISTICS = {"confidence": confidence, "entropy": entropy, "modified_entropy": modified_entropy}


def exact(key: str, logits: list[float], label: int) -> float:
    """The definition, by class, with 400 decimals, so that no probability is near 0 or 1 for it."""
    with localcontext() as context:
        context.prec = 400
        weights = [Decimal(z).exp() for z in logits]
        p = [w / sum(weights) for w in weights]
        if key == "confidence":
            return float(max(p).ln())
        if key == "entropy":
            return float(sum(q * q.ln() for q in p))
        total = -(1 - p[label]) * p[label].ln()
        for c, q in enumerate(p):
            if c != label:
                total -= q * (1 - q).ln()
        return float(-total)


@pytest.mark.parametrize("key", STATISTICS)
@pytest.mark.parametrize("scale", [0.1, 3.0, 60.0])
@pytest.mark.parametrize("classes", [2, 5])
def test_statistics_are_those_of_exact_decimals(key: str, scale: float, classes: int) -> None:
    outputs = random_outputs(0, classes, scale)
    found = STATISTICS[key](outputs, ())
    expected = [exact(key, z, t) for z, t in zip(outputs.logits.tolist(), outputs.targets.tolist(), strict=True)]
    assert found.dtype == torch.float64 and found.shape == (RECORDS,)
    assert found.tolist() == pytest.approx(expected, rel=1e-12, abs=0)
    assert bool((found <= 0).all())


def test_entropy_is_scipys() -> None:
    outputs = random_outputs(1)
    expected = -scipy_entropy(outputs.logits.double().softmax(1).numpy(), axis=1)
    assert entropy(outputs, ()).tolist() == pytest.approx(expected.tolist())


def test_modified_entropy_by_hand() -> None:
    """p = (.7, .2, .1): each other class counts its own log(1 - p), and no class but the label its log p."""
    logits = torch.tensor([[0.7, 0.2, 0.1]] * 2, dtype=torch.float64).log()
    found = modified_entropy(RecordOutputs(logits, torch.tensor([0, 1]), None), ())
    right = 0.3 * math.log(0.7) + 0.2 * math.log(0.8) + 0.1 * math.log(0.9)
    wrong = 0.8 * math.log(0.2) + 0.7 * math.log(0.3) + 0.1 * math.log(0.9)
    assert found.tolist() == pytest.approx([right, wrong])


@given(st.lists(st.floats(-80, 80, width=32), min_size=2, max_size=6), st.data())
@settings(max_examples=60, deadline=None)
def test_properties_of_the_statistics(logits: list[float], data: st.DataObject) -> None:
    label = data.draw(st.integers(0, len(logits) - 1))
    shift = data.draw(st.integers(-64, 64))
    order = data.draw(st.permutations(range(len(logits))))
    z = torch.tensor([logits], dtype=torch.float64)
    here = RecordOutputs(z, torch.tensor([label]), None)
    moved = RecordOutputs(z[:, order] + shift, torch.tensor([order.index(label)]), None)
    for key, score in STATISTICS.items():
        value = float(score(here, ()))
        assert value == pytest.approx(float(score(moved, ())), rel=1e-9, abs=1e-300), key
        assert -math.inf < value <= 0, key
    assert float(confidence(here, ())) >= -math.log(len(logits)) - 1e-12
    assert float(entropy(here, ())) >= -math.log(len(logits)) - 1e-12
    # the label's log-probability is at most the best one's, and entropy at least as low as the best one's surprise
    assert float(loss(here, ())) <= float(confidence(here, ())) + 1e-12
    assert float(entropy(here, ())) <= float(confidence(here, ())) + 1e-12


def test_the_label_matters_to_modified_entropy_alone() -> None:
    outputs = random_outputs(2)
    other = RecordOutputs(outputs.logits, (outputs.targets + 1) % CLASSES, None)
    assert torch.equal(confidence(outputs, ()), confidence(other, ()))
    assert torch.equal(entropy(outputs, ()), entropy(other, ()))
    assert not torch.allclose(modified_entropy(outputs, ()), modified_entropy(other, ()))


def test_surer_of_the_label_is_a_higher_score_without_end() -> None:
    """1 - p falls to 1e-130, where probabilities are all 1 to a float; sure and wrong falls as far."""
    rise = torch.arange(300, dtype=torch.float64)
    logits = torch.stack([rise, torch.zeros(300), torch.zeros(300) - 1], 1).double()
    right, wrong = (RecordOutputs(logits, torch.full((300,), t), None) for t in (0, 1))
    for score in STATISTICS.values():
        assert bool((score(right, ()).diff() > 0).all())
    assert bool((modified_entropy(wrong, ())[1:].diff() < 0).all())
    assert float(modified_entropy(wrong, ())[-1]) == pytest.approx(-2 * 299, rel=0.01)


def test_a_class_that_cannot_be_is_no_class() -> None:
    logits = torch.cat([random_outputs(0).logits, torch.full((RECORDS, 1), -torch.inf, dtype=torch.float64)], 1)
    for score in STATISTICS.values():
        assert torch.equal(
            score(RecordOutputs(logits, random_outputs(0).targets, None), ()), score(random_outputs(0), ())
        )
