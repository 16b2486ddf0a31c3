"""Time as a store sees it: it never runs backwards, whatever the machine's clock does."""

from datetime import UTC, date, datetime

from efface.errors import RequestError

TOLERATED_S = 1.0  # clocks of several machines differ by as much


def now() -> datetime:
    """The machine's time, in UTC."""
    return datetime.now(UTC)


def stamp(last: str | None) -> tuple[str, float]:
    """The time of a new event.

    Args:
        last: the time of the event before it.

    Returns:
        The time, never before `last`, and by how many seconds the clock lies behind `last`; 0 where it does not.
    """
    current = now()
    if last is None or (behind := (datetime.fromisoformat(last) - current).total_seconds()) <= 0:
        return current.isoformat(timespec="milliseconds"), 0.0
    return last, behind if behind > TOLERATED_S else 0.0


def is_over(due: str | None, latest: str) -> bool:
    """Whether a day is over; a clock that jumped back delays no deadline.

    Args:
        due: the day as YYYY-MM-DD; None is never over.
        latest: the latest time that was seen.
    """
    return due is not None and date.fromisoformat(due) < max(now(), datetime.fromisoformat(latest)).date()


def read_date(text: str, option: str) -> date:
    """Read a date written as YYYY-MM-DD; `option` is what the RequestError for another text calls it."""
    try:
        return date.fromisoformat(text)
    except (ValueError, TypeError):
        raise RequestError(f"{option}: expected a date as YYYY-MM-DD, got {text!r}") from None
