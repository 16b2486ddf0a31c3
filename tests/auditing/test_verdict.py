"""The verdict from all tests: what each says, which of three words follows, and why."""

import dataclasses
import math
from typing import Any

import pytest
from scipy.stats import norm

from efface.auditing.attack_tests import margin_of
from efface.auditing.audit_test import AUC_MARGIN, POWER, AuditTest, adjust_tests, uninformative_reason
from efface.auditing.distance_tests import DISTANCE_MARGIN
from efface.auditing.verdict import MIN_RECORDS, Status, decide
from efface.types import Estimate

HALF = 0.03


def near(value: float, half: float, level: float = 0.95) -> Estimate:
    return Estimate(value, value - half, value + half, level)


def error_of(half: float) -> float:
    return half / float(norm.ppf(0.975))


def make_test(
    before: float,
    after: float,
    half: float = HALF,
    title: str = "Loss attack",
    improvement: Estimate | None = None,
    **changes: Any,
) -> AuditTest:
    """An attack whose intervals are `half` wide on either side; that of the equivalence test is a little narrower."""
    original = near(before, half)
    margin = margin_of(original)
    defaults = {
        "key": title,
        "title": title,
        "kind": "attack",
        "unit": "AUC",
        "original": original,
        "unlearned": near(after, half),
        "equivalence_interval": near(after, half * norm.ppf(0.95) / norm.ppf(0.975), 0.9),
        "margin": margin,
        "p": float(2 * norm.sf(abs(after) / error_of(half))),
        "improvement": improvement or near(before - after, half),
        "uninformative_reason": uninformative_reason(original, error_of(half), margin, 1),
    }
    return AuditTest(**{**defaults, **changes})  # type: ignore[arg-type]


def distance(after: float, half: float, p: float, **changes: Any) -> AuditTest:
    """What is left of doing nothing's distance; p is adjusted already, as that of a permutation test over all cells."""
    defaults = {
        "kind": "distance",
        "margin": DISTANCE_MARGIN,
        "p": p,
        "p_adjusted": p,
        "improvement": None,
        "uninformative_reason": "",
    }
    return dataclasses.replace(make_test(1.0, after, half, title="Excess d2"), **{**defaults, **changes})


CLEARED = make_test(0.3, 0.01)
OFF = make_test(0.3, 0.01, title="Gap", kind="off_label")
KNOWN = make_test(0.3, 0.2)
SMALL = make_test(0.01, 0.01)  # nothing to be seen even in the original
WIDE = make_test(0.3, 0.055, half=0.059)
NO_BETTER = make_test(0.3, 0.01, improvement=near(0.29, 0.3))
PROBE = make_test(0.3, 0.2, title="Probe", key="probe", kind="off_label")
FAR, NEAR = distance(0.6, 0.1, 0.001), distance(0.1, 0.1, 0.3)
VERIFIED, FAILED, UNDECIDED = Status.VERIFIED, Status.NOT_VERIFIED, Status.UNDECIDED


