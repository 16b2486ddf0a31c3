"""Cancelling a request."""

from sqlalchemy import delete

from efface.errors import RequestError
from efface.store.context import StoreContext
from efface.store.database import pending_ids
from efface.store.entries import DeletionRequest, Stage
from efface.store.gc import clear_ids, drop_orphans


def cancel(context: StoreContext, number: int) -> DeletionRequest:
    """Cancel a pending request and delete its ids; a request that is cancelled already stays as it is.

    Args:
        context: the open store.
        number: number of the request.

    Returns:
        The request, as it stands now.

    Raises:
        RequestError: there is no such request, or it was honoured.
        BusyError: a run is in progress.
    """
    with context.folder.locked(0.0):
        request = _cancel(context, number)
        clear_ids(context)
        drop_orphans(context)  # such as the model of an interrupted run that included the request
    return request


def _cancel(context: StoreContext, number: int) -> DeletionRequest:
    with context.writing() as transaction:
        history = transaction.history
        request = history.request(number)
        number = request.number  # of Python's kind, which JSON and the database take
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
