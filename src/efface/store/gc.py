"""What a store does for itself around a run: end what was interrupted, empty the log, let superseded models go."""

import time
from datetime import datetime, timedelta

from efface.store import clock
from efface.store.context import StoreContext
from efface.store.database import named
from efface.store.failpoints import reach
from efface.store.files import KEPT, SUFFIX
from efface.store.history import History, Version

TRIES, PAUSE_S = 20, 0.1


def recover(core: StoreContext) -> None:
    """Clear away what an interrupted run left, and end what it had begun to end; the caller holds the run lock."""
    core.folder.tidy()
    reach("recover.temporary")
    drop_orphans(core)
    reach("recover.orphans")
    finish(core)


def finish(core: StoreContext) -> None:
    """Whatever follows a change of the version in service; each part may be done twice."""
    core.folder.serve(core.history().serving.file)
    reach("run.linked")
    clear_ids(core)
    reach("run.emptied")
    sweep(core, core.history())


def clear_ids(core: StoreContext) -> bool:
    """Empty the write-ahead log, where deleted ids may still stand; False while another process reads from it."""
    if not core.history().uncleared:
        return True
    for _ in range(TRIES):
        if core.database.truncate():
            break
        time.sleep(PAUSE_S)
    else:
        return False
    reach("run.truncated")
    with core.writing() as book:
        if book.history.uncleared:
            book.append("emptied", {})
            reach("emptied.before-commit")
    return True


def drop_orphans(core: StoreContext) -> None:
    """Remove files that nothing in the history needs: of rejected runs, and of runs that were interrupted."""
    history = core.history()
    needed = history.files()
    for kind in KEPT:
        for path in core.folder.held(kind):
            if path.suffix == SUFFIX and path.stem not in needed:
                with named(path):
                    path.unlink()
    for path in core.folder.stray_reports(history.reported):
        core.folder.clear(path)


def sweep(core: StoreContext, history: History) -> None:
    """Remove superseded checkpoints that still know honoured records, once the store's days of grace are over."""
    now = clock.now()
    remove(core, [v.number for v in superseded(history) if (day := goes(history, v)) is not None and day <= now])


def remove(core: StoreContext, versions: list[int]) -> None:
    """Remove the checkpoints of some versions, which the history notes first."""
    if not versions:
        return
    with core.writing() as book:
        book.append("removed", {"versions": versions})
        reach("removed.before-commit")
    reach("sweep.removing")
    drop_orphans(core)
    reach("sweep.removed")


def superseded(history: History) -> list[Version]:
    """Versions whose checkpoint is there, is not in service and knows records that were to be forgotten."""
    return [
        v
        for v in history.versions.values()
        if not v.removed and v.number != history.current and history.knows(v.number)
    ]


def goes(history: History, version: Version) -> datetime | None:
    """When the checkpoint of a superseded version is to be removed."""
    known = [at for number in history.knows(version.number) if (at := history.requests[number].honoured) is not None]
    if version.replaced is None or not known:
        return None
    # both out of service and in the wrong: a version that nobody minded so far has its days of grace too
    since = max(datetime.fromisoformat(version.replaced), datetime.fromisoformat(min(known)))
    return since + timedelta(days=history.settings["grace_days"])
