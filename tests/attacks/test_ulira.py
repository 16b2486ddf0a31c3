"""U-LiRA against a slow loop over pairs, simulation and closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from efface.attacks.ulira import WEIGHT, ULira, ulira
from efface.errors import RequestError
from helpers.draws import normal


def slow_variance(values: list[float], other: list[float], shares: tuple[float, float]) -> float:
    """The shrunk variance of `values`; shares: the mean over records of its own and of the common variance."""
    freedom = len(values) + len(other) - 2
    squares = [sum((v - np.mean(x)) ** 2 for v in x) for x in (values, other)]
    target = sum(squares) / freedom * shares[0] / shares[1]
    return float((WEIGHT * target + squares[0]) / (WEIGHT + len(values) - 1))


def slow_ulira(unlearned: np.ndarray, retrained: np.ndarray, shrink: bool) -> ULira:
    """Pair by pair and record by record, with scipy's densities and scikit-learn's AUC."""
    (k, n), r = unlearned.shape, len(retrained)
    table = np.zeros((2, k, r, n))
    for i in range(k):
        for j in range(r):
            a, b = np.delete(unlearned, i, 0), np.delete(retrained, j, 0)
            levels = [float(x.var(0, ddof=1).mean()) for x in (a, b)]
            common = ((k - 2) * levels[0] + (r - 2) * levels[1]) / (k + r - 4)
            for c in range(n):
                x, y = a[:, c].tolist(), b[:, c].tolist()
                variances = [np.var(x), np.var(y)]
                if shrink:
                    variances = [slow_variance(x, y, (levels[0], common)), slow_variance(y, x, (levels[1], common))]
                fits = [(np.mean(v), math.sqrt(var)) for v, var in zip((x, y), variances, strict=True)]
                for kind, value in enumerate((unlearned[i, c], retrained[j, c])):
                    table[kind, i, j, c] = norm.logpdf(value, *fits[0]) - norm.logpdf(value, *fits[1])
    pairs = [(i, j) for i in range(k) for j in range(r)]
    labels = np.repeat([1, 0], n)
    auc = np.mean([roc_auc_score(labels, table[:, i, j].ravel()) for i, j in pairs])
    return ULira(float(((table[0] > 0).mean() + (table[1] < 0).mean()) / 2), float(auc))


@pytest.mark.parametrize("shrink", [True, False])
@pytest.mark.parametrize(("k", "r"), [(4, 4), (3, 5)])
def test_ulira_is_that_of_a_slow_loop(k: int, r: int, shrink: bool) -> None:
    spread = 1 + normal(12, seed=5).abs()
    unlearned, retrained = 50 + 0.7 * spread * (0.5 + normal(k, 12)), 50 + spread * normal(r, 12, seed=1)
    found = ulira(unlearned, retrained, shrink)
    expected = slow_ulira(unlearned.numpy(), retrained.numpy(), shrink)
    assert (found.accuracy, found.auc) == pytest.approx((expected.accuracy, expected.auc))


@pytest.mark.parametrize(("k", "r", "trials"), [(8, 8, 150), (32, 32, 25), (6, 20, 100)])
def test_ensembles_that_are_alike_give_one_half(k: int, r: int, trials: int) -> None:
    """Skewed and unequal records, common shifts of a model: 4 standard errors of the mean are well below .01."""
    found = []
    generator = torch.Generator().manual_seed(0)
    scale = torch.linspace(0.1, 3, 60, dtype=torch.float64)
    for _ in range(trials):
        z = torch.randn(k + r, 60, generator=generator, dtype=torch.float64)
        z += 0.2 * torch.randn(k + r, 1, generator=generator, dtype=torch.float64)
        z = scale * (z + 0.2 * z**2)
        one = ulira(z[:k], z[k:])
        found.append([one.accuracy, one.auc])
    values = np.array(found)
    errors = values.std(0) / math.sqrt(trials)
    assert bool((4 * errors < 0.0125).all()), errors
    assert values.mean(0).tolist() == pytest.approx([0.5] * 2, abs=float(4 * errors.max()))


def test_ulira_sees_shifts_and_narrower_ensembles() -> None:
    """The best guess of a shift of 2 standard deviations is right at Phi(1), and its AUC is Phi(sqrt 2)."""
    retrained, more = normal(32, 400), normal(32, 400, seed=1)
    shifted = ulira(more + 2, retrained)
    assert shifted.accuracy == pytest.approx(norm.cdf(1), abs=0.015)
    assert shifted.auc == pytest.approx(norm.cdf(math.sqrt(2)), abs=0.015)
    assert ulira(more - 2, retrained).accuracy == pytest.approx(norm.cdf(1), abs=0.015)
    assert ulira(0.3 * more, retrained).accuracy > 0.72


def test_ulira_has_no_unit_and_no_side() -> None:
    unlearned, retrained = normal(5, 40) + 0.5, normal(6, 40, seed=1)
    found = ulira(unlearned, retrained)
    for other in (
        ulira(7 * unlearned + 3, 7 * retrained + 3),
        ulira(-unlearned, -retrained),
        ulira(retrained, unlearned),
    ):
        assert (other.accuracy, other.auc) == pytest.approx((found.accuracy, found.auc))


def test_ulira_where_nothing_differs_and_with_too_few_models() -> None:
    still = normal(20).expand(4, 20)
    nothing = ulira(still, still)
    assert (nothing.accuracy, nothing.auc) == (0.5, 0.5)
    assert ulira(still + 1, still).accuracy == 1.0
    with pytest.raises(RequestError, match="at least 3"):
        ulira(normal(2, 5), normal(8, 5))
