"""The verdict from all tests: which of three words follows, and why."""

import dataclasses
import math

import pytest
from scipy.stats import norm

from efface.auditing.audit_test import AuditTest, adjust_tests
from efface.auditing.verdict import MIN_RECORDS, Forgotten, Status, decide
from efface.types import Estimate
from helpers.audit_tests import (
    CLEARED,
    FAR,
    HALF,
    KNOWN,
    NEAR,
    NO_BETTER,
    OFF,
    PROBE,
    SMALL,
    WIDE,
    change,
    distance,
    error_of,
    make_test,
    near,
)

VERIFIED, FAILED, UNDECIDED = Status.VERIFIED, Status.NOT_VERIFIED, Status.UNDECIDED


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
        "would have been caught by: Loss attack; Gap",
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
    "still known": (
        [KNOWN, OFF],
        None,
        60,
        FAILED,
        "(doing nothing +0.300): under-unlearned: forget records are",
    ),
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
        "with these records, no test distinguishes doing nothing",
    ),
    "too few to clear any model": (
        [make_test(0.3, 0.01, half=0.2)],
        None,
        60,
        UNDECIDED,
        "with so few records no test would clear a model that never saw them, though doing nothing "
        "would be caught by: Loss attack",
    ),
    "an uninformative distance": (
        [distance(0.1, 0.1, 0.3, uninformative_reason="too few")],
        None,
        60,
        UNDECIDED,
        "with these records, no test distinguishes",
    ),
    "the label's own score alone": (
        [CLEARED],
        None,
        60,
        UNDECIDED,
        "no test that could tell reads a statistic other than",
    ),
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
    "a chance sign before, and still known": ([make_test(-0.01, 0.3), OFF], None, 60, FAILED, "are still known"),
    "a chance sign before, and too far": ([make_test(0.01, -0.3), OFF], None, 60, FAILED, "over-unlearned"),
    "below before, and still": ([make_test(-0.3, -0.2), OFF], None, 60, FAILED, "under-unlearned"),
    "below before, and beyond": ([make_test(-0.3, 0.2), OFF], None, 60, FAILED, "over-unlearned"),
}


@pytest.mark.parametrize("row", TABLE)
def test_the_verdict(row: str) -> None:
    tests, utility, records, status, said = TABLE[row]
    found = decide(adjust_tests(tests), change(utility), Forgotten(records), "them")
    assert (found.status, said in "\n".join(found.reasons)) == (status, True), found.reasons


def test_every_failure_and_every_doubt_is_stated() -> None:
    failed = decide(
        adjust_tests([KNOWN, make_test(0.3, -0.2, title="RMIA"), CLEARED, FAR]),
        change(near(-0.2, 0.01)),
        Forgotten(10),
        "the retrained models",
    )
    assert [r.split(":")[0] for r in failed.reasons] == ["Loss attack", "RMIA", "Excess d2", "utility"]
    doubted = decide(
        adjust_tests([WIDE, dataclasses.replace(WIDE, title="RMIA")]), change(near(-0.05, 0.04)), Forgotten(10), "them"
    )
    starts = ["10 forget records", "no test that could tell reads", "Loss attack: ", "RMIA: ", "caution: "]
    assert [r.startswith(s) for r, s in zip(doubted.reasons, starts, strict=True)] == [True] * 5


def test_where_nothing_was_measured_the_verdict_says_why() -> None:
    found = decide([], None, Forgotten(60), "them", "", ("only 12 retain records are left", "needs a last layer"))
    said = "no decisive test was measured: only 12 retain records are left; needs a last layer"
    assert (found.status, found.reasons) == (UNDECIDED, (said,))
    assert found.sentence == "No test could be made, so whether the 60 records are forgotten is not known."
    alone = decide(adjust_tests([CLEARED]), None, Forgotten(60), "them", "", ("needs a last layer",))
    assert alone.reasons[0].endswith("a statistic other than the label's own score: needs a last layer")
    some = decide(adjust_tests([CLEARED, OFF]), None, Forgotten(60), "them", "", ("needs a last layer",))
    assert some.status is VERIFIED, "what was measured decides"


