"""Adding a request: each record id is turned into a tag, and the id itself is stored only until it is forgotten."""

import json
from collections.abc import Container
from dataclasses import dataclass

from sqlalchemy import func, select

from efface.store import clock
from efface.store.accept import check_known
from efface.store.amend import amend, insert_notes
from efface.store.context import StoreContext, Transaction
from efface.store.database import fingerprints, pending_ids, tags
from efface.store.entries import DeletionRequest, Stage
from efface.store.history import History
from efface.store.keys import MAC_BYTES
from efface.store.known import KnownRecords, known_records
from efface.store.settle import settle
from efface.store.tag_rows import digest_of, note_mac
from efface.store.wanted import Asked, RecordSource, Wanted, read_wanted


@dataclass(frozen=True)
class Answer:
    """The result of a call of `Store.add`.

    Args:
        request: the request, as it stands now.
        made: whether this call made a new request; False where a request for exactly these records existed already.
        forgotten: how many of its records were forgotten before.
        waiting: how many of its other records are named by other pending requests too.
        amended: whether the call changed the date or the note of an existing request.
        late: whether the request is pending and its date has passed.
        share: share of the training records that all pending requests name together, from 0 to 1; of the records that
            the model in service was trained on and has not forgotten.
        remarks: what became of a date or a note that was given for an existing request, and what is to be known of
            records that the store does not know; one sentence each.
        known: how many of its records the store knows: it keeps a fingerprint of their content, since the model in
            service was trained on them, or they were forgotten before.
        unknown: how many of its records the store does not know: they joined the training set later, or the caller
            said that their rows were deleted. Only a retraining honours them.
        alike: how many of its ids look like that of another record, and are not the same.
    """

    request: DeletionRequest
    made: bool
    forgotten: int
    waiting: int
    amended: bool = False
    late: bool = False
    share: float = 0.0
    remarks: tuple[str, ...] = ()
    known: int = 0
    unknown: int = 0
    alike: int = 0


def add(context: StoreContext, records: RecordSource | None, wanted: Wanted) -> Answer:
    """Add a request, or find the existing request for exactly the same records.

    Args:
        context: the open store.
        records: the training records; None without a task. They are read only for groups, and where the store does not
            know a record.
        wanted: the arguments of the call.

    Raises:
        RequestError: the request names a record that is none as far as the store and the task know, or an argument is
            invalid.
    """
    asked = read_wanted(context.key, records, wanted)
    ordered = asked.ordered
    digest = digest_of(context.key, ordered)
    seq, found = _look_ahead(context, records, asked)
    with context.writing() as transaction:
        history = transaction.history
        if history.seq != seq:  # others wrote to the store meanwhile
            found = known_records(transaction, ordered)
        same = _existing(history, asked, digest)
        remarks = [] if asked.is_gone and same is not None else check_known(transaction, records, asked, found)
        others = {r.number for r in history.pending if same is None or r.number != same.number}
        waiting = sum(not others.isdisjoint(n) for tag, n in found.requests.items() if tag not in found.forgotten)
        amended = False
        if same is not None:
            number = same.number
            amended, said = amend(transaction, same, asked.note, asked.day)
            remarks += said
        else:
            number = _insert(transaction, asked, digest, found)
        request, unknown = history.requests[number], _unknown(asked, found)
        return Answer(
            request=request,
            made=same is None,
            forgotten=len(found.forgotten),
            waiting=waiting,
            amended=amended,
            late=request.stage is Stage.PENDING and clock.is_over(request.due, history.latest),
            share=_share_pending(transaction),
            remarks=tuple(remarks),
            known=request.known if asked.is_gone else len(ordered) - unknown,
            unknown=request.unknown if asked.is_gone else unknown,
            alike=len(found.alike),
        )


def _look_ahead(context: StoreContext, records: RecordSource | None, asked: Asked) -> tuple[int, KnownRecords]:
    """Look the records up before the database is locked, and read the training records where one is not known.

    Returns:
        What is known of the records, and the number of the last event by then.
    """
    with context.reading() as snapshot:
        seq, found = snapshot.history.seq, known_records(snapshot, asked.ordered)
    if records is not None and not asked.deleted and len(found.trained | found.forgotten) < len(asked.names):
        records.index()
    return seq, found


def _existing(history: History, asked: Asked, digest: str) -> DeletionRequest | None:
    """The request for exactly the same records, or the last one for groups whose records are gone; None without one."""
    live = [r for r in history.requests.values() if r.stage is not Stage.CANCELLED and r.groups == asked.groups]
    if asked.is_gone:
        return live[-1] if live else None
    return next((r for r in live if r.digest == digest), None)


def _insert(transaction: Transaction, asked: Asked, digest: str, found: KnownRecords) -> int:
    """Write a new request, and return its number."""
    number, unknown = len(transaction.history.requests) + 1, _unknown(asked, found)
    body = {
        "number": number,
        "records": len(asked.names),
        "digest": digest,
        "due": asked.day,
        "note": note_mac(transaction.key, number, asked.note),
        "known": len(asked.names) - unknown,
        "unknown": unknown,
        "groups": list(asked.groups),
    }
    transaction.append("requested", body)
    _insert_rows(transaction, number, asked, found.forgotten)
    insert_notes(transaction, number, asked.note)
    settle(transaction, number, found.requests)
    return number


def _insert_rows(transaction: Transaction, number: int, asked: Asked, forgotten: Container[bytes]) -> None:
    """Insert a row for each tag, and one for each id that is still to be forgotten."""
    check = transaction.key.row_check
    places = list(enumerate(asked.ordered))
    transaction.connection.execute(
        tags.insert(),
        [{"request": number, "place": at, "tag": tag, "check": check(number, at, tag)} for at, tag in places],
    )
    rows = [
        {"request": number, "place": at, "tag": tag, "name": json.dumps(asked.names[tag])}
        for at, tag in places
        if tag not in forgotten
    ]
    if rows:
        transaction.connection.execute(pending_ids.insert(), rows)


def _unknown(asked: Asked, found: KnownRecords) -> int:
    return sum(not found.knows(tag) for tag in asked.names)


def _share_pending(transaction: Transaction) -> float:
    """The share of the records that the model in service was trained on and has not forgotten which are to be."""
    half = func.substr(pending_ids.c.tag, 1, MAC_BYTES)
    query = select(func.count(half.distinct())).join(fingerprints, fingerprints.c.tag == half)
    count = transaction.connection.execute(query).scalar() or 0
    return count / max(transaction.history.fingerprints.records, 1)
