"""Accuracy, loss and tug of war, with their intervals."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from efface.kinds import CLASSES
from efface.metrics.utility import accuracy, mean_loss, mean_over_records, tug_of_war
from helpers.draws import normal


def logits_with(right: int, wrong: int) -> tuple[Tensor, Tensor]:
    targets = torch.arange(right + wrong) % 3
    shown = torch.cat([targets[:right], (targets[right:] + 1) % 3])
    return torch.nn.functional.one_hot(shown, 3).float(), targets


def test_accuracy_with_wilsons_interval() -> None:
    logits, targets = logits_with(45, 5)
    assert CLASSES.useful(logits, targets).sum() == 45
    found = accuracy([logits], targets, 0.95)
    # by hand, from Wilson's formula with z = 1.95996
    assert (found.value, found.low, found.high) == pytest.approx((0.9, 0.7864, 0.9565), abs=1e-4)
    assert found.level == 0.95
    sure = accuracy([logits_with(50, 0)[0]], logits_with(50, 0)[1], 0.95)
    assert (sure.value, sure.high) == (1.0, 1.0) and 0.92 < sure.low < 0.94
    never = accuracy([logits_with(0, 50)[0]], logits_with(0, 50)[1], 0.95)
    assert (never.value, never.low) == (0.0, 0.0) and 0.06 < never.high < 0.08


@pytest.mark.parametrize("share", [0.5, 0.97])
def test_accuracys_interval_covers(share: float) -> None:
    """1,000 samples of 50 records at a true coverage of some 95 %: the chance to fall below 91.5 % is under 0.1 %."""
    rng = np.random.default_rng(0)
    covered = 0
    for right in rng.binomial(50, share, size=1000).tolist():
        logits, targets = logits_with(right, 50 - right)
        found = accuracy([logits], targets, 0.95)
        covered += found.low <= share <= found.high
    assert covered / 1000 > 0.915


def test_several_models_are_averaged() -> None:
    (half, targets), right = logits_with(25, 25), logits_with(50, 0)[0]
    assert accuracy([half, right], targets, 0.95).value == 0.75
    losses = [mean_loss([z], targets, 0.95).value for z in (half, right)]
    assert mean_loss([half, right], targets, 0.95).value == pytest.approx(sum(losses) / 2)


def test_loss_in_nats_with_an_interval_over_records() -> None:
    logits, targets = normal(60, 4), torch.arange(60) % 4
    each = [-math.log(math.exp(z[t]) / sum(map(math.exp, z))) for z, t in zip(logits.tolist(), targets, strict=True)]
    found = mean_loss([logits], targets, 0.95)
    assert found.value == pytest.approx(np.mean(each))
    assert found.high - found.value == pytest.approx(1.95996 * np.std(each, ddof=1) / math.sqrt(60), rel=1e-4)
    assert mean_loss([200 * logits.abs() * torch.nn.functional.one_hot(targets, 4)], targets, 0.95).low >= 0


def test_a_mean_of_one_record_has_no_nan() -> None:
    found = mean_over_records(torch.tensor([0.25], dtype=torch.float64), 0.95)
    assert (found.value, found.low, found.high) == (0.25, 0.25, 0.25)


def test_the_tug_of_war_is_one_only_where_every_accuracy_is_as_retrained() -> None:
    retrained = {"forget": 0.6, "retain": 0.9, "test": 0.8}
    assert tug_of_war(retrained, retrained) == 1
    assert tug_of_war({"forget": 1.0, "retain": 0.8, "test": 0.8}, retrained) == pytest.approx(0.6 * 0.9 * 1)
    assert tug_of_war({"forget": 0.2, "retain": 0.9, "test": 0.8}, retrained) == pytest.approx(0.6)
    assert tug_of_war({"forget": 0.0, "test": 0.5}, {"forget": 1.0, "test": 0.5}) == 0


def test_equal_records_of_a_person_count_once() -> None:
    logits, targets, of = normal(50, 3), torch.arange(50) % 3, torch.arange(50).repeat_interleave(8)
    for read in (accuracy, mean_loss):
        once = read([logits], targets, 0.95)
        found = read([logits.repeat_interleave(8, 0)], targets.repeat_interleave(8), 0.95, of)
        rows = read([logits.repeat_interleave(8, 0)], targets.repeat_interleave(8), 0.95)
        assert found.value == pytest.approx(once.value)
        # Student's t of 49 degrees of freedom is 2.5 % wider
        assert found.high - found.low == pytest.approx(once.high - once.low, rel=0.05)
        assert rows.high - rows.low < 0.4 * (once.high - once.low)
        assert read([logits], targets, 0.95, torch.randperm(50)) == once


def test_a_single_person_shows_nothing_of_others() -> None:
    logits, targets, of = normal(50, 3), torch.zeros(50, dtype=torch.int64), torch.zeros(50, dtype=torch.int64)
    assert math.isnan(mean_loss([logits], targets, 0.95, of).low)
    wide = accuracy([logits], targets, 0.95, of)
    assert wide.low < 0.05 and wide.high > 0.95
