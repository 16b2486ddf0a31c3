"""Which status follows from a rehearsal, and in which order its parts count."""

from dataclasses import replace

import pytest

from efface.auditing.rehearsal.conclude import conclude
from efface.auditing.rehearsal.findings import Agreement, Rehearsal, Standing
from efface.auditing.rehearsal.size import Size
from efface.auditing.verdict import Forgotten, Status, Verdict

FORGOTTEN = Forgotten(3)
DIRECT = Verdict(Status.UNDECIDED, ("3 forget records are too few",), 0.4, "Nothing is shown.", ("collect requests",))
QUIET = Standing("among others", 0.4, 0.2, 200, False, 0.3, 0.9)


def verdict(status: Status) -> Verdict:
    return Verdict(status, ("LiRA: a reason",), 0.1, "A sentence.")


FINE = Rehearsal(
    records=200,
    runs=6,
    size=Size(200, ("lira",), True),
    tests=(),
    process=verdict(Status.VERIFIED),
    doing_nothing_fails=True,
    no_trace=False,
    standings=(QUIET, QUIET),
    agreement=Agreement(0.5, -0.1, 0.2),
    alone=0,
)


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({}, Status.VERIFIED_BY_REHEARSAL, "200 other training records of their kind"),
        ({"process": verdict(Status.NOT_VERIFIED)}, Status.NOT_VERIFIED, "left traces of 200 other records"),
        ({"process": verdict(Status.UNDECIDED)}, Status.UNDECIDED, "could neither confirm"),
        ({"process": verdict(Status.UNDECIDED), "no_trace": True}, Status.NO_TRACE_FOUND, "nothing to see"),
        ({"standings": (QUIET, replace(QUIET, stands_out=True))}, Status.NOT_VERIFIED, "stand out as records"),
        ({"agreement": Agreement(0.01, 1.0, 0.1)}, Status.UNDECIDED, "does not speak for them"),
        ({"alone": 1}, Status.UNDECIDED, "does not speak for them"),
        # what shows on the deployed model counts before what would speak for the process, or against it
        ({"alone": 1, "standings": (replace(QUIET, stands_out=True),)}, Status.NOT_VERIFIED, "stand out"),
        ({"alone": 1, "process": verdict(Status.NOT_VERIFIED)}, Status.UNDECIDED, "does not speak"),
        ({"no_trace": True}, Status.VERIFIED_BY_REHEARSAL, "could not be distinguished"),
    ],
)
def test_the_status_and_its_sentence(changes: dict[str, object], status: Status, said: str) -> None:
    found = conclude(DIRECT, replace(FINE, **changes), FORGOTTEN)  # type: ignore[arg-type]
    assert found.status is status and said in found.sentence and found.reasons


def test_no_trace_is_never_called_verified() -> None:
    changed = replace(FINE, process=verdict(Status.UNDECIDED), no_trace=True)
    found = conclude(DIRECT, changed, FORGOTTEN)
    assert "verified" not in f"{found.sentence} {found.reasons}" and "no evidence that the 3 records" in found.sentence


def test_one_record_is_not_called_several() -> None:
    out, away = (QUIET, replace(QUIET, stands_out=True)), Agreement(0.01, 1.0, 0.1)
    for changes in ({}, {"standings": out}, {"agreement": away, "alone": 1}):
        found = conclude(DIRECT, replace(FINE, **changes), Forgotten(1))  # type: ignore[arg-type]
        text = " ".join([found.sentence, *found.reasons])
        assert "the requested record " in text or "the requested record has" in text
        assert "requested records" not in text and "all of them" not in text


def test_where_only_one_model_was_looked_into_no_other_is_named() -> None:
    found = conclude(DIRECT, replace(FINE, standings=(QUIET,)), FORGOTTEN)
    assert "do not stand out there" in found.sentence and "deployed model" not in found.sentence
