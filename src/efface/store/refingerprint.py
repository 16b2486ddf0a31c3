"""Taking the content of the training records as it is now, where it changed and the model need not know of it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select

from efface.errors import RequestError
from efface.store.batch import training_records
from efface.store.context import StoreContext
from efface.store.database import fingerprints
from efface.store.failpoints import failpoint
from efface.store.fingerprint_rows import Fingerprint, PackedFingerprints, replace_all
from efface.store.fingerprints import fingerprints_at
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
            query = select(fingerprints)
            noted = {r.tag: (r.content, bool(r.alike)) for r in snapshot.connection.execute(query)}
        there = {row.short: row.content for row in now}
        found = Refingerprinting(
            records=len(noted),
            changed=sum(tag in noted and noted[tag][0] != content for tag, content in there.items()),
            missing=len(noted.keys() - there.keys()),
            joined=len(there.keys() - noted.keys()),
            forgotten=context.history().fingerprints.forgotten,
            done=not dry_run,
        )
        if dry_run:
            return found

        def rows() -> Iterator[Fingerprint]:
            for tag, (content, similar) in noted.items():
                yield Fingerprint(tag, there.get(tag, content), similar)

        with context.writing() as transaction:
            _check_nothing_pending(context)
            sums = replace_all(transaction, rows(), transaction.history.fingerprints)
            transaction.append("fingerprinted", {"sums": sums.noted(), "changed": found.changed})
            failpoint("fingerprinted.before-commit")
    return found


def _check_nothing_pending(context: StoreContext) -> None:
    if pending := [r.number for r in context.history().pending]:
        raise RequestError(
            f"{numbered('request', pending)} {'is' if len(pending) == 1 else 'are'} pending: whether their records "
            "are those that were asked for could not be seen any more. Honour or cancel them first, and ask again "
            "afterwards"
        )
