"""What a store does around a run: clear away what was interrupted, empty the log, remove superseded models."""

import time
from datetime import datetime, timedelta

from efface.store import clock
from efface.store.context import StoreContext
from efface.store.database import translate_errors
from efface.store.entries import Version
from efface.store.failpoints import failpoint
from efface.store.files import KINDS, SUFFIX, clear
from efface.store.history import History

TRIES, PAUSE_S = 20, 0.1  # to empty the log beside readers


def recover(context: StoreContext) -> None:
    """Clear away what an interrupted run left half-done, then `finish`; the caller holds the run lock."""
    context.folder.tidy()
    failpoint("recover.temporary")
    drop_orphans(context)
    failpoint("recover.orphans")
    finish(context)


def finish(context: StoreContext) -> None:
    """Do what follows a change of the version in service; each part may be done twice."""
    context.folder.serve(context.history().serving.file)
    failpoint("run.linked")
    clear_ids(context)
    failpoint("run.cleared")
    sweep(context, context.history())


def clear_ids(context: StoreContext) -> bool:
    """Empty the write-ahead log, where deleted ids may still stand; False while another process reads from it."""
    if not context.history().uncleared:
        return True
    for _ in range(TRIES):
        if context.database.truncate():
            break
        time.sleep(PAUSE_S)
    else:
        return False
    failpoint("run.truncated")
    with context.writing() as transaction:
        if transaction.history.uncleared:
            transaction.append("cleared", {})
            failpoint("cleared.before-commit")
    return True


def drop_orphans(context: StoreContext) -> None:
    """Remove files that nothing in the history needs: of rejected runs, and of runs that were interrupted."""
    history = context.history()
    needed = history.needed_files()
    for kind in KINDS:
        for path in context.folder.listed(kind):
            if path.suffix == SUFFIX and (kind, path.stem) not in needed:
                with translate_errors(path):
                    path.unlink()
    for path in context.folder.stray_reports(history.reported_runs):
        clear(path)


def sweep(context: StoreContext, history: History) -> None:
    """Remove superseded checkpoints that still know honoured records, once the store's days of grace are over."""
    now = clock.now()
    due = [(v.number, removal_date(history, v)) for v in superseded(history)]
    remove_checkpoints(context, [number for number, day in due if day is not None and day <= now])


def remove_checkpoints(context: StoreContext, versions: list[int]) -> None:
    """Remove the checkpoints of some versions, which the history notes first."""
    if not versions:
        return
    with context.writing() as transaction:
        transaction.append("removed", {"versions": versions})
        failpoint("removed.before-commit")
    failpoint("sweep.removing")
    drop_orphans(context)
    failpoint("sweep.removed")


def superseded(history: History) -> list[Version]:
    """Versions whose checkpoint is there, is not in service and knows records that were to be forgotten."""
    return [
        v
        for v in history.versions.values()
        if not v.removed and v.number != history.current and history.known_to(v.number)
    ]


def removal_date(history: History, version: Version) -> datetime | None:
    """When the checkpoint of a superseded version is to be removed; None for one that is in service or knows nobody."""
    known = [at for n in history.known_to(version.number) if (at := history.requests[n].honoured) is not None]
    if version.replaced is None or not known:
        return None
    # The days count from when both hold: it is out of service, and a record that it knows was to be forgotten. A
    # version that left service long before it came to know such a record is kept for as many days as any other.
    since = max(datetime.fromisoformat(version.replaced), datetime.fromisoformat(min(known)))
    return since + timedelta(days=history.settings["grace_days"])
