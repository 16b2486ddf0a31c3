"""Named places at which a test can make a run die or fail, as a power cut or a full disk would.

A point does nothing unless the environment variable EFFACE_FAILPOINT names it: `NAME:ACTION` or `NAME:ACTION:N` for
the N-th time it is reached. Actions: `kill` (SIGKILL to this process), `full` (the error of a full disk), `pause`
(wait for a second, so that something else can happen meanwhile).
"""

import errno
import os
import signal
import time

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
    "unlearned.before-commit",
    "run.staged",
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
    "baseline.renamed",
    "version.appended",
    "version.honoured",
    "version.plain-deleted",
    "version.before-commit",
    "run.committed",
    "run.truncated",
    "emptied.before-commit",
    "run.emptied",
    "link.temporary",
    "link.replaced",
    "run.linked",
    # what is superseded goes
    "removed.before-commit",
    "sweep.removing",
    "sweep.removed",
    "head.temporary",
    "head.replaced",
    "run.finished",
)

_reached: dict[str, int] = {}


def armed() -> bool:
    """Whether any point may act in this process."""
    return VARIABLE in os.environ


def reach(name: str) -> None:
    """Pass the point `name`, and do there what the environment asks for."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    point, _, rest = wanted.partition(":")
    if point != name:
        return
    action, _, nth = rest.partition(":")
    _reached[name] = _reached.get(name, 0) + 1
    if _reached[name] != int(nth or 1):
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
    elif action == "pause":
        time.sleep(1.0)
