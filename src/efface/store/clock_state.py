"""What is odd about a store's time, and noting that the machine's clock is right, or was wrong."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select

from efface.errors import RequestError
from efface.runtime.printing import Brief
from efface.store import clock
from efface.store.context import Snapshot, StoreContext
from efface.store.database import events
from efface.store.entries import CONFIRMED, RESET
from efface.store.history import History
from efface.store.wording import moment

EARLIEST = datetime(2024, 1, 1, tzinfo=UTC)  # before efface was written, so a clock that shows less is wrong
DAY_S = 86_400.0
HELD_BACK = "until somebody says whether it was right (efface clock), no superseded model is removed"
NO_DATES = "until somebody says whether it was right (efface clock), dates may be wrong"


@dataclass(frozen=True, repr=False)
class ClockState(Brief):
    """The machine's time beside that of a store's history.

    Args:
        now: the time of the machine's clock, in UTC.
        latest: the time of the history's last event.
        events: how many events the history has.
        future: number of the first event whose time lies in the future of the machine's clock; None if there is none.
        ahead: numbers of the events at which the clock was more than 366 days ahead of the event before, and by how
            many seconds, as long as nobody has said whether it was right.
        resets: numbers of the events that reset the clock, and of the first event whose time was wrong.
        trusted: whether superseded models may be removed by their dates.
        warnings: what is odd, one line each.
    """

    now: str
    latest: str
    events: int
    future: int | None
    ahead: tuple[tuple[int, float], ...]
    resets: tuple[tuple[int, int], ...]
    trusted: bool
    warnings: tuple[str, ...]


def clock_state(snapshot: Snapshot) -> ClockState:
    """Compare the machine's clock with the history."""
    history, now = snapshot.history, clock.now()
    return ClockState(
        now=now.isoformat(timespec="milliseconds"),
        latest=history.latest,
        events=history.seq,
        future=_first_in_future(snapshot, now),
        ahead=tuple(history.clock_ahead),
        resets=tuple((seq, since) for seq, since, _ in history.clock_resets),
        trusted=not clock_doubts(history),
        warnings=tuple(clock_warnings(history)),
    )


def clock_doubts(history: History) -> list[str]:
    """Reasons why nothing may be removed by its date, one line each: the clock is, or was, implausibly far ahead.

    Without days of grace nothing is removed by a date.
    """
    then = HELD_BACK if history.settings["grace_days"] else NO_DATES
    found: list[str] = []
    if history.retiring:  # which removes everything at once
        return found
    if history.clock_ahead:
        (seq, seconds), *more = history.clock_ahead
        others = f", and so at {len(more)} later events" if more else ""
        found.append(
            f"event {seq}: the clock lay {seconds / DAY_S:,.0f} days ahead of the event before it{others}: {then}"
        )
    now = clock.now()
    ahead = clock.seconds_between(history.latest, now)
    if ahead > clock.MAX_REST_S:
        found.append(
            f"the machine's clock shows {now:%Y-%m-%d}, {ahead / DAY_S:,.0f} days after the last event "
            f"({history.latest[:10]}): {then}"
        )
    return found


def clock_warnings(history: History) -> list[str]:
    """Everything that is odd about the time, one line each."""
    found = clock_doubts(history)
    if history.retiring:  # nothing is due any more
        return found
    if history.clock_jumps:
        (seq, seconds), *more = history.clock_jumps
        others = f", and so for {len(more)} later events" if more else ""
        found.append(f"event {seq}: the clock lay {seconds:.0f} s behind the event before it{others}")
    behind = -clock.seconds_between(history.latest, clock.now())
    if behind > DAY_S:
        found.append(
            f"the last event ({history.latest[:10]}) lies {behind / DAY_S:,.0f} days in the future of the machine's "
            "clock, and dates are counted from it: if the clock is right now, efface clock --reset puts that right"
        )
    return found


def confirm_clock(context: StoreContext) -> ClockState:
    """Note in the history that the machine's clock is right, if it is implausibly far ahead or was so at some event.

    Raises:
        RequestError: the time of the last event lies in the future of the machine's clock, so one of them is wrong.
    """
    with context.writing() as transaction:
        state = clock_state(transaction)
        shown = moment(state.now, to_second=True)
        if state.future is not None:
            raise RequestError(
                f"the clock cannot be confirmed: it shows {shown}, and event {state.future} and those "
                "after it have later times. If the clock is right now, note that these were wrong (Store.reset_clock, "
                "or efface clock --reset)"
            )
        if not state.trusted:
            transaction.append(CONFIRMED, {})
        return clock_state(transaction)


def reset_clock(context: StoreContext) -> ClockState:
    """Note in the history that times in the future of the machine's clock were wrong, and go on from its time.

    Raises:
        RequestError: no event lies in the future of the machine's clock, or it shows a time before efface was written.
    """
    with context.writing() as transaction:
        state = clock_state(transaction)
        shown = moment(state.now, to_second=True)
        if state.future is None:
            raise RequestError(
                f"the clock cannot be reset: no event has a time later than that of the machine's clock, "
                f"{shown}. If the clock is wrong, set it first. If it is right after a long rest, note "
                "that (Store.confirm_clock, or efface clock --confirm)"
            )
        if clock.now() < EARLIEST:
            raise RequestError(
                f"the clock cannot be reset: the machine's clock shows {shown}, when efface was not "
                "written yet: set it first"
            )
        transaction.append(RESET, {"since": state.future})
        return clock_state(transaction)


def _first_in_future(snapshot: Snapshot, now: datetime) -> int | None:
    """The first event since the last reset whose time lies in the future of the machine's clock."""
    if clock.seconds_between(snapshot.history.latest, now) >= -clock.TOLERATED_S:
        return None
    resets = snapshot.history.clock_resets
    query = select(func.min(events.c.seq)).where(
        events.c.seq > (resets[-1][0] if resets else 0), events.c.at > now.isoformat(timespec="milliseconds")
    )
    return snapshot.connection.execute(query).scalar()
