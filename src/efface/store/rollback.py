"""Putting an earlier version back into service."""

from efface.errors import RequestError
from efface.store.context import StoreContext
from efface.store.entries import Version
from efface.store.gc import finish
from efface.store.wording import numbered


def rollback(context: StoreContext, number: int) -> Version:
    """Put an earlier version into service.

    Args:
        context: the open store.
        number: number of the version.

    Raises:
        RequestError: there is no such version, it is in service already, or a request would no longer be honoured.
        BusyError: a run is in progress.
        DamagedError: its checkpoint is missing or was changed.
    """
    with context.folder.locked(0.0):
        history = context.history()
        version, undone = history.version(number), history.known_to(number)
        if undone:
            raise RequestError(
                f"version {number} knows the records of {numbered('request', undone)}, which "
                f"{'were' if len(undone) > 1 else 'was'} honoured: going back would undo that"
            )
        if version.number == history.current:
            raise RequestError(f"version {number} is in service already")
        context.folder.checked("checkpoints", version.file, version.title)
        with context.writing() as transaction:
            transaction.append("rolled_back", {"version": version.number})
        finish(context)
        return context.history().versions[number]
