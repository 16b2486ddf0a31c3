"""Retiring a store: ids, log and superseded models are removed first, then the key.

The event `retiring` comes first, after which nothing is added to the store any more. Every step after it may be done
twice, so a retirement that was interrupted is finished by the next call.
"""

from sqlalchemy import delete

from efface.store.context import StoreContext
from efface.store.database import pending_ids, translate_errors
from efface.store.entries import Stage
from efface.store.errors import BusyError, StoreError
from efface.store.failpoints import failpoint
from efface.store.fingerprint_rows import delete_all
from efface.store.gc import clear_ids, drop_orphans, remove_checkpoints, superseded, truncate_log
from efface.store.keys import destroy_key
from efface.store.unfinished import unfinished_line


def retire(context: StoreContext) -> list[int]:
    """Retire a store and destroy its key, after which nobody can find out which records the history is about.

    Pending requests are cancelled and their ids deleted. Superseded models that know forgotten records are removed at
    once. The version in service stays. A retirement that was interrupted is finished, and a finished one stays so.

    Returns:
        Numbers of the requests that were cancelled by it.

    Raises:
        RequestError: the key is missing, and the store was not being retired.
        BusyError: another process reads from the database, or a run is in progress; what is left is named.
        StorageError: a file cannot be changed or removed, such as the key; what is left is named.
    """
    with context.folder.locked(0.0):
        if context.history().retiring is None:
            _begin(context)
        try:
            with translate_errors(context.folder.path):
                _finish(context)
        except StoreError as error:
            left = unfinished_line(context, context.history())
            raise type(error)([*error.problems, *left]) from error
    return list(context.history().cancelled_by_retiring)


def _begin(context: StoreContext) -> None:
    """Cancel what is pending and delete all ids and fingerprints, in the transaction that notes the retirement."""
    with context.writing() as transaction:
        pending, run = [r.number for r in transaction.history.pending], transaction.history.open_run
        transaction.append("retiring", {})
        if run is not None:
            ended = {"number": run.number, "stage": str(Stage.ABANDONED), "why": "the store was retired"}
            transaction.append("ended", ended)
        for number in pending:
            transaction.append("cancelled", {"number": number})
        # all rows go here, so that the log, which is truncated next, holds none of them
        transaction.connection.execute(delete(pending_ids))
        delete_all(transaction)
        failpoint("retire.before-commit")


def _finish(context: StoreContext) -> None:
    """Do what is left to do; the key goes last, and without it the history is left as it is."""
    failpoint("retire.begun")
    context.folder.tidy()
    context.folder.serve(context.history().serving.file)
    failpoint("retire.linked")
    if not (clear_ids(context, ending=True) if context.has_key else truncate_log(context)):
        raise BusyError(f"{context.database.path}: another process reads from it, so its log cannot be cleared")
    failpoint("retire.cleared")
    known = superseded(context.history())
    if context.has_key:
        remove_checkpoints(context, [v.number for v in known], ending=True)
    for version in known:
        context.folder.path_of("checkpoints", version.file).unlink(missing_ok=True)
    drop_orphans(context)
    failpoint("retire.models-removed")
    if context.has_key and context.history().retired is None:
        with context.writing(ending=True) as transaction:
            transaction.append("retired", {})
            failpoint("retired.before-commit")
    failpoint("retire.noted")
    destroy_key(context.key_path, context.history().key)
    context.forget_key()
