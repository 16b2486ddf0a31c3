"""Time as a store sees it: it never runs backwards, whatever the machine's clock does."""

from datetime import UTC, date, datetime

from efface.errors import RequestError

TOLERATED_S = 1.0  # clocks of several machines differ by as much


def now() -> datetime:
    """The machine's time, in UTC."""
    return datetime.now(UTC)


def stamp(last: str | None) -> tuple[str, float]:
    """The time of a new event after one at `last`, and by how many seconds the clock lies behind that one."""
    current = now()
    if last is None or (behind := (datetime.fromisoformat(last) - current).total_seconds()) <= 0:
        return current.isoformat(timespec="milliseconds"), 0.0
    return last, behind if behind > TOLERATED_S else 0.0


def present(latest: str) -> datetime:
    """The time now, for deadlines: no earlier than any that was seen, so that a clock that jumped back delays none."""
    return max(now(), datetime.fromisoformat(latest))


def read_date(text: str, option: str) -> date:
    """A date as YYYY-MM-DD."""
    try:
        return date.fromisoformat(text)
    except (ValueError, TypeError):
        raise RequestError(f"{option}: expected a date as YYYY-MM-DD, got {text!r}") from None
