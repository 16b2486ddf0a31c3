"""Honouring requests without a run, if other requests had all of their records forgotten before."""

from collections.abc import Mapping, Sequence

from sqlalchemy import delete

from efface.store.context import Transaction
from efface.store.database import batches, pending_ids
from efface.store.entries import Stage
from efface.store.tag_rows import requests_of, tags_of

OF_GROUPS = ("grown", "ungrouped")  # why a request waits although all records that it names are forgotten


def delete_ids(transaction: Transaction, numbers: Sequence[int]) -> None:
    """Delete the stored ids of some requests."""
    for some in batches(numbers):
        transaction.connection.execute(delete(pending_ids).where(pending_ids.c.request.in_(some)))


def settle_pending(transaction: Transaction) -> None:
    """Apply `settle` to every pending request, after a version honoured others."""
    pending = [r.number for r in transaction.history.pending]
    known = requests_of(transaction, sorted(tags_of(transaction, pending)))
    by_request: dict[int, dict[bytes, set[int]]] = {number: {} for number in pending}
    for tag, numbers in known.items():
        for number in numbers & by_request.keys():
            by_request[number][tag] = numbers
    for number, some in by_request.items():
        settle(transaction, number, some)


def settle(transaction: Transaction, number: int, known: Mapping[bytes, set[int]]) -> None:
    """Delete the ids of a request's records that are forgotten already; honour it if all of them are.

    Args:
        transaction: an open transaction.
        number: number of a pending request.
        known: numbers of the requests that name each of its records, by the record's tag.
    """
    requests = transaction.history.requests
    first: dict[bytes, int] = {}
    for tag, numbers in known.items():
        # only requests that a version lists; one that was honoured through others adds nothing to them
        listed = [n for n in numbers if requests[n].stage is Stage.HONOURED and not requests[n].through]
        if listed:
            first[tag] = min(listed, key=lambda n: (requests[n].version or 1, n))
    forgotten = list(first)
    for some in batches(forgotten):
        transaction.connection.execute(
            delete(pending_ids).where(pending_ids.c.request == number, pending_ids.c.tag.in_(some))
        )
    deferred = requests[number].deferred
    if len(forgotten) < requests[number].records or (deferred is not None and deferred.why in OF_GROUPS):
        return
    through = sorted(set(first.values()))
    version = max(requests[n].version or 1 for n in through)
    transaction.append("covered", {"number": number, "version": version, "through": through})
