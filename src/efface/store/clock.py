"""A store's time, which never runs backwards even if the machine's clock does."""

from datetime import UTC, date, datetime

TOLERATED_S = 1.0  # usual difference between the clocks of several machines


def now() -> datetime:
    """The machine's time, in UTC."""
    return datetime.now(UTC)


def stamp(last: str | None) -> tuple[str, float]:
    """The time of a new event.

    Args:
        last: the time of the event before it.

    Returns:
        The time in UTC, never before `last`, and by how many seconds the clock is behind `last`; 0 if it is not, or by
        at most TOLERATED_S.
    """
    current = now()
    if last is None or (behind := (datetime.fromisoformat(last) - current).total_seconds()) <= 0:
        return current.isoformat(timespec="milliseconds"), 0.0
    return last, behind if behind > TOLERATED_S else 0.0


def is_over(due: str | None, latest: str) -> bool:
    """Whether a day has passed, by the later of the machine's clock and the history's last event.

    Args:
        due: the day as YYYY-MM-DD; None never passes.
        latest: time of the history's last event.
    """
    return due is not None and date.fromisoformat(due) < max(now(), datetime.fromisoformat(latest)).date()
