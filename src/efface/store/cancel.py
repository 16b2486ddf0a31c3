"""A request is withdrawn."""

from sqlalchemy import delete

from efface.errors import RequestError
from efface.store.context import StoreContext
from efface.store.database import pending_ids
from efface.store.entries import DeletionRequest, Stage
from efface.store.gc import clear_ids, drop_orphans


def cancel(context: StoreContext, number: int) -> DeletionRequest:
    """Withdraw a request that is still pending, and delete its ids; one that is cancelled already stays as it is.

    Raises:
        RequestError: there is no such request, or it was honoured.
        BusyError: a run is at work.
    """
    with context.folder.locked(0.0):
        request = _cancel(context, number)
        clear_ids(context)
        drop_orphans(context)  # the model of a run that it was part of
    return request


def _cancel(context: StoreContext, number: int) -> DeletionRequest:
    with context.writing() as transaction:
        history = transaction.history
        request = history.request(number)
        if request.stage is Stage.HONOURED:
            raise RequestError(f"request {number} was honoured by version {request.version}: that cannot be undone")
        run = history.open_run
        if run is not None and number in run.requests:
            why = f"request {number} was cancelled"
            transaction.append("ended", {"number": run.number, "stage": str(Stage.ABANDONED), "why": why})
        if request.stage is Stage.PENDING:
            transaction.append("cancelled", {"number": number})
            transaction.connection.execute(delete(pending_ids).where(pending_ids.c.request == number))
        return history.requests[number]
