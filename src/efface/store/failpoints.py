"""Named points at which a test can kill a run or make it fail, as a power cut or a full disk would.

A point does nothing unless a test has called `arm` in this very process: nothing in a process's environment, and no
option, setting or file can do that.
"""

import errno
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

ACTIONS = ("kill", "full", "pause")
RUN_POINTS = (
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
    # its answers to holdout records, the audit and its report
    "run.drift-read",
    "run.audited",
    "report.folder",
    "report.written",
    "report.synced",
    "report.renamed",
    "audited.before-commit",
    "run.judged",
    # the version is put into service
    "baseline.temporary",
    "baseline.written",
    "baseline.synced",
    "baseline.renamed",
    "baseline.folder-synced",
    "version.fingerprints",
    "version.appended",
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
)
# while contents are taken as they are now
FINGERPRINT_POINTS = ("fingerprinted.before-commit",)
# while the store is retired
RETIRE_POINTS = (
    "retire.before-commit",
    "retire.begun",
    "retire.linked",
    "retire.cleared",
    "retire.models-removed",
    "retired.before-commit",
    "retire.noted",
    "key.overwritten",
    "key.removed",
)
# while a backup is made, and a store of it
COPY_POINTS = (
    "backup.folder",
    "backup.database",
    "backup.file",
    "backup.verified",
    "backup.marked",
    "backup.synced",
    "backup.renamed",
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

# while a bundle is written
BUNDLE_POINTS = ("bundle.folder", "bundle.written", "bundle.synced", "bundle.moved", "bundle.renamed")
POINTS = (*RUN_POINTS, *FINGERPRINT_POINTS, *RETIRE_POINTS, *COPY_POINTS, *BUNDLE_POINTS)


@dataclass
class Armed:
    """What a test has asked for.

    Args:
        name: the point, one of POINTS.
        action: what happens there, one of ACTIONS.
        nth: it happens when the point is reached for this time, counting from 1.
        reached: how often the point was reached since.
    """

    name: str
    action: str
    nth: int
    reached: int = 0


_armed: Armed | None = None


def arm(wanted: str) -> None:
    """Let a point act in this process and in those that it forks; only tests call this.

    Args:
        wanted: `NAME:ACTION`, or `NAME:ACTION:N` to act when the point is reached for the N-th time from now on.
            Actions: `kill` (SIGKILL to this process), `full` (the error of a full disk) and `pause` (sleep for a
            second, so that a test can act meanwhile).

    Raises:
        ValueError: there is no such point or action.
    """
    global _armed
    name, _, rest = wanted.partition(":")
    action, _, nth = rest.partition(":")
    if name not in POINTS or action not in ACTIONS:
        raise ValueError(f"there is no fail point {wanted!r}")
    _armed = Armed(name, action, int(nth or 1))


def disarm() -> None:
    """Let no point act any more."""
    global _armed
    _armed = None


def armed() -> bool:
    """Whether any point may act in this process."""
    return _armed is not None


def failpoint(name: str) -> None:
    """Mark the point `name`, one of POINTS, and do what a test has asked for there."""
    if _armed is None or _armed.name != name:
        return
    _armed.reached += 1
    if _armed.reached != _armed.nth:
        return
    if _armed.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif _armed.action == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
    else:
        time.sleep(1.0)


def failpoints_of(what: str) -> Callable[[str], None]:
    """Return a function that marks the point `what.stage` for a stage of a write, such as `head.synced`."""
    return lambda stage: failpoint(f"{what}.{stage}")
