"""Taking the content of the training records as it is now, where it changed and the model need not know of it."""

from dataclasses import dataclass

import numpy as np

from efface.errors import RequestError
from efface.store.batch import training_records
from efface.store.context import Snapshot, StoreContext
from efface.store.database import batches
from efface.store.failpoints import failpoint
from efface.store.fingerprint_rows import PackedFingerprints, change, fingerprints_of
from efface.store.fingerprints import fingerprints_at
from efface.store.gc import drop_orphans
from efface.store.wording import numbered
from efface.task import Task


@dataclass(frozen=True)
class Refingerprinting:
    """What `Store.refingerprint` found.

    Args:
        records: how many training records have a fingerprint.
        changed: how many of them have another content than was noted.
        missing: how many are no longer in the training set; their fingerprints stay, so that they can be asked for.
        joined: how many training records have no fingerprint, and get none, since the model was not trained on them.
        forgotten: how many contents of forgotten records are kept; none can be noticed any more where data are read in
            another way than then.
        done: whether the fingerprints were changed.
    """

    records: int
    changed: int
    missing: int
    joined: int
    forgotten: int
    done: bool


def refingerprint(context: StoreContext, task: Task, dry_run: bool, progress: bool | None) -> Refingerprinting:
    """Make the fingerprints of all training records anew, of their content as it is now.

    Args:
        context: the open store.
        task: the task as the user gave it.
        dry_run: only count what would change.
        progress: whether to show progress; by default on a terminal.

    Raises:
        RequestError: requests are pending, whose records could then be others than those asked for (a dry run is made
            all the same); or the model in service was trained on others than the fingerprints are of.
        BusyError: a run is in progress.
    """
    with context.folder.locked(0.0):
        if not dry_run:
            _check_nothing_pending(context)
        if why := context.history().foreign_contents:
            raise RequestError(why)
        view = training_records(context, task).view
        positions = np.asarray(view.positions, dtype=np.int64)
        now = PackedFingerprints(fingerprints_at(task, context.key, positions, progress=progress))
        with context.reading() as snapshot:
            known, changed = _compared(snapshot, now)
            noted = snapshot.history.fingerprints
        found = Refingerprinting(
            records=noted.records,
            changed=len(changed),
            missing=noted.records - known,
            joined=len(now) - known,
            forgotten=noted.forgotten,
            done=not dry_run,
        )
        if dry_run:
            return found
        with context.writing() as transaction:
            _check_nothing_pending(context)
            sums = change(transaction, changed)
            transaction.append("fingerprinted", {"sums": sums.noted(), "changed": found.changed})
            failpoint("fingerprinted.before-commit")
        drop_orphans(context)
    return found


def _compared(snapshot: Snapshot, now: PackedFingerprints) -> tuple[int, PackedFingerprints]:
    """How many of some records have a fingerprint, and those of these whose content is another one."""
    known, changed = 0, PackedFingerprints()
    for some in batches(now):
        noted = fingerprints_of(snapshot, [row.short for row in some])
        known += len(noted)
        changed.extend(row for row in some if row.short in noted and noted[row.short].content != row.content)
    return known, changed


def _check_nothing_pending(context: StoreContext) -> None:
    if pending := [r.number for r in context.history().pending]:
        raise RequestError(
            f"{numbered('request', pending)} {'is' if len(pending) == 1 else 'are'} pending: whether their records "
            "are those that were asked for could not be seen any more. Honour or cancel them first, and ask again "
            "afterwards"
        )
