"""Cleaning up around a run: removing interrupted work, truncating the log, removing superseded checkpoints."""

import time
from datetime import UTC, datetime, timedelta
from logging import WARNING

from efface.store import clock
from efface.store.clock_state import clock_doubts
from efface.store.context import StoreContext
from efface.store.database import translate_errors
from efface.store.entries import Version
from efface.store.failpoints import failpoint
from efface.store.files import KINDS, SUFFIX, clear
from efface.store.history import History
from efface.store.logs import log

TRIES, PAUSE_S = 20, 0.1  # attempts to truncate the log while others read from it


def recover(context: StoreContext) -> None:
    """Remove what an interrupted run left behind, then `finish`; the caller holds the run lock."""
    context.folder.tidy()
    failpoint("recover.temporary")
    drop_orphans(context)
    failpoint("recover.orphans")
    finish(context)


def finish(context: StoreContext) -> None:
    """Update the link, truncate the log and remove what is superseded after the version in service changed.

    Doing it twice is harmless.
    """
    context.folder.serve(context.history().serving.file)
    failpoint("run.linked")
    clear_ids(context)
    failpoint("run.cleared")
    sweep(context, context.history())
    drop_orphans(context)  # such as first outputs, of which there are fewer now


def clear_ids(context: StoreContext, ending: bool = False) -> bool:
    """Truncate the write-ahead log, which may still hold deleted ids, and note that; False if others read from it.

    Args:
        context: the open store.
        ending: whether this is part of a retirement.
    """
    before = context.history()
    if not before.uncleared:
        return True
    if not truncate_log(context):
        return False
    failpoint("run.truncated")
    with context.writing(ending) as transaction:
        if transaction.history.uncleared:
            transaction.append("cleared", {"until": before.seq})
            failpoint("cleared.before-commit")
    return True


def truncate_log(context: StoreContext) -> bool:
    """Truncate the write-ahead log, at the TRIES-th attempt at the latest; False if others go on reading from it."""
    for number in range(TRIES):
        if number:
            time.sleep(PAUSE_S)
        if context.database.truncate():
            return True
    log(context.folder.path, "others read from the write-ahead log, which may still hold deleted ids", level=WARNING)
    return False


def drop_orphans(context: StoreContext) -> None:
    """Remove files that the history does not name, such as those of rejected and interrupted runs."""
    history = context.history()
    needed = history.needed_files()
    for kind in KINDS:
        orphans = [p for p in context.folder.listed(kind) if p.suffix == SUFFIX and (kind, p.stem) not in needed]
        for path in orphans:
            with translate_errors(path):
                path.unlink()
        if orphans:
            log(context.folder.path, "removed %d files from %s", len(orphans), kind)
    reports = context.folder.stray_reports(history.reported_runs)
    for path in reports:
        clear(path)
    if reports:
        log(context.folder.path, "removed %d reports", len(reports))


def sweep(context: StoreContext, history: History) -> None:
    """Remove superseded checkpoints that are due for removal."""
    remove_checkpoints(context, [v.number for v in removable(history)])


def removable(history: History) -> list[Version]:
    """Superseded versions whose `removal_date` has passed; none as long as the clock is in doubt.

    Without days of grace their checkpoints are removed whatever the clock says.
    """
    if clock_doubts(history) and history.settings["grace_days"]:
        return []
    now = clock.now()
    dated = [(v, removal_date(history, v)) for v in superseded(history)]
    return [version for version, day in dated if day is not None and day <= now]


def remove_checkpoints(context: StoreContext, versions: list[int], ending: bool = False) -> None:
    """Note in the history that the checkpoints of some versions are removed, then remove them.

    Args:
        context: the open store.
        versions: their numbers.
        ending: whether this is part of a retirement.
    """
    if not versions:
        return
    with context.writing(ending) as transaction:
        transaction.append("removed", {"versions": versions})
        failpoint("removed.before-commit")
    failpoint("sweep.removing")
    drop_orphans(context)
    failpoint("sweep.removed")


def superseded(history: History) -> list[Version]:
    """Versions out of service whose checkpoint still exists and was trained on records that are forgotten by now."""
    return [
        v
        for v in history.versions.values()
        if not v.removed and v.number != history.current and history.known_to(v.number)
    ]


def removal_date(history: History, version: Version) -> datetime | None:
    """When the checkpoint of a superseded version is to be removed: a number of days after it was superseded.

    Returns:
        The time in UTC; None for a version that is in service or knows no forgotten record.
    """
    known = [at for n in history.known_to(version.number) if (at := history.requests[n].honoured) is not None]
    if version.replaced is None or not known:
        return None
    # The days count from the later of two times: when the version left service, and when the first request was honoured
    # whose records it knows. So a version that left service long ago is kept for as many days as any other.
    since = max(datetime.fromisoformat(version.replaced), datetime.fromisoformat(min(known)))
    try:
        return since + timedelta(days=history.settings["grace_days"])
    except OverflowError:  # by a clock that is wrong by thousands of years
        return datetime.max.replace(tzinfo=UTC)
