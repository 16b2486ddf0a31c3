"""The curve of an attack and its power at few false alarms, against scikit-learn, scipy and by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor

from efface.metrics.roc import roc, tpr_at
from helpers.draws import normal


def both(members: Tensor, nonmembers: Tensor) -> tuple[Any, Any]:
    return np.repeat([1, 0], [len(members), len(nonmembers)]), torch.cat([members, nonmembers]).numpy()


@pytest.mark.parametrize("digits", [0, 1, 8], ids=["many ties", "some ties", "no ties"])
def test_the_curve_is_scikit_learns(digits: int) -> None:
    members, nonmembers = (0.8 + normal(70)).round(decimals=digits), normal(110, seed=1).round(decimals=digits)
    found = roc(members, nonmembers)
    fpr, tpr, _ = roc_curve(*both(members, nonmembers), drop_intermediate=False)
    assert found.fpr.tolist() == pytest.approx(fpr.tolist()) and found.tpr.tolist() == pytest.approx(tpr.tolist())
    area = float(torch.trapezoid(found.tpr, found.fpr))
    assert area == pytest.approx(roc_auc_score(*both(members, nonmembers)))


def test_a_curve_with_ties_by_hand() -> None:
    found = roc(torch.tensor([3.0, 2.0, 2.0, 0.0]), torch.tensor([2.0, 1.0, 0.0, 0.0, -1.0]))
    # thresholds: none, 3, 2, 1, 0, -1
    assert found.fpr.tolist() == pytest.approx([0, 0, 0.2, 0.4, 0.8, 1])
    assert found.tpr.tolist() == pytest.approx([0, 0.25, 0.75, 0.75, 1, 1])
    same = roc(torch.zeros(3), torch.zeros(7))
    assert same.fpr.tolist() == same.tpr.tolist() == [0, 1]


@pytest.mark.parametrize("digits", [0, 1, 8], ids=["many ties", "some ties", "no ties"])
@pytest.mark.parametrize("fpr", [0.0, 0.01, 0.1, 0.37])
def test_tpr_is_the_best_point_that_keeps_to_the_rate(fpr: float, digits: int) -> None:
    members, nonmembers = (1.2 + normal(90)).round(decimals=digits), normal(300, seed=1).round(decimals=digits)
    rates, caught, _ = roc_curve(*both(members, nonmembers), drop_intermediate=False)
    assert tpr_at(members, nonmembers, fpr, 0.95).value == pytest.approx(caught[rates <= fpr + 1e-12].max())
    # a slow loop: of all thresholds that so few nonmembers exceed, the one that most members do
    best = 0.0
    for threshold in nonmembers.tolist():
        if sum(s > threshold for s in nonmembers.tolist()) <= fpr * len(nonmembers) + 1e-9:
            best = max(best, sum(m > threshold for m in members.tolist()) / len(members))
    assert tpr_at(members, nonmembers, fpr, 0.95).value == pytest.approx(best)


def test_ties_count_against_the_attack() -> None:
    nonmembers = torch.cat([torch.ones(30), torch.zeros(170)])  # 15 % at the top
    assert tpr_at(torch.ones(10), nonmembers, 0.1, 0.95).value == 0
    assert tpr_at(torch.ones(10), nonmembers, 0.15, 0.95).value == 1
    assert tpr_at(torch.full((10,), 1.5), nonmembers, 0.1, 0.95).value == 1


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1])
def test_the_share_allowed_is_not_lost_to_rounding(share: float) -> None:
    """0.1 x 30 is 3.0000000000000004 and 0.01 x 2,900 might be 28.99...: all counts that an audit may meet."""
    for n in (*range(100, 400, 20), *range(2000, 5001, 100)):
        nonmembers = torch.arange(n, dtype=torch.float64)
        allowed = round(share * 100) * n // 100
        # exactly the `allowed` highest may pass: so members just above the next one are caught, those below are not
        members = torch.tensor([n - 1 - allowed + 0.5, n - 1 - allowed - 0.5])
        assert tpr_at(members, nonmembers, share, 0.95).value == 0.5, (share, n)


@pytest.mark.parametrize(("caught", "n"), [(0, 25), (25, 25), (1, 40), (13, 40), (39, 40), (500, 1000)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_interval_is_clopper_and_pearsons(caught: int, n: int, level: float) -> None:
    members = torch.cat([torch.full((caught,), 1e6), torch.full((n - caught,), -1e6)])
    found = tpr_at(members, normal(500), 0.01, level)
    exact = binomtest(caught, n).proportion_ci(level, method="exact")
    assert (found.value, found.low, found.high) == pytest.approx((caught / n, exact.low, exact.high), abs=1e-9)
    assert found.level == level


@pytest.mark.parametrize("caught", [0, 1, 13, 40])
def test_equal_members_of_a_group_count_once(caught: int) -> None:
    members, of = torch.cat([torch.full((caught,), 1e6), torch.full((40 - caught,), -1e6)]), torch.arange(40)
    once = tpr_at(members, normal(500), 0.01, 0.95)
    found = tpr_at(members.repeat_interleave(5), normal(500), 0.01, 0.95, of.repeat_interleave(5))
    assert found.value == once.value
    # Student's t of 39 degrees of freedom is 3 % wider
    assert found.high - found.low == pytest.approx(once.high - once.low, rel=0.07)
    assert tpr_at(members, normal(500), 0.01, 0.95, of) == once
