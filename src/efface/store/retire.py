"""Retiring a store: ids, log and superseded models are removed first, then the key."""

from sqlalchemy import delete

from efface.store.context import StoreContext
from efface.store.database import pending_ids, translate_errors
from efface.store.entries import Stage
from efface.store.errors import BusyError
from efface.store.gc import clear_ids, drop_orphans, remove_checkpoints, superseded
from efface.store.keys import destroy_key


def retire(context: StoreContext) -> list[int]:
    """Retire a store and destroy its key, after which nobody can find out which records the history is about.

    Pending requests are cancelled and their ids deleted. Superseded models that know forgotten records are removed at
    once. The version in service stays.

    Returns:
        Numbers of the requests that were cancelled.

    Raises:
        BusyError: another process reads from the database, or a run is in progress; the key then still exists.
    """
    with context.folder.locked(0.0):
        with context.writing() as transaction:
            pending = [r.number for r in transaction.history.pending]
            if run := transaction.history.open_run:
                ended = {"number": run.number, "stage": str(Stage.ABANDONED), "why": "the store was retired"}
                transaction.append("ended", ended)
            for number in pending:
                transaction.append("cancelled", {"number": number})
            transaction.connection.execute(delete(pending_ids))
        context.folder.serve(context.history().serving.file)
        if not clear_ids(context):
            raise BusyError(
                f"{context.database.path}: another process reads from it, so its log cannot be cleared: try again"
            )
        remove_checkpoints(context, [v.number for v in superseded(context.history())])
        drop_orphans(context)
        with context.writing() as transaction:
            transaction.append("retired", {})
        with translate_errors(context.key_path):
            destroy_key(context.key_path)
    return pending
