"""Named points at which a test can kill a run or make it fail, as a power cut or a full disk would.

A point does nothing unless the environment variable EFFACE_FAILPOINT names it: `NAME:ACTION`, or `NAME:ACTION:N` to act
when it is reached for the N-th time. Actions: `kill` (SIGKILL to this process), `full` (the error of a full disk) and
`pause` (sleep for a second, so that a test can act meanwhile).
"""

import errno
import os
import signal
import time
from collections.abc import Callable

VARIABLE = "EFFACE_FAILPOINT"
POINTS = (
    # opening
    "run.locked",
    "run.recovered",
    "recover.temporary",
    "recover.orphans",
    # a batch begins
    "run.task-read",
    "began.before-commit",
    "run.began",
    "run.checkpoint-read",
    # unlearning; `forward` is reached at each pass of a batch through a model
    "unlearn.forward",
    "run.unlearned",
    # its weights are kept
    "checkpoint.temporary",
    "checkpoint.written",
    "checkpoint.synced",
    "checkpoint.renamed",
    "checkpoint.folder-synced",
    "made.before-commit",
    "run.made",
    # the audit and its report
    "run.audited",
    "report.folder",
    "report.written",
    "report.synced",
    "report.renamed",
    "audited.before-commit",
    "run.judged",
    # the version is put into service
    "run.drift-read",
    "baseline.temporary",
    "baseline.written",
    "baseline.synced",
    "baseline.renamed",
    "baseline.folder-synced",
    "version.appended",
    "version.honoured",
    "version.ids-deleted",
    "version.before-commit",
    "run.committed",
    "run.truncated",
    "cleared.before-commit",
    "run.cleared",
    "link.synced",
    "link.renamed",
    "run.linked",
    # what is superseded goes
    "removed.before-commit",
    "sweep.removing",
    "sweep.removed",
    "head.synced",
    "head.renamed",
    "run.finished",
    # a backup is made
    "backup.folder",
    "backup.database",
    "backup.file",
    "backup.verified",
    "backup.marked",
    "backup.synced",
    "backup.renamed",
    # a store is made of it
    "restore.folder",
    "restore.database",
    "restore.file",
    "restore.verified",
    "restored.before-commit",
    "restore.noted",
    "restore.unmarked",
    "restore.synced",
    "restore.renamed",
)

_times_reached: dict[str, int] = {}


def armed() -> bool:
    """Whether any point may act in this process."""
    return VARIABLE in os.environ


def reset() -> None:
    """Forget how often each point was reached."""
    _times_reached.clear()


def failpoint(name: str) -> None:
    """Mark the point `name`, one of POINTS, and do what EFFACE_FAILPOINT asks for there."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    point, _, rest = wanted.partition(":")
    if point != name:
        return
    action, _, nth = rest.partition(":")
    _times_reached[name] = _times_reached.get(name, 0) + 1
    if _times_reached[name] != int(nth or 1):
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
    elif action == "pause":
        time.sleep(1.0)


def failpoints_of(what: str) -> Callable[[str], None]:
    """Return a function that marks the point `what.stage` for a stage of a write, such as `head.synced`."""
    return lambda stage: failpoint(f"{what}.{stage}")
