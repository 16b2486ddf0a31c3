"""Dates have one written form, and are days in UTC."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from efface import RequestError
from efface.store.dates import due_day, read_date

WEST, EAST = timezone(timedelta(hours=-8)), timezone(timedelta(hours=5, minutes=45))
FORM = "due: expected a date as YYYY-MM-DD, got "


class Missing(datetime):
    """The double of a missing time of pandas: a datetime that equals nothing."""

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("given", "day"),
    [
        ("2026-12-24", "2026-12-24"),
        ("0001-01-01", "0001-01-01"),
        ("9999-12-31", "9999-12-31"),
        (np.str_("2024-02-29"), "2024-02-29"),
        (date(2026, 12, 24), "2026-12-24"),
        (date(1, 2, 3), "0001-02-03"),
        (datetime(2026, 12, 23, 23, 0, tzinfo=WEST), "2026-12-24"),
        (datetime(2026, 12, 24, 0, 30, tzinfo=EAST), "2026-12-23"),
        (datetime(2026, 12, 24, 0, 0, tzinfo=UTC), "2026-12-24"),
        (datetime(2026, 12, 24, 23, 59, 59, 999999, tzinfo=UTC), "2026-12-24"),
        (datetime(2026, 12, 31, 16, 0, tzinfo=WEST), "2027-01-01"),
        (None, None),
    ],
)
def test_what_is_taken(given: Any, day: str | None) -> None:
    assert due_day(given) == day


@pytest.mark.parametrize(
    "text",
    [
        *("20261224", "2026-W52-4", "2026W524", "2026-12-24T00:00", "2026-12-24T00:00+02:00", "2026-358"),
        *(
            " 2026-12-24",
            "2026-12-24 ",
            "2026-12-24\n",
            "2026-1-2",
            "24-12-2026",
            "2026/12/24",
            "\uff12\uff10\uff12\uff16-12-24",
        ),
        *(
            "\u0662\u0660\u0662\u0666-12-24",
            "2026\u201012\u201024",
            "10000-01-01",
            "-026-01-01",
            "",
            "today",
        ),
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    for read in (lambda: due_day(text), lambda: read_date(text, "due")):
        with pytest.raises(RequestError) as caught:
            read()
        assert caught.value.problems == (f"{FORM}{text!r}",)


@pytest.mark.parametrize("text", ["2026-02-30", "2026-13-01", "0000-01-01"])
def test_a_day_that_there_is_not_is_told_from_another_form(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        due_day(text)
    assert caught.value.problems == (f"{FORM}{text!r}, and there is no such day",)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (datetime(2026, 12, 24, 12), "due: 2026-12-24 12:00:00 has no time zone, so it may lie on another day in UTC"),
        (datetime(9999, 12, 31, 23, tzinfo=WEST), "lies outside of the years 1 to 9999 in UTC"),
        (datetime(1, 1, 1, 1, tzinfo=EAST), "lies outside of the years 1 to 9999 in UTC"),
        (Missing(2026, 12, 24), "got a missing one (NaT)"),
        (np.datetime64("2026-12-24"), "expected a date, or text as YYYY-MM-DD, got datetime64"),
        (20261224, "expected a date, or text as YYYY-MM-DD, got int"),
        (True, "got bool"),
        (b"2026-12-24", "got bytes"),
        (timedelta(days=3), "got timedelta"),
        (date, "got the class date: call it"),
    ],
)
def test_other_values_are_refused(given: Any, said: str) -> None:
    with pytest.raises(RequestError) as caught:
        due_day(given)
    (line,) = caught.value.problems
    assert said in line


def test_pandas_times_are_read_as_the_datetimes_that_they_are() -> None:
    pandas = pytest.importorskip("pandas")
    assert due_day(pandas.Timestamp("2026-12-23 23:00", tz="America/Los_Angeles")) == "2026-12-24"
    for given, said in ((pandas.NaT, "NaT"), (pandas.Timestamp("2026-12-24"), "has no time zone")):
        with pytest.raises(RequestError, match=said):
            due_day(given)
