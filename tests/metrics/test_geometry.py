"""Likeness of features against Gram matrices, and the geometry of a class against a slow loop."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from efface.metrics.geometry import class_geometry, linear_cka
from helpers.draws import normal


def hsic(k: Tensor, m: Tensor) -> float:
    n = len(k)
    centre = torch.eye(n, dtype=torch.float64) - 1 / n
    return float(torch.trace(k @ centre @ m @ centre))


def test_cka_is_that_of_gram_matrices() -> None:
    x = normal(40, 5) + 3
    y = x @ normal(5, 8, seed=1) + normal(40, 8, seed=2)
    k, m = x @ x.T, y @ y.T
    assert linear_cka(x, y) == pytest.approx(hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m)))
    rotation = torch.linalg.qr(normal(5, 5, seed=3)).Q
    assert linear_cka(x, 7 + 2 * x @ rotation) == pytest.approx(1)
    assert linear_cka(normal(3000, 4), normal(3000, 4, seed=1)) < 0.01
    assert math.isnan(linear_cka(x, torch.ones(40, 2)))


def slow_geometry(x: np.ndarray, inside: np.ndarray, folds: list[np.ndarray]) -> float:
    """Least squares on one-hot labels, out of fold; the share of pairs in the right order."""
    scores = np.empty(len(x))
    for fold in folds:
        rest = np.setdiff1d(np.arange(len(x)), fold)
        mean, std = x[rest].mean(0), x[rest].std(0, ddof=1)
        design = np.c_[(x - mean) / std, np.ones(len(x))]
        penalty = 1e-3 * len(rest) * np.eye(design.shape[1])
        weights = np.linalg.solve(design[rest].T @ design[rest] + penalty, design[rest].T @ inside[rest])
        scores[fold] = design[fold] @ weights
    a, b = scores[inside], scores[~inside]
    return float(np.mean((a[:, None] > b) + 0.5 * (a[:, None] == b)))


def test_class_geometry() -> None:
    n, inside = 400, torch.arange(400) < 50
    x = normal(n, 12)
    x[inside, 0] += 1.5
    found = class_geometry(x, inside)
    slow = slow_geometry(x.numpy(), inside.numpy(), [np.arange(n)[f::5] for f in range(5)])
    assert found.value == pytest.approx(slow, abs=0.03)  # by other folds
    assert found.low < math.erf(1.5 / 2) / 2 + 0.5 < found.high  # two normals that far apart: Phi(1.5 / sqrt 2)
    assert class_geometry(x[:, 1:], inside).low < 0.5 + 0.05 and class_geometry(x[:, 1:], inside).high < 0.65
    moved = class_geometry(5 + x @ (3 * torch.linalg.qr(normal(12, 12, seed=3)).Q), inside)
    assert moved.value == pytest.approx(found.value, abs=0.01)
    assert math.isnan(class_geometry(x, torch.arange(n) < 3).value)
    assert not math.isnan(class_geometry(x, torch.arange(n) < 5).value)


def test_equal_records_of_a_person_count_once_in_a_class() -> None:
    generator = torch.Generator().manual_seed(0)
    forgotten = torch.arange(60) % 3 == 0
    features = torch.randn(60, 4, generator=generator) + forgotten[:, None]
    of = torch.arange(60).repeat_interleave(6)
    rows = class_geometry(features.repeat_interleave(6, 0), forgotten.repeat_interleave(6))
    found = class_geometry(features.repeat_interleave(6, 0), forgotten.repeat_interleave(6), 0.95, of)
    assert found.value == rows.value
    assert found.high - found.low > 1.5 * (rows.high - rows.low)
    assert class_geometry(features, forgotten, 0.95, torch.arange(60)) == class_geometry(features, forgotten)
