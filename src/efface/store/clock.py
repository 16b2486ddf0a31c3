"""A store's time, which never runs backwards even if the machine's clock does."""

from datetime import UTC, date, datetime

from efface.store.entries import CLOCK_AHEAD, CLOCK_BEHIND

TOLERATED_S = 1.0  # usual difference between the clocks of several machines
MAX_REST_S = 366 * 86_400.0  # between two events; a clock further ahead may be wrong


def now() -> datetime:
    """The machine's time, in UTC."""
    return datetime.now(UTC)


def stamp(last: str | None, reset: bool = False) -> tuple[str, dict[str, float]]:
    """The time of a new event.

    Args:
        last: the time of the event before it.
        reset: whether to take the machine's time even if it lies before `last`.

    Returns:
        The time in UTC, never before `last` unless it is reset, and what the event's body notes of it: by how many
        seconds the clock is behind `last`, if by more than TOLERATED_S, or ahead of it, if by more than MAX_REST_S.
    """
    current = now()
    ahead = 0.0 if last is None else seconds_between(last, current)
    if reset or ahead >= 0:
        noted = {CLOCK_AHEAD: round(ahead, 3)} if ahead > MAX_REST_S else {}
        return current.isoformat(timespec="milliseconds"), noted
    return last or "", {CLOCK_BEHIND: round(-ahead, 3)} if -ahead > TOLERATED_S else {}


def seconds_between(earlier: str, later: datetime) -> float:
    """Seconds from the time of an event to a moment; negative if the event is later."""
    return (later - datetime.fromisoformat(earlier)).total_seconds()


def is_over(due: str | None, latest: str) -> bool:
    """Whether a day has passed, by the later of the machine's clock and the history's last event.

    Args:
        due: the day as YYYY-MM-DD; None never passes.
        latest: time of the history's last event.
    """
    return due is not None and date.fromisoformat(due) < max(now(), datetime.fromisoformat(latest)).date()
