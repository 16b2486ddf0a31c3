"""What one test says, when it is informative, and its share of the error rate."""

import dataclasses

import pytest
from scipy.stats import norm

from efface.auditing.audit_test import POWER, AuditTest, adjust_tests, uninformative_reason
from efface.auditing.config import AUC_MARGIN
from helpers.audit_tests import CLEARED, FAR, KNOWN, NEAR, NO_BETTER, SMALL, WIDE, distance, make_test, near


@pytest.mark.parametrize(
    ("one", "outcome", "said"),
    [
        (CLEARED, "cleared", "effect +0.010 [-0.015, +0.035] within ±0.100"),
        (make_test(-0.3, 0.01), "cleared", "within ±0.100"),
        (make_test(0.3, 0.05), "cleared", "within ±0.100"),  # shown to differ, but by less than the margin
        (
            KNOWN,
            "left",
            "effect +0.200 [+0.170, +0.230] (doing nothing +0.300): under-unlearned: forget rec",
        ),
        (make_test(-0.3, -0.2), "left", "under-unlearned: forget records still score lower than never-seen ones, as"),
        (make_test(0.3, -0.2), "left", "over-unlearned: forget records score lower than never-seen ones"),
        (make_test(-0.3, 0.2), "left", "over-unlearned: forget records score higher than never-seen ones, and lower"),
        (make_test(0.01, 0.3), "left", "under-unlearned: forget records are still known"),
        (SMALL, "uninformative", "doing nothing itself is not distinguished from having forgotten"),
        (make_test(0.3, 0.01, half=0.2), "uninformative", "doing nothing shows too little (+0.300) for so few records"),
        (WIDE, "open", "effect +0.055 [+0.005, +0.105] is not wholly within ±0.100"),
        (NO_BETTER, "open", "not shown to be better than doing nothing"),
        (make_test(-0.3, 0.01, improvement=near(-0.29, 0.3)), "open", "not shown to be better than doing nothing"),
        (make_test(-0.3, 0.01, improvement=near(0.29, 0.03)), "open", "not shown to be better than doing nothing"),
        (FAR, "left", "0.60 [0.50, 0.70] of doing nothing's distance to retrained models is left"),
        (NEAR, "cleared", "at most 0.18 of doing nothing's distance is left, allowed 0.25"),
        (distance(-0.5, 0.1, 0.9), "cleared", "at most -0.42"),  # by chance below 0, however far
        (distance(0.2, 0.2, 0.2), "open", "0.20 [0.03, 0.37] of doing nothing's distance is left: neither surely"),
        (distance(0.2, 0.2, 0.01), "left", "0.20 [0.00, 0.40] of doing nothing's"),
        (distance(0.1, 0.1, 0.01), "cleared", "allowed 0.25"),
        (distance(0.1, 0.1, 0.3, uninformative_reason="too few"), "uninformative", "too few"),
    ],
)
def test_what_one_test_says(one: AuditTest, outcome: str, said: str) -> None:
    (alone,) = adjust_tests([one])
    assert (alone.outcome, said in alone.why) == (outcome, True), alone.why


@pytest.mark.parametrize(
    ("before", "after", "side"),
    [
        (0.3, 0.2, "under_unlearned"),
        (0.3, 0.4, "under_unlearned"),
        (0.3, -0.2, "over_unlearned"),
        (-0.3, -0.2, "under_unlearned"),
        (-0.3, 0.2, "over_unlearned"),
        # what the original shows may be chance, and its sign then says nothing: known records score higher
        (0.01, 0.2, "under_unlearned"),
        (-0.01, 0.2, "under_unlearned"),
        (0.01, -0.2, "over_unlearned"),
        (-0.01, -0.2, "over_unlearned"),
        # within the margin, nothing is left
        (0.3, 0.02, ""),
        (0.3, -0.02, ""),
    ],
)
def test_the_side_of_an_effect_follows_from_what_doing_nothing_is_shown_to_be(
    before: float, after: float, side: str
) -> None:
    (alone,) = adjust_tests([make_test(before, after)])
    assert alone.side == side
    assert ("over-unlearned" in alone.why, "under-unlearned" in alone.why) == (side[:4] == "over", side[:5] == "under")


def test_an_effect_has_a_side_only_where_it_is_shown_to_lie_beyond_zero() -> None:
    unsure = dataclasses.replace(make_test(0.3, -0.2, half=0.25, uninformative_reason=""), p=0.001)
    (alone,) = adjust_tests([unsure])
    assert (alone.outcome, alone.side) == ("left", "")
    assert alone.why.endswith("forget records differ from never-seen ones")
    assert FAR.side == NEAR.side == "", "a distance has no side"


def test_p_values_are_shared_between_the_tests_that_are_not_yet() -> None:
    tests = [dataclasses.replace(CLEARED, p=p) for p in (0.04, 0.001, 0.02)]
    far = dataclasses.replace(distance(0.1, 0.1, 0.7), p=0.0004)
    found = adjust_tests([*tests[:2], far, tests[2]])
    assert [r.p for r in found] == [0.04, 0.001, 0.0004, 0.02]
    assert [r.p_adjusted for r in found] == pytest.approx([0.164, 0.0123, 0.7 * 0.82 / 0.62, 0.164]), "62 of 82 parts"
    assert [r.p_adjusted for r in adjust_tests(tests)] == pytest.approx([0.04, 0.003, 0.04])
    assert adjust_tests([far])[0].p_adjusted == 0.7
    assert adjust_tests([]) == []


@pytest.mark.parametrize(
    ("before", "half", "margin"),
    [(0.4, 0.03, AUC_MARGIN), (0.2, 0.03, 0.10), (0.1, 0.03, 0.05), (-0.1, 0.03, 0.05), (0.1, 0.2, AUC_MARGIN)],
)
def test_the_margin_is_never_more_than_half_of_what_doing_nothing_shows(
    before: float, half: float, margin: float
) -> None:
    assert make_test(before, 0.0, half).margin == pytest.approx(margin)


def test_a_test_counts_as_informative_where_it_clears_a_clean_model_nine_times_in_ten() -> None:
    shown = near(0.3, 0.01)
    errors = [e for e in (k / 10000 for k in range(1, 1000)) if not uninformative_reason(shown, e, AUC_MARGIN, 1)]
    largest = max(errors)
    assert len(errors) == round(largest * 10000), "no gap below"
    # a clean model's effect is normal around 0: cleared where it lies within what the bound leaves of the margin
    room = AUC_MARGIN / largest - norm.ppf(0.95)
    assert 1 - 2 * norm.sf(room) == pytest.approx(POWER, abs=0.01)
    assert "not distinguished" in uninformative_reason(near(0.3, 0.31), 0.001, AUC_MARGIN, 1)
