"""The last layer fitted afresh: that it is the minimum of its objective, has no unit, and learns what features show."""

import pytest
import torch
import torch.nn.functional as F

from efface.kinds.heads import RIDGE, probe
from helpers.draws import normal

N, CLASSES = 200, 3


def problem() -> tuple[torch.Tensor, torch.Tensor]:
    """Features of which the first three shift with the class."""
    targets = torch.arange(N) % CLASSES
    return normal(N, 6) + 1.5 * F.one_hot(targets, 6), targets


def test_the_fitted_layer_is_the_minimum_of_its_objective() -> None:
    x, y = problem()
    scaled = (x - x.mean(0)) / x.std(0)
    logits = probe(x, y, CLASSES)(x)
    # a linear layer's weights by least squares from its own logits
    design = torch.cat([scaled, torch.ones(N, 1, dtype=torch.float64)], 1)
    weights = torch.linalg.lstsq(design, logits).solution.requires_grad_()
    assert torch.allclose(design @ weights, logits, atol=1e-9)
    loss = F.cross_entropy(design @ weights, y) + RIDGE / 2 * weights[:-1].square().sum()
    loss.backward()
    assert weights.grad is not None
    assert float(weights.grad.abs().max()) < 1e-4


def test_features_have_no_unit() -> None:
    x, y = problem()
    scale, shift = torch.tensor([1.0, 10.0, 0.1, 3.0, 1.0, 1.0]), torch.arange(6.0)
    moved = probe(scale * x + shift, y, CLASSES)(scale * x + shift)
    assert torch.allclose(moved, probe(x, y, CLASSES)(x), atol=1e-6)


def test_it_classifies_other_records_and_survives_a_constant_feature() -> None:
    x, y = problem()
    x = torch.cat([x, torch.ones(N, 1, dtype=torch.float64)], 1)
    head = probe(x[:100], y[:100], CLASSES)
    assert float((head(x[100:]).argmax(1) == y[100:]).double().mean()) > 0.6  # a third is chance
    assert head(x[:1]).dtype == torch.float64
    other = x[:1].clone()
    other[0, -1] = 2.0
    assert bool(head(other).isfinite().all())
    assert probe(x.float(), y, CLASSES)(x.float()).tolist()[0] == pytest.approx(
        probe(x, y, CLASSES)(x).tolist()[0], abs=1e-3
    )
