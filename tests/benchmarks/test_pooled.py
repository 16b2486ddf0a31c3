"""The simulation of the pooled statement computes what the package does, and its rates are within the bars."""

import numpy as np
import pytest
import torch

from benchmarks import pooled
from efface.auditing.config import AUC_MARGIN
from efface.auditing.partner_ranks import SHARE
from efface.metrics import confidence_sequence
from efface.metrics.membership import conditional_auc
from efface.metrics.partners import ranks_beside_partners
from efface.store.process import ALPHA


def test_it_has_the_constants_of_the_package() -> None:
    assert (pooled.ALPHA, pooled.SHARE) == (ALPHA, SHARE)
    assert [pooled.window_width(n) for n in (5, 50, 250, 900)] == [5, 10, 25, 50]


@pytest.mark.parametrize("above", [True, False])
def test_its_capital_is_that_of_the_sequence_at_every_look(above: bool) -> None:
    values = np.random.default_rng(0).random((2, 9))
    found = pooled.log_capital(values, 0.55, above)
    for draw in range(2):
        expected = [confidence_sequence.log_capital(values[draw, :n].tolist(), 0.55, above) for n in range(1, 10)]
        assert found[draw].tolist() == pytest.approx(expected)


def test_its_effect_of_a_run_is_that_of_the_package() -> None:
    rng = np.random.default_rng(1)
    _, ordered, own = pooled.holdout(1, 120, rng)
    others = pooled.never_seen(ordered, own, rng)
    at, scores = pooled.records(1, 4, rng)
    width = pooled.window_width(120)
    window = pooled.windows(at, ordered, width)
    among = pooled.levelled(pooled.taken(others, window), at, pooled.taken(ordered, window))
    free, masks, pairs = np.ones((1, 120), bool), [], []
    for record in (2, 0):
        distance = np.abs(ordered[0, window[0, record]] - at[0, record])[None]
        masks.append((record, pooled.pick(window[:, record], distance, free, np.array([2]), np.array([3]))))
        pairs += [(record, int(partner)) for partner in window[0, record][masks[-1][1][0]]]
    assert len(pairs) == 4 and free.sum() == 116
    found, plain = pooled.excess(scores, among, np.ones((1, 4), bool), masks, width)

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values[0])

    places = torch.tensor([record for record, _ in pairs]), torch.tensor([partner for _, partner in pairs])
    given = tensor(scores), tensor(others), tensor(at), tensor(ordered)
    beside, of_partners = ranks_beside_partners(*given, places)
    whole = conditional_auc(*given)
    ranks = whole.ranks.clone()
    for record in (2, 0):
        ranks[record] = beside[places[0] == record].mean()
    assert found[0] == pytest.approx(float(ranks.mean() - of_partners.mean()))
    assert plain[0] == pytest.approx(whole.value - 0.5)


def test_the_rates_are_within_the_bars() -> None:
    """100 lives of 60 runs of three records; the documented rates are far below the bars of 5 %."""
    effects = (0.0, AUC_MARGIN, pooled.BEFORE)
    shifts = pooled.shift_for(effects, np.random.default_rng(0), draws=100)
    found, _, left = pooled.lives(250, 3, 60, 100, shifts, np.random.default_rng(1))
    assert 0 < left.mean() < 250
    for effect in effects:
        assert np.nanmean(found[effect]) == pytest.approx(effect, abs=0.02)
    alarm, cleared = pooled.conclusions(found, 0.0, 250)
    assert pooled.share(alarm) <= 5 and pooled.share(cleared) > 10
    _, wrong = pooled.conclusions(found, AUC_MARGIN, 250)
    assert pooled.share(wrong) <= 5
    alarm, wrong = pooled.conclusions(found, pooled.BEFORE, 250)
    assert pooled.share(alarm) > 90 and pooled.share(wrong) == 0


def test_requests_that_are_picked_for_their_difficulty_are_allowed_for() -> None:
    """100 lives, in which difficulty that is measured with error makes records seem known by more than 0.05."""
    shifts = pooled.shift_for((0.0, pooled.BEFORE), np.random.default_rng(0), draws=100)
    found, _, _ = pooled.lives(250, 3, 60, 100, shifts, np.random.default_rng(1), chosen=True)
    assert np.nanmean(found[0.0]) > 0.05
    assert (
        pooled.share(pooled.conclusions(found, 0.0, 250)[0])
        <= 5
        < 90
        < pooled.share(pooled.conclusions(found, 0.25, 250)[0])
    )
