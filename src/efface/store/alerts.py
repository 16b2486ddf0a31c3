"""What a store needs from the people who run it: what `efface status --check` looks for, one function each.

Add a look as a function of a `StoreState` that yields alerts, and as one entry of LOOKS, or of LOOKS_AT_RETIRED.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from sqlalchemy import select

from efface.errors import RequestError, shorten
from efface.runtime.options import is_integer
from efface.store import clock
from efface.store.clock_state import clock_doubts
from efface.store.context import StoreContext
from efface.store.database import pending_ids
from efface.store.errors import StoreError
from efface.store.files import SUFFIX
from efface.store.gc import removable, removal_date
from efface.store.history import History
from efface.store.process import LEFT, process_evidence
from efface.store.settings import DriftLimits
from efface.store.unfinished import unfinished_retirement

# exit codes of `efface status --check`, the worst first
DAMAGED, NOW, SOON = ORDER = (4, 3, 9)
TRIES = 5  # to look at a store while nobody changes it


@dataclass(frozen=True)
class Alert:
    """Something that a store needs.

    Args:
        what: what was found.
        code: how bad it is, as the exit code of `efface status --check`: 4 for damage to the model in service, 3 for
            what must be done now, 9 for what must be done soon.
        advice: what to do.
    """

    what: str
    code: int
    advice: str


@dataclass(frozen=True)
class StoreState:
    """What the looks may see of a store.

    Args:
        context: the open store.
        history: its history.
        with_ids: numbers of the requests that have ids in the database.
        within_days: how many days before its date a request is due soon; None says so of none.
    """

    context: StoreContext
    history: History
    with_ids: frozenset[int]
    within_days: int | None

    @cached_property
    def at_work(self) -> bool:
        """Whether a run is at work, which is about to put right what it left unfinished so far."""
        return self.context.folder.at_work()


def alerts(context: StoreContext, within_days: int | None = None) -> tuple[Alert, ...]:
    """What a store needs, the worst first. The checkpoint in service is read as a whole and compared with its hash.

    Args:
        context: the open store.
        within_days: as in StoreState.

    Raises:
        RequestError: `within_days` is no number of days.
        DamagedError: the history cannot be read.
    """
    if within_days is not None and not is_integer(within_days, 0):
        raise RequestError(f"within_days: expected a number of days, 0 or more, got {within_days!r}")
    for _ in range(TRIES):
        with context.reading() as snapshot:
            numbers = snapshot.connection.execute(select(pending_ids.c.request).distinct()).scalars()
            state = StoreState(context, snapshot.history, frozenset(numbers), within_days)
        wanted = LOOKS_AT_RETIRED if state.history.retiring else LOOKS
        found = [alert for look in wanted for alert in look(state)]
        if context.history().seq == state.history.seq:
            break
    return tuple(sorted(found, key=lambda alert: ORDER.index(alert.code)))


def _checkpoint(state: StoreState) -> Iterator[Alert]:
    serving = state.history.serving
    try:
        state.context.folder.checked("checkpoints", serving.file, serving.title)
    except StoreError as error:
        for line in error.problems:
            advice = "it is in service: restore it from a backup, or make another by efface run --retrain"
            yield Alert(line, DAMAGED, advice)


def _overdue(state: StoreState) -> Iterator[Alert]:
    for request in state.history.pending:
        if clock.is_over(request.due, state.history.latest):
            yield Alert(f"request {request.number} was due on {request.due}", NOW, request.way)


def _retraining(state: StoreState) -> Iterator[Alert]:
    limits, history = DriftLimits(**state.history.settings["limits"]), state.history
    for line in limits.exceeded(history.serving.drift):
        yield Alert(f"a retraining is due: {line}", NOW, "efface run --retrain does it")


def _process(state: StoreState) -> Iterator[Alert]:
    found = process_evidence(state.history)
    if found.conclusion == LEFT:
        advice = "efface run --retrain begins anew without them; then erase by other options or another method"
        yield Alert(f"all runs together: {found.sentence}", NOW, advice)


def _deferred(state: StoreState) -> Iterator[Alert]:
    for request in state.history.pending:
        if request.deferred is not None:
            yield Alert(f"request {request.number} waits: {request.deferred.reason}", NOW, request.deferred.advice)


def _foreign(state: StoreState) -> Iterator[Alert]:
    if state.history.pending and (why := state.history.foreign_contents):
        what, _, advice = why.partition(": ")
        yield Alert(what, NOW, advice)


def _unfinished(state: StoreState) -> Iterator[Alert]:
    run = state.history.open_run
    if run is not None and not state.at_work:
        yield Alert(f"run {run.number} was interrupted", NOW, "efface run with the same options goes on with it")


def _misplaced(state: StoreState) -> Iterator[Alert]:
    folder, history = state.context.folder, state.history
    if not folder.serves(history.serving.file) and not state.at_work:
        yield Alert(f"{folder.link} does not lead to {history.serving.title}", NOW, "efface run puts that right")


def _key(state: StoreState) -> Iterator[Alert]:
    if state.context.retired:
        yield Alert(f"the key {state.context.key_path} is missing", NOW, "put it back, or name it (key, --key)")


def _ids_in_the_log(state: StoreState) -> Iterator[Alert]:
    if state.history.uncleared and not state.at_work:
        what = f"deleted ids may still stand in {state.context.database.path.name} or its log"
        yield Alert(what, NOW, "efface run empties it, once no other process reads from the database")


def _ids_not_pending(state: StoreState) -> Iterator[Alert]:
    pending = {request.number for request in state.history.pending}
    left = sorted(state.with_ids - pending)
    if left:
        what = f"{state.context.database.path.name} holds ids of requests that are not pending: {shorten(left)}"
        yield Alert(what, NOW, "efface verify says what was changed: restore the store from a backup")


def _superseded(state: StoreState) -> Iterator[Alert]:
    for version in removable(state.history):
        day = removal_date(state.history, version)
        if not state.at_work:
            what = f"{version.title} knows forgotten records, and was to be removed by {day:%Y-%m-%d}"
            yield Alert(what, NOW, "efface run removes it")


def _unnamed_checkpoints(state: StoreState) -> Iterator[Alert]:
    """Models that a run was about to remove, or left half done, when it was killed."""
    needed = state.history.needed_files()
    listed = [p for p in state.context.folder.listed("checkpoints") if p.suffix == SUFFIX]
    left = [p for p in listed if ("checkpoints", p.stem) not in needed]
    if left and state.history.open_run is None and not state.at_work:
        names = shorten([f"{p.stem[:16]}..." for p in left], show=str)
        what = f"checkpoints/{names}: left by a run that was interrupted, and may know forgotten records"
        yield Alert(what, NOW, "efface run removes it")


def _clock(state: StoreState) -> Iterator[Alert]:
    for line in clock_doubts(state.history):
        yield Alert(line, NOW, "efface clock says what to do")


def _retirement(state: StoreState) -> Iterator[Alert]:
    for line in unfinished_retirement(state.context, state.history) if not state.at_work else ():
        yield Alert(f"the retirement is unfinished: {line}", NOW, "efface retire --yes goes on with it")


def _due_soon(state: StoreState) -> Iterator[Alert]:
    days, latest = state.within_days, state.history.latest
    for request in state.history.pending if days is not None else ():
        if request.due is None or clock.is_over(request.due, latest):
            continue
        # a request is due within N days if a date of N + 1 days before is over
        earlier = date.fromordinal(max(1, date.fromisoformat(request.due).toordinal() - (days or 0) - 1))
        if clock.is_over(earlier.isoformat(), latest):
            yield Alert(f"request {request.number} is due on {request.due}", SOON, request.way)


LOOKS: tuple[Callable[[StoreState], Iterator[Alert]], ...] = (
    _checkpoint,
    _overdue,
    _retraining,
    _process,
    _deferred,
    _foreign,
    _unfinished,
    _misplaced,
    _key,
    _ids_in_the_log,
    _ids_not_pending,
    _superseded,
    _unnamed_checkpoints,
    _clock,
    _due_soon,
)
LOOKS_AT_RETIRED = (_checkpoint, _ids_not_pending, _retirement)
