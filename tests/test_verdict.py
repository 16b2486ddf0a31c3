"""The verdict from effects: which of three words, and why."""

import math

import pytest
from scipy.stats import norm

from efface.types import Estimate, Status
from efface.verdict import FEWEST, MARGIN, Effect, decide


def near(value: float, half: float, level: float = 0.95) -> Estimate:
    return Estimate(value, value - half, value + half, level)


def effect(
    before: float, after: float, half: float = 0.03, title: str = "Loss attack", gained: Estimate | None = None
) -> Effect:
    """An effect whose intervals are `half` wide on either side; that of the equivalence test is a little narrower."""
    return Effect(
        title, near(before, half), near(after, half), gained or near(before - after, half), near(after, 0.8 * half, 0.9)
    )


GONE = effect(0.3, 0.01)
KNOWN = effect(0.3, 0.2)
DULL = effect(0.01, 0.01)  # nothing to be seen even in the original
VERIFIED, FAILED, UNDECIDED = Status.VERIFIED, Status.NOT_VERIFIED, Status.UNDECIDED

# effects, utility change, forget records, status, what one of the reasons says
TABLE = {
    "gone": ([GONE], near(0, 0.01), 60, VERIFIED, "Loss attack: effect +0.010 [-0.014, +0.034] within ±0.100 of them"),
    "names what doing nothing shows": ([GONE], None, 60, VERIFIED, "would have been caught by: Loss attack"),
    "gone where members score lower": ([effect(-0.3, 0.01)], None, 60, VERIFIED, "within ±0.100"),
    "one dull statistic beside it": ([GONE, DULL], None, 60, VERIFIED, "would have been caught by: Loss attack"),
    "shown to differ, but less than the margin": ([effect(0.3, 0.05)], None, 60, VERIFIED, "within ±0.100"),
    "the fewest records": ([GONE], None, FEWEST, VERIFIED, "within"),
    "a small loss of utility": ([GONE], near(-0.02, 0.01), 60, VERIFIED, "within"),
    "a loss of utility that may be chance": ([GONE], near(-0.05, 0.06), 60, UNDECIDED, "may have fallen"),
    "still known": ([KNOWN], None, 60, FAILED, "(doing nothing +0.300): forget records are still known"),
    "one of two still known": ([GONE, KNOWN], None, 60, FAILED, "still known"),
    "still known where members score lower": ([effect(-0.3, -0.2)], None, 60, FAILED, "still known"),
    "shunned": ([effect(0.3, -0.2)], None, 60, FAILED, "over-unlearned"),
    "shunned where members score lower": ([effect(-0.3, 0.2)], None, 60, FAILED, "over-unlearned"),
    "left, though nothing was to be seen": ([effect(0.01, 0.3)], None, 60, FAILED, "still known"),
    "utility": ([GONE], near(-0.05, 0.01), 60, FAILED, "accuracy on never-seen records fell by 0.050, more than"),
    "few records, but a sure failure": ([KNOWN], None, FEWEST - 1, FAILED, "still known"),
    "few records": ([GONE], None, FEWEST - 1, UNDECIDED, "29 forget records are too few to tell (at least 30)"),
    "uninformative": ([DULL], None, 60, UNDECIDED, "uninformative"),
    "too wide": ([effect(0.3, 0.01, half=0.2)], None, 60, UNDECIDED, "not wholly within ±0.100"),
    "one of two too wide": ([GONE, effect(0.3, 0.05, half=0.15)], None, 60, UNDECIDED, "more records would be needed"),
    "no better than doing nothing": (
        [effect(0.3, 0.01, gained=near(0.29, 0.3))],
        None,
        60,
        UNDECIDED,
        "not shown to be better than doing nothing",
    ),
    "nothing measured": ([], None, 60, UNDECIDED, "no decisive statistic was measured"),
}


@pytest.mark.parametrize("row", TABLE)
def test_the_verdict(row: str) -> None:
    effects, utility, records, status, said = TABLE[row]
    found = decide(effects, utility, 0.03, records, "them")
    assert (found.status, said in "\n".join(found.reasons)) == (status, True), found.reasons


def test_every_failure_and_every_doubt_is_told() -> None:
    failed = decide([KNOWN, effect(0.3, -0.2, title="RMIA"), GONE], near(-0.2, 0.01), 0.03, 10, "them")
    assert [r.split(":")[0] for r in failed.reasons] == ["Loss attack", "RMIA", "utility"]
    doubted = decide([effect(0.3, 0.01, half=0.2), effect(0.3, 0.05, half=0.15, title="RMIA")], None, 0.03, 10, "them")
    assert len(doubted.reasons) == 3
    assert "10 forget records" in doubted.reasons[0] and "RMIA" in doubted.reasons[2]


@pytest.mark.parametrize(
    ("before", "half", "margin"),
    [(0.4, 0.03, MARGIN), (0.2, 0.03, 0.10), (0.1, 0.03, 0.05), (-0.1, 0.03, 0.05), (0.1, 0.2, MARGIN)],
)
def test_the_margin_is_never_more_than_half_of_what_doing_nothing_shows(
    before: float, half: float, margin: float
) -> None:
    assert effect(before, 0.0, half).margin == pytest.approx(margin)


@pytest.mark.parametrize("before", [0.02, 0.05, 0.1, 0.3, -0.1, -0.3])
@pytest.mark.parametrize("half", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("records", [10, 1000])
def test_doing_nothing_is_never_verified(before: float, half: float, records: int) -> None:
    nothing = effect(before, before, half, gained=near(0.0, 0.0))
    found = decide([nothing, nothing], near(0.0, 0.0), 0.03, records, "them")
    assert found.status is (FAILED if nothing.informative else UNDECIDED)


def test_the_smallest_effect_is_what_the_widest_interval_tells_from_zero_four_times_in_five() -> None:
    found = decide([GONE, effect(0.3, 0.0, half=0.05)], None, 0.03, 60, "them").smallest_effect
    error = 0.05 / norm.ppf(0.975)
    assert norm.cdf(found / error - norm.ppf(0.975)) == pytest.approx(0.8)
    assert math.isnan(decide([], None, 0.03, 60, "them").smallest_effect)
