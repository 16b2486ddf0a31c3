"""Distances between models' readings, against slow loops and known answers."""

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.harness.evaluator import change, compare, output_distances


def probabilities(models: int, seed: int) -> Tensor:
    return torch.randn(models, 7, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).softmax(2)


def slow_distances(ours: Tensor, retrained: Tensor, same: bool) -> tuple[float, float]:
    varied, divergences = [], []
    for i in range(len(ours)):
        for j in range(len(retrained)):
            if same and i == j:
                continue
            variation = divergence = 0.0
            for p, q in zip(ours[i].tolist(), retrained[j].tolist(), strict=True):
                variation += sum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2 / len(ours[i])
                for a, b in zip(p, q, strict=True):
                    half = sum(c * float(np.log(c / ((a + b) / 2))) for c in (a, b) if c > 0) / 2
                    divergence += half / len(ours[i])
            varied.append(variation)
            divergences.append(divergence)
    return float(np.mean(varied)), float(np.mean(divergences))


def test_models_are_as_far_apart_as_a_slow_loop_says() -> None:
    ours, retrained = probabilities(3, 0), probabilities(4, 1)
    ours[0, 0] = torch.tensor([1.0, 0.0, 0.0])  # logarithms of 0
    found = {"probabilities": ours}, {"probabilities": retrained}
    assert output_distances(*found) == pytest.approx(slow_distances(ours, retrained, False), rel=1e-12)
    assert output_distances(found[1], found[1]) == pytest.approx(slow_distances(retrained, retrained, True), rel=1e-12)


def test_total_opposites_are_as_far_apart_as_can_be() -> None:
    ours, retrained = torch.eye(2, dtype=torch.float64)[None], torch.eye(2, dtype=torch.float64).flip(0)[None]
    assert output_distances({"probabilities": ours}, {"probabilities": retrained}) == pytest.approx((1.0, np.log(2)))


def test_a_change_is_that_of_squared_distances_in_retrained_spread() -> None:
    generator = torch.Generator().manual_seed(0)
    retrained = torch.randn(40, 5000, generator=generator, dtype=torch.float64)
    original = torch.randn(4, 5000, generator=generator, dtype=torch.float64)
    moved = change(original, original + 2, retrained)
    assert moved.value == pytest.approx(4, abs=0.2) and moved.low <= moved.value <= moved.high
    assert change(original, original, retrained).value == 0
    assert change(original + 2, original, retrained).value < -3
    two = change(original[:2], original[:2] + 2, retrained)
    assert two.value == pytest.approx(4, abs=0.3) and np.isnan([two.low, two.high]).all()


def test_what_remains_is_said_of_the_statistics_that_were_read() -> None:
    generator = torch.Generator().manual_seed(0)
    read = [{"margin": torch.randn(8, 20, generator=generator, dtype=torch.float64) + at} for at in (3.0, 3.0, 0.0)]
    far = compare(read[0], read[0], read[2])
    assert list(far) == ["margin"] and far["margin"].share.value == 1