def test_an_audit_that_is_barred_concludes_nothing() -> None:
    for tests, utility in (([CLEARED, OFF], None), ([KNOWN], near(-0.02, 0.01)), ([], None)):
        found = decide(adjust_tests(tests), change(utility), Forgotten(60), "them", "the request is no random sample")
        assert (found.status, found.reasons) == (UNDECIDED, ("the request is no random sample",))
        assert found.sentence == "Nothing can be concluded: the request is no random sample."
    ruined = decide([], change(near(-0.5, 0.01)), Forgotten(60), "them", "the request is no random sample")
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
    found = decide(adjust_tests(tests), None, Forgotten(60), "them")
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
    assert decide(adjust_tests(tests), change(utility), Forgotten(1200), "them").sentence.startswith(sentence)


def test_what_was_lost_is_called_as_the_kind_calls_it() -> None:
    for half, status in ((0.01, FAILED), (0.2, VERIFIED)):
        lost = change(near(-0.2, half), "explained variance")
        found = decide(adjust_tests([CLEARED, OFF]), lost, Forgotten(60), "them")
        assert found.status is status and ": explained variance on never-seen records fell" in found.reasons[-1]
        assert "explained variance" in found.sentence and "accuracy" not in found.sentence


def test_what_one_test_alone_shows_need_not_be_shown_by_many_together() -> None:
    odd = make_test(0.3, 0.06, half=0.055)  # p = 0.03
    assert decide(adjust_tests([odd]), None, Forgotten(60), "them").status is FAILED
    found = decide(adjust_tests([odd, OFF]), None, Forgotten(60), "them")
    assert found.status is UNDECIDED
    assert "nor shown by all tests together to differ from 0" in found.reasons[0]


@pytest.mark.parametrize("before", [0.02, 0.05, 0.1, 0.3, -0.1, -0.3])
@pytest.mark.parametrize("half", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("records", [10, 1000])
def test_doing_nothing_is_never_verified(before: float, half: float, records: int) -> None:
    nothing = make_test(before, before, half, improvement=near(0.0, 0.0))
    found = decide(
        adjust_tests([nothing, dataclasses.replace(nothing, kind="off_label")]),
        change(near(0.0, 0.0)),
        Forgotten(records),
        "them",
    )
    assert found.status is not VERIFIED
    assert found.status is FAILED or nothing.uninformative_reason


def test_the_smallest_effect_is_what_the_narrowest_interval_tells_from_zero_four_times_in_five() -> None:
    tests = [CLEARED, make_test(0.3, 0.0, half=0.05), distance(0.1, 0.001, 0.5)]
    found = decide(adjust_tests(tests), None, Forgotten(60), "them").smallest_effect
    error = error_of(HALF)  # of the narrowest; a distance has another unit
    assert norm.cdf(found / error - norm.ppf(0.975)) == pytest.approx(0.8)
    assert math.isnan(decide([], None, Forgotten(60), "them").smallest_effect)
    assert math.isnan(decide([NEAR], None, Forgotten(60), "them").smallest_effect)
    # a test that could clear no model may still fail one
    assert decide([SMALL], None, Forgotten(60), "them").smallest_effect == pytest.approx(found)


def test_few_persons_are_too_few_whatever_their_records() -> None:
    tests = adjust_tests([CLEARED, OFF])
    few = decide(tests, None, Forgotten(6000, MIN_RECORDS - 1), "them")
    assert few.status is UNDECIDED and "29 groups, such as persons, are too few (at least 30 groups)" in few.reasons[0]
    enough = decide(tests, None, Forgotten(6000, MIN_RECORDS), "them")
    assert enough.status is VERIFIED and "that never saw the 6,000 records of 30 groups" in enough.sentence
    failed = decide(adjust_tests([KNOWN]), None, Forgotten(6000, 3), "them")
    assert failed.status is FAILED and "the 6,000 records of 3 groups can still" in failed.sentence
    both = decide(tests, None, Forgotten(3, 2), "them")
    assert "3 forget records are too few" in both.reasons[0]