@pytest.mark.parametrize(
    ("one", "outcome", "said"),
    [
        (CLEARED, "cleared", "effect +0.010 [-0.015, +0.035] within ±0.100"),
        (make_test(-0.3, 0.01), "cleared", "within ±0.100"),
        (make_test(0.3, 0.05), "cleared", "within ±0.100"),  # shown to differ, but by less than the margin
        (KNOWN, "left", "effect +0.200 [+0.170, +0.230] (doing nothing +0.300): forget records are still known"),
        (make_test(-0.3, -0.2), "left", "still known"),
        (make_test(0.3, -0.2), "left", "over-unlearned"),
        (make_test(-0.3, 0.2), "left", "over-unlearned"),
        (make_test(0.01, 0.3), "left", "still known"),
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


# tests, utility change, forget records, status, what one of the reasons says
TABLE: dict[str, tuple[list[AuditTest], Estimate | None, int, Status, str]] = {
    "forgotten": (
        [CLEARED, OFF],
        near(0, 0.01),
        60,
        VERIFIED,
        "Loss attack: effect +0.010 [-0.015, +0.035] within ±0.100 of",
    ),
    "names what doing nothing shows": (
        [CLEARED, OFF],
        None,
        60,
        VERIFIED,
        "would have been caught by: Loss attack, Gap",
    ),
    "off-label alone": ([OFF], None, 60, VERIFIED, "would have been caught by: Gap"),
    "one uninformative statistic beside it": (
        [SMALL, OFF],
        None,
        60,
        VERIFIED,
        "would have been caught by: Gap",
    ),
    "the fewest records": ([CLEARED, OFF], None, MIN_RECORDS, VERIFIED, "within"),
    "a small loss of utility": ([CLEARED, OFF], near(-0.02, 0.01), 60, VERIFIED, "within"),
    "a distance alone": ([NEAR], None, 60, VERIFIED, "Excess d2: at most 0.18 of doing nothing's distance is left"),
    "a distance beside an attack": ([CLEARED, NEAR], None, 60, VERIFIED, "within ±0.100 of them"),
    "a loss of utility that may be chance": ([CLEARED, OFF], near(-0.05, 0.06), 60, VERIFIED, "within ±0.100"),
    "a loss that may be within the floor": (
        [CLEARED, OFF],
        near(-0.05, 0.04),
        60,
        VERIFIED,
        "caution: accuracy on never",
    ),
    "still known": ([KNOWN, OFF], None, 60, FAILED, "(doing nothing +0.300): forget records are still known"),
    "one of two still known": ([CLEARED, PROBE], None, 60, FAILED, "still known"),
    "over-unlearned": ([make_test(0.3, -0.2), OFF], None, 60, FAILED, "over-unlearned"),
    "left, though nothing was to be seen": ([make_test(0.01, 0.3), OFF], None, 60, FAILED, "still known"),
    "a distance left": ([CLEARED, OFF, FAR], None, 60, FAILED, "Excess d2: 0.60"),
    "utility": (
        [CLEARED, OFF],
        near(-0.05, 0.01),
        60,
        FAILED,
        "fell: -0.050 [-0.060, -0.040], more than",
    ),
    "a sure loss, of perhaps less than the floor": (
        [CLEARED, OFF],
        near(-0.035, 0.01),
        60,
        VERIFIED,
        "caution: accuracy on never",
    ),
    "utility, with nothing measured": ([], near(-0.05, 0.01), 60, FAILED, "more than the floor of 0.03"),
    "few records, but a sure failure": ([KNOWN], None, MIN_RECORDS - 1, FAILED, "still known"),
    "few records": (
        [CLEARED, OFF],
        None,
        MIN_RECORDS - 1,
        UNDECIDED,
        "29 forget records are too few (at least 30)",
    ),
    "uninformative": (
        [SMALL],
        None,
        60,
        UNDECIDED,
        "uninformative: with these records, no test distinguishes doing nothing",
    ),
    "too few to clear any model": (
        [make_test(0.3, 0.01, half=0.2)],
        None,
        60,
        UNDECIDED,
        "uninformative: with so few records no test would clear a model that never saw them, though doing nothing "
        "would be caught by: Loss attack",
    ),
    "an uninformative distance": (
        [distance(0.1, 0.1, 0.3, uninformative_reason="too few")],
        None,
        60,
        UNDECIDED,
        "uninformative",
    ),
    "the label's own score alone": ([CLEARED], None, 60, UNDECIDED, "no informative test reads a statistic other than"),
    "the others uninformative": (
        [CLEARED, make_test(0, 0, kind="off_label")],
        None,
        60,
        UNDECIDED,
        "other than the label's own score",
    ),
    "one of two too wide": ([WIDE, OFF], None, 60, UNDECIDED, "more records would be needed"),
    "a distance too wide": ([distance(0.2, 0.2, 0.2), OFF], None, 60, UNDECIDED, "neither surely within 0.25"),
    "no better than doing nothing": (
        [NO_BETTER, OFF],
        None,
        60,
        UNDECIDED,
        "not shown to be better than doing nothing",
    ),
    "nothing measured": ([], None, 60, UNDECIDED, "no decisive test was measured"),
}


@pytest.mark.parametrize("row", TABLE)
def test_the_verdict(row: str) -> None:
    tests, utility, records, status, said = TABLE[row]
    found = decide(adjust_tests(tests), utility, 0.03, records, "them")
    assert (found.status, said in "\n".join(found.reasons)) == (status, True), found.reasons


def test_every_failure_and_every_doubt_is_stated() -> None:
    failed = decide(
        adjust_tests([KNOWN, make_test(0.3, -0.2, title="RMIA"), CLEARED, FAR]),
        near(-0.2, 0.01),
        0.03,
        10,
        "the retrained models",
    )
    assert [r.split(":")[0] for r in failed.reasons] == ["Loss attack", "RMIA", "Excess d2", "utility"]
    doubted = decide(adjust_tests([WIDE, dataclasses.replace(WIDE, title="RMIA")]), near(-0.05, 0.04), 0.03, 10, "them")
    starts = ["10 forget records", "no informative test reads", "Loss attack: ", "RMIA: ", "caution: "]
    assert [r.startswith(s) for r, s in zip(doubted.reasons, starts, strict=True)] == [True] * 5


def test_an_audit_that_is_barred_concludes_nothing() -> None:
    for tests, utility in (([CLEARED, OFF], None), ([KNOWN], near(-0.02, 0.01)), ([], None)):
        found = decide(adjust_tests(tests), utility, 0.03, 60, "them", "the request is no random sample")
        assert (found.status, found.reasons) == (UNDECIDED, ("the request is no random sample",))
        assert found.sentence == "Nothing can be concluded: the request is no random sample."
    ruined = decide([], near(-0.5, 0.01), 0.03, 60, "them", "the request is no random sample")
    assert ruined.status is FAILED and "utility" in ruined.reasons[0]


HIDDEN = "forgetting lives in the last layer only: the features below it still know the records"


@pytest.mark.parametrize(
    ("tests", "named"),
    [
        ([CLEARED, PROBE], True),
        ([CLEARED, OFF, PROBE], True),
        ([CLEARED, make_test(0.3, 0.2, title="Gap", kind="off_label"), PROBE], True),  # not about the label's own score
        ([KNOWN, PROBE], False),  # the last layer knows them too
        ([SMALL, PROBE], False),  # no attack could have shown it
        ([PROBE], False),
        ([KNOWN, OFF], False),
    ],
)
def test_what_the_last_layer_alone_forgot_has_a_name(tests: list[AuditTest], named: bool) -> None:
    found = decide(adjust_tests(tests), None, 0.03, 60, "them")
    assert found.status is FAILED
    assert (found.reasons[-1] == HIDDEN) is named
    assert (HIDDEN in found.reasons) is named


@pytest.mark.parametrize(
    ("tests", "utility", "sentence"),
    [
        (
            [CLEARED, OFF, SMALL],
            None,
            "By 2 tests that would have caught doing nothing, this model could not be distinguished from",
        ),
        (
            [OFF],
            None,
            "By 1 test that would have caught doing nothing, this model could not be distinguished from one that nev",
        ),
        (
            [KNOWN, OFF],
            None,
            "1 of 2 tests shows that the 1,200 records can still be distinguished from never-seen ones.",
        ),
        (
            [make_test(0.3, -0.2), KNOWN, OFF],
            None,
            "2 of 3 tests show that the 1,200 records can still be distinguished from never",
        ),
        ([make_test(0.3, -0.2), OFF], None, "1 of 2 tests shows that the 1,200 records were unlearned too far."),
        ([dataclasses.replace(FAR, of_model=False), OFF], None, "1 of 2 tests shows that the method leaves traces of"),
        (
            [CLEARED, OFF],
            near(-0.2, 0.01),
            "The model lost more accuracy on records that it never saw than unlearning m",
        ),
        ([WIDE, OFF], None, "The tests could neither confirm that the 1,200 records are forgotten nor show that"),
    ],
)
def test_the_verdict_in_one_sentence(tests: list[AuditTest], utility: Estimate | None, sentence: str) -> None:
    assert decide(adjust_tests(tests), utility, 0.03, 1200, "them").sentence.startswith(sentence)


def test_what_one_test_alone_shows_need_not_be_shown_by_many_together() -> None:
    odd = make_test(0.3, 0.06, half=0.055)  # p = 0.03
    assert decide(adjust_tests([odd]), None, 0.03, 60, "them").status is FAILED
    found = decide(adjust_tests([odd, OFF]), None, 0.03, 60, "them")
    assert found.status is UNDECIDED
    assert "nor shown by all tests together to differ from 0" in found.reasons[0]


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


@pytest.mark.parametrize("before", [0.02, 0.05, 0.1, 0.3, -0.1, -0.3])
@pytest.mark.parametrize("half", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("records", [10, 1000])
def test_doing_nothing_is_never_verified(before: float, half: float, records: int) -> None:
    nothing = make_test(before, before, half, improvement=near(0.0, 0.0))
    found = decide(
        adjust_tests([nothing, dataclasses.replace(nothing, kind="off_label")]), near(0.0, 0.0), 0.03, records, "them"
    )
    assert found.status is not VERIFIED
    assert found.status is FAILED or nothing.uninformative_reason


def test_the_smallest_effect_is_what_the_narrowest_interval_tells_from_zero_four_times_in_five() -> None:
    tests = [CLEARED, make_test(0.3, 0.0, half=0.05), distance(0.1, 0.001, 0.5)]
    found = decide(adjust_tests(tests), None, 0.03, 60, "them").smallest_effect
    error = error_of(HALF)  # of the narrowest; a distance has another unit
    assert norm.cdf(found / error - norm.ppf(0.975)) == pytest.approx(0.8)
    assert math.isnan(decide([], None, 0.03, 60, "them").smallest_effect)
    assert math.isnan(decide([NEAR], None, 0.03, 60, "them").smallest_effect)
    # a test that could clear no model may still fail one
    assert decide([SMALL], None, 0.03, 60, "them").smallest_effect == pytest.approx(found)
