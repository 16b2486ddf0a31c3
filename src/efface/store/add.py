"""Adding a request: each record id is turned into a tag, and the id itself is stored only until it is forgotten."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import func, select

from efface.data.checks import Findings, read_forget
from efface.data.ids import ByGroup, RecordIds
from efface.data.index import RecordIndex
from efface.data.similar import unknown_ids
from efface.errors import RequestError, collect_errors
from efface.store import clock
from efface.store.amend import MAX_NOTE, amend, insert_notes
from efface.store.context import StoreContext, Transaction
from efface.store.database import pending_ids, tags
from efface.store.dates import due_day
from efface.store.entries import DeletionRequest, Stage
from efface.store.settle import settle
from efface.store.tag_rows import digest_of, note_mac, requests_of
from efface.types import RecordId

MAX_NUMBER_BITS = 4096  # of an id; Python refuses to write very long numbers as text


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
        share: share of the training records that all pending requests name together, from 0 to 1.
        remarks: what became of a date or a note that was given for an existing request, one sentence each.
    """

    request: DeletionRequest
    made: bool
    forgotten: int
    waiting: int
    amended: bool = False
    late: bool = False
    share: float = 0.0
    remarks: tuple[str, ...] = ()


def add(
    context: StoreContext, index: RecordIndex, ids: Collection[RecordId], note: str | None, due: str | date | None
) -> Answer:
    """Add a request, or find the existing request for exactly the same records.

    Args:
        context: the open store.
        index: the positions of all training records, by their ids.
        ids: ids of the records to forget.
        note: one line of at most MAX_NOTE characters to store with the request.
        due: the last day on which honouring it is in time, as `due_day` takes it.

    Raises:
        RequestError: an id is neither a training record nor was ever forgotten, or an argument is invalid.
    """
    key = context.key
    names, day = _read(ids, note, due)
    by_tag = {key.tag(name): name for name in names}
    ordered = sorted(by_tag)  # the order in which ids are given may reveal whose they are
    digest = digest_of(key, ordered)
    unknown = [name for name in names if index.position(name) is None]
    with context.writing() as transaction:
        history = transaction.history
        known, honoured = requests_of(transaction, ordered), history.honoured
        forgotten = {tag for tag, numbers in known.items() if not honoured.isdisjoint(numbers)}
        _check_known([name for name in unknown if key.tag(name) not in forgotten], index.names)
        live = (r for r in history.requests.values() if r.stage is not Stage.CANCELLED)
        same = next((r for r in live if r.digest == digest), None)
        others = {r.number for r in history.pending if same is None or r.number != same.number}
        waiting = sum(not others.isdisjoint(numbers) for tag, numbers in known.items() if tag not in forgotten)
        amended, remarks = False, list[str]()
        if same is not None:
            number = same.number
            amended, remarks = amend(transaction, same, note, day)
        else:
            number = len(history.requests) + 1
            mac = note_mac(key, number, note)
            body = {"number": number, "records": len(ordered), "digest": digest, "due": day, "note": mac}
            transaction.append("requested", body)
            _insert_rows(transaction, number, ordered, {tag: by_tag[tag] for tag in ordered if tag not in forgotten})
            insert_notes(transaction, number, note)
            settle(transaction, number, known)
        request = history.requests[number]
        return Answer(
            request=request,
            made=same is None,
            forgotten=len(forgotten),
            waiting=waiting,
            amended=amended,
            late=request.stage is Stage.PENDING and clock.is_over(request.due, history.latest),
            share=_count_pending(transaction) / len(index),
            remarks=tuple(remarks),
        )


def _read(ids: Collection[RecordId], note: object, due: object) -> tuple[list[RecordId], str | None]:
    """The ids without repetition, and the day that the request is due."""
    found = Findings()
    if isinstance(ids, ByGroup):
        raise RequestError("a store takes requests by record id, not by group: give the ids of the group's records")
    names = list(dict.fromkeys(read_forget(ids, found)))
    if not names and not found.problems:
        found.problems.append("the request names no record: give at least one id")
    if any(isinstance(name, int) and name.bit_length() > MAX_NUMBER_BITS for name in names):
        found.problems.append(f"the request names numbers of more than {MAX_NUMBER_BITS} bits, which are no record ids")
    day = collect_errors(found.problems, due_day, due)
    if note is not None and (not isinstance(note, str) or len(note) > MAX_NOTE or not note.isprintable()):
        found.problems.append(f"note: expected one line of at most {MAX_NOTE} characters")
    if found.problems:
        raise RequestError(found.problems)
    return names, day


def _check_known(unknown: Sequence[RecordId], names: RecordIds) -> None:
    if unknown:
        one = len(unknown) == 1
        raise RequestError(
            f"{len(unknown)} {'id is' if one else 'ids are'} not among the training records, and "
            f"{'was' if one else 'were'} never forgotten: {unknown_ids(unknown, names)}"
        )


def _insert_rows(
    transaction: Transaction, number: int, ordered: Sequence[bytes], names: Mapping[bytes, RecordId]
) -> None:
    """Insert a row for each tag, and one for each id that is still to be forgotten."""
    check = transaction.key.row_check
    places = list(enumerate(ordered))
    transaction.connection.execute(
        tags.insert(),
        [{"request": number, "place": at, "tag": tag, "check": check(number, at, tag)} for at, tag in places],
    )
    rows = [
        {"request": number, "place": at, "tag": tag, "name": json.dumps(names[tag])}
        for at, tag in places
        if tag in names
    ]
    if rows:
        transaction.connection.execute(pending_ids.insert(), rows)


def _count_pending(transaction: Transaction) -> int:
    """How many records are still to be forgotten."""
    return transaction.connection.execute(select(func.count(pending_ids.c.tag.distinct()))).scalar() or 0
