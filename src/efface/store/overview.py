"""A summary of the state of a store."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from efface.runtime.printing import Brief, how_many
from efface.store import clock
from efface.store.clock_state import clock_doubts, clock_warnings
from efface.store.context import StoreContext
from efface.store.database import pending_ids
from efface.store.entries import DeletionRequest, RunRecord, Version
from efface.store.history import History
from efface.store.process import ProcessEvidence, process_evidence
from efface.store.settings import DriftLimits
from efface.store.unfinished import unfinished_retirement


@dataclass(frozen=True, repr=False)
class Overview(Brief):
    """A summary of the state of a store.

    Args:
        serving: the version in service.
        file: the path of its weights.
        versions: all versions, in order.
        honours: numbers of the requests that each version honours, by number of the version.
        pending: requests that wait for a run.
        overdue: pending requests whose date has passed, in UTC.
        unfinished: a run that was interrupted or is in progress; else None.
        retraining: reasons why a retraining is due, one line each; empty if none is.
        warnings: other problems, one line each.
        clock_in_doubt: whether superseded models are kept past their dates, since the clock may be wrong.
        misplaced: whether `current.safetensors` does not lead to the version in service.
        retired: why the store accepts no requests any more; None while it does.
        unfinished_retirement: what an interrupted retirement has left to see to, one place each; else empty.
        head: number and hash of the history's last event.
        process: what all audited runs of the lineage in service say together.
    """

    serving: Version
    file: Path
    versions: tuple[Version, ...]
    honours: dict[int, tuple[int, ...]]
    pending: tuple[DeletionRequest, ...]
    overdue: tuple[DeletionRequest, ...]
    unfinished: RunRecord | None
    retraining: tuple[str, ...]
    warnings: tuple[str, ...]
    clock_in_doubt: bool
    misplaced: bool
    retired: str | None
    unfinished_retirement: tuple[str, ...]
    head: tuple[int, str]
    process: ProcessEvidence


def overview(context: StoreContext) -> Overview:
    """Summarise the current state of a store."""
    with context.reading() as snapshot:
        history = snapshot.history
        ids = snapshot.connection.execute(select(func.count()).select_from(pending_ids)).scalar() or 0
    misplaced = not context.folder.serves(history.serving.file)
    left = unfinished_retirement(context, history)
    warnings = clock_warnings(history)
    if misplaced and not left:
        warnings.append(f"{context.folder.link} does not lead to version {history.current}: efface run puts that right")
    if history.uncleared and not history.retiring:
        warnings.append("deleted ids may still stand in the write-ahead log: efface run empties it")
    if context.retired:
        warnings.append("without the key nobody can tell whether the history was changed")
        if ids:
            warnings.append(f"{how_many(ids, 'id')} of pending requests still in {context.database.path.name}")
    return Overview(
        serving=history.serving,
        file=context.folder.link,
        versions=tuple(history.versions.values()),
        honours={n: tuple(sorted(history.honoured_by(n))) for n in history.versions},
        pending=tuple(history.pending),
        overdue=tuple(r for r in history.pending if clock.is_over(r.due, history.latest)),
        unfinished=history.open_run,
        retraining=tuple(DriftLimits(**history.settings["limits"]).exceeded(history.serving.drift)),
        warnings=tuple(warnings),
        clock_in_doubt=bool(clock_doubts(history)),
        misplaced=misplaced,
        retired=_retired(history, left) or context.retired,
        unfinished_retirement=left,
        head=(history.seq, history.hash),
        process=process_evidence(history),
    )


def _retired(history: History, left: tuple[str, ...]) -> str | None:
    """How a retirement stands, as the end of a sentence; None if none was begun."""
    if history.retiring is None:
        return None
    if left:
        return f"since {history.retiring[:10]} by efface retire, which is not finished"
    return f"on {(history.retired or history.retiring)[:10]} by efface retire"
