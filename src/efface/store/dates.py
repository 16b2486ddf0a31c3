"""The last day on which honouring a request is in time: read from text or from Python's dates, always a day in UTC."""

import re
from datetime import UTC, date, datetime

from efface.errors import RequestError, kind_of

# date.fromisoformat also takes 20261224, 2026-W52-4 and, in some versions, digits of other scripts
FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def read_date(text: str, option: str) -> date:
    """Read a date written as YYYY-MM-DD; no other form is taken, so that no date can be read in two ways.

    Args:
        text: the date.
        option: the name of the option that it was given for, for the error message.

    Raises:
        RequestError: the text is not a date in this form.
    """
    if not FORM.fullmatch(text):
        raise RequestError(f"{option}: expected a date as YYYY-MM-DD, got {text!r}")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise RequestError(f"{option}: expected a date as YYYY-MM-DD, got {text!r}, and there is no such day") from None


def due_day(value: object) -> str | None:
    """The day that a request is due, as YYYY-MM-DD; None without one.

    Args:
        value: text as YYYY-MM-DD, a date, or a datetime with a time zone, which is converted to the day in UTC.

    Raises:
        RequestError: the value is something else, or a datetime without a time zone, which could mean two days.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return _text(read_date(value, "due"))
    if not isinstance(value, date):
        raise RequestError(f"due: expected a date, or text as YYYY-MM-DD, got {kind_of(value)}")
    if value != value:  # the missing time of pandas, which is a datetime
        raise RequestError("due: expected a date, or text as YYYY-MM-DD, got a missing one (NaT)")
    if not isinstance(value, datetime):
        return _text(value)
    if value.utcoffset() is None:
        raise RequestError(
            f"due: {value} has no time zone, so it may lie on another day in UTC: give the day alone (.date()), or a "
            "time zone (tzinfo)"
        )
    try:
        return _text(value.astimezone(UTC))
    except (OverflowError, ValueError):
        raise RequestError(f"due: {value} lies outside of the years 1 to 9999 in UTC") from None


def _text(day: date) -> str:
    return f"{day.year:04d}-{day.month:02d}-{day.day:02d}"
