"""Which records and groups a request may name: those the store knows, those in the training set, and deleted rows."""

from collections.abc import Collection, Sequence

from efface.data.ids import RecordIds
from efface.data.similar import unknown_ids
from efface.errors import RequestError, shorten
from efface.store.context import Snapshot
from efface.store.entries import Stage
from efface.store.known import KnownRecords, mistaken
from efface.store.wanted import Asked, RecordSource
from efface.types import RecordId

SAY_SO = "if their rows were deleted, say so: deleted=True, or --deleted"


def check_known(snapshot: Snapshot, records: RecordSource | None, asked: Asked, found: KnownRecords) -> list[str]:
    """Check that a request names nothing but records that the store knows or may take.

    Args:
        snapshot: a view of the store.
        records: the training records, which are read only where the store does not know a record; None without a task.
        asked: the request.
        found: what the store knows of its records.

    Returns:
        What is to be said of records that it does not know, one sentence each.

    Raises:
        RequestError: the request names other records, or groups without any.
    """
    if asked.lacking and records is not None:
        raise RequestError(_no_records(snapshot, asked, records))
    unknown = {tag: name for tag, name in asked.names.items() if not found.knows(tag)}
    if not unknown:
        return []
    fresh = [name for tag, name in unknown.items() if tag not in found.waiting]
    if asked.keys or (not asked.deleted and fresh):
        _check_there(snapshot, records, fresh)
        return [
            f"{_of_them(len(unknown))} joined the training set later: the model in service was not trained on "
            f"{_them(len(unknown))}, and a retraining (--retrain) leaves {_them(len(unknown))} out."
        ]
    if fresh and snapshot.history.settings["by_position"]:
        raise RequestError(_by_position(snapshot, fresh))
    lines = [f"{_of_them(len(unknown))} {_is(len(unknown))} not known to the store: honoured by the next retraining."]
    if near := mistaken(snapshot, fresh):
        shown = shorten(near.items(), show=lambda pair: f"{pair[0]!r} for {pair[1]!r}")
        lines.append(f"Ids are exact, and some could be mistyped ones of records that the store knows: {shown}.")
    return lines


def _check_there(snapshot: Snapshot, records: RecordSource | None, fresh: Sequence[RecordId]) -> None:
    """Check that all of some ids are training records of the task; RequestError if not."""
    if not fresh:
        return
    if records is None:
        near = mistaken(snapshot, fresh)
        shown = "".join(f"; {other!r} is known" for other in list(near.values())[:3])
        raise RequestError(
            f"{len(fresh)} {_ids(len(fresh))} not known to the store: {unknown_ids(fresh, ())}{shown}. Give the task, "
            f"so that they are looked for in the training set of today; {SAY_SO}"
        )
    index = records.index()
    if not (missing := [name for name in fresh if index.position(name) is None]):
        return
    say_so = "" if snapshot.history.settings["by_position"] else f" ({SAY_SO})"
    was = "was" if len(missing) == 1 else "were"
    raise RequestError(
        f"{len(missing)} {_ids(len(missing))} not among the training records, and {was} never forgotten{say_so}: "
        f"{unknown_ids(missing, index.names)}{_as_groups(missing, records.groups() or ())}"
    )


def _as_groups(missing: Sequence[RecordId], groups: RecordIds) -> str:
    """What to do where ids that are no record's are keys of groups; else empty."""
    keys = set(missing) & set(groups)
    known = [name for name in missing if name in keys]
    if not known:
        return ""
    what = "is a key" if len(known) == 1 else "are keys"
    return f"; {shorten(known)} {what} of Task.groups: give efface.ByGroup([...]), or --groups"


def _no_records(snapshot: Snapshot, asked: Asked, records: RecordSource) -> str:
    """Why groups without training records are refused, and by which requests they were asked for before."""
    lacking = [asked.keys[tag] for tag in asked.lacking]
    before = [
        request.number
        for request in snapshot.history.requests.values()
        if request.stage is not Stage.CANCELLED and not set(asked.lacking).isdisjoint(request.groups)
    ]
    index = records.index()
    ids = [name for name in lacking if index.position(name) is not None]
    what = "is the id of a record" if len(ids) == 1 else "are ids of records"
    hint = f"; {shorten(ids)} {what}: give ids, or --ids" if ids else ""
    noted = f"; asked for before: request {shorten(before, show=str)}" if before else ""
    return (
        f"{len(lacking)} {'group has' if len(lacking) == 1 else 'groups have'} no training records (Task.groups): "
        f"{unknown_ids(lacking, records.groups() or ())}{hint}{noted}; rows of a person that were "
        "deleted are asked for by their ids"
    )


def _by_position(snapshot: Snapshot, fresh: Collection[RecordId]) -> str:
    return (
        f"{len(fresh)} {_ids(len(fresh))} no record of this store: {shorten(fresh)}. It names records by position, "
        f"from 0 to {snapshot.history.settings['records'] - 1}, so no row of it can be deleted"
    )


def _of_them(count: int) -> str:
    return f"{count:,} of its records"


def _them(count: int) -> str:
    return "it" if count == 1 else "them"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _ids(count: int) -> str:
    return "id is" if count == 1 else "ids are"
