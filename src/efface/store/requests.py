"""Requests come in: each record id becomes a tag at once, and is kept as it is only until it is forgotten."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import delete, func, select

from efface.data.checks import Findings, read_forget
from efface.data.ids import RecordIndex
from efface.errors import RequestError, shorten
from efface.store import clock
from efface.store.context import StoreContext, Transaction
from efface.store.database import notes, plain, tags
from efface.store.gc import clear_ids, drop_orphans
from efface.store.history import History, Request, Stage
from efface.store.tag_rows import AT_ONCE, digest_of, requests_of, tags_of
from efface.types import RecordId

MAX_NOTE = 500
MAX_NUMBER = 4096  # bits of an id; Python writes no number of any length


@dataclass(frozen=True)
class Answer:
    """What became of a request: its number, and whether this call made it.

    `forgotten` of its records were forgotten before, `waiting` also stand in other requests that are pending. `amended`
    says that a request that was there took the date or the note that were given now, `late` that its date is over, and
    `share` is that of all pending records in the training set.
    """

    request: Request
    made: bool
    forgotten: int
    waiting: int
    amended: bool = False
    late: bool = False
    share: float = 0.0


def add(
    core: StoreContext, index: RecordIndex, ids: Collection[RecordId], note: str | None, due: date | None
) -> Answer:
    """Take a request in; the same records again are the same request.

    Raises RequestError, with every problem, for ids that are no training records and were never forgotten.
    """
    key = core.key
    found = Findings()
    names = list(dict.fromkeys(read_forget(ids, found)))
    if not names and not found.problems:
        found.problems.append("the request names no record: give at least one id")
    if any(isinstance(name, int) and name.bit_length() > MAX_NUMBER for name in names):
        found.problems.append(f"the request names numbers of more than {MAX_NUMBER} bits, which are no record ids")
    if due is not None and not isinstance(due, date):
        found.problems.append(f"due: expected a date, got {type(due).__name__}")
    elif isinstance(due, datetime):
        due = due.date()
    if note is not None and (not isinstance(note, str) or len(note) > MAX_NOTE or not note.isprintable()):
        found.problems.append(f"note: expected one line of at most {MAX_NOTE} characters")
    if found.problems:
        raise RequestError(found.problems)
    by_tag = {key.tag(name): name for name in names}
    ordered = sorted(by_tag)  # the order of a list may tell who is meant
    digest = digest_of(core, ordered)
    unknown = [name for name in names if index.position(name) is None]
    with core.writing() as book:
        known = requests_of(core, book.connection, book.history, ordered)
        stages = {tag: {book.history.requests[n].stage for n in numbers} for tag, numbers in known.items()}
        forgotten = {tag for tag, found_in in stages.items() if Stage.HONOURED in found_in}
        if nonmembers := [name for name in unknown if key.tag(name) not in forgotten]:
            one = len(nonmembers) == 1
            raise RequestError(
                f"{len(nonmembers)} {'id is' if one else 'ids are'} not among the training records, and "
                f"{'was' if one else 'were'} never forgotten: {shorten(nonmembers)}"
            )
        live = (r for r in book.history.requests.values() if r.stage is not Stage.CANCELLED)
        same = next((r for r in live if r.digest == digest), None)
        others = {r.number for r in book.history.pending if same is None or r.number != same.number}
        waiting = sum(not others.isdisjoint(numbers) for tag, numbers in known.items() if tag not in forgotten)
        if same is not None:
            amended = same.stage is Stage.PENDING and _amend(core, book, same, note, due)
            return _answer(book, index, same.number, False, len(forgotten), waiting, amended)
        number = len(book.history.requests) + 1
        book.append(
            "requested",
            {
                "number": number,
                "records": len(ordered),
                "digest": digest,
                "due": None if due is None else due.isoformat(),
                "note": None if note is None else key.mac("note", f"{number} {note}"),
            },
        )
        rows = [{"request": number, "place": i, "tag": tag} for i, tag in enumerate(ordered)]
        book.connection.execute(
            tags.insert(),
            [{**row, "check": key.row(number, i, row["tag"])} for i, row in enumerate(rows)],  # type: ignore[arg-type]
        )
        kept = [{**row, "name": json.dumps(by_tag[row["tag"]])} for row in rows if row["tag"] not in forgotten]  # type: ignore[index]
        if kept:
            book.connection.execute(plain.insert(), kept)
        if note is not None:
            book.connection.execute(notes.insert().values(request=number, text=note))
        _settle(book, number, known)
        answer = _answer(book, index, number, True, len(forgotten), waiting, False)
    return answer


def _answer(
    book: Transaction, index: RecordIndex, number: int, made: bool, forgotten: int, waiting: int, amended: bool
) -> Answer:
    request = book.history.requests[number]
    today = clock.present(book.history.latest).date()
    late = request.stage is Stage.PENDING and request.due is not None and date.fromisoformat(request.due) < today
    pending = book.connection.execute(select(func.count(plain.c.tag.distinct()))).scalar() or 0
    return Answer(request, made, forgotten, waiting, amended, late, pending / len(index))


def _amend(core: StoreContext, book: Transaction, request: Request, note: str | None, due: date | None) -> bool:
    """Give a pending request a date or a note that are other than its own; whether there was one."""
    day = request.due if due is None else due.isoformat()
    mac = request.note if note is None else core.key.mac("note", f"{request.number} {note}")
    if (day, mac) == (request.due, request.note):
        return False
    book.append("amended", {"number": request.number, "due": day, "note": mac})
    if mac != request.note:
        book.connection.execute(delete(notes).where(notes.c.request == request.number))
        book.connection.execute(notes.insert().values(request=request.number, text=note))
    return True


def cancel(core: StoreContext, number: int) -> Request:
    """Withdraw a request that is still pending; its ids are deleted. BusyError while a run is at work."""
    with core.folder.locked(0.0):
        request = _cancel(core, number)
        clear_ids(core)
        drop_orphans(core)  # what a run that it was part of had made
    return request


def _cancel(core: StoreContext, number: int) -> Request:
    with core.writing() as book:
        request = asked(book.history, number)
        if request.stage is Stage.HONOURED:
            raise RequestError(f"request {number} was honoured by version {request.version}: that cannot be undone")
        run = book.history.open_run
        if run is not None and number in run.requests:
            book.append("ended", {"number": run.number, "stage": "abandoned", "why": f"request {number} was cancelled"})
        if request.stage is Stage.PENDING:
            book.append("cancelled", {"number": number})
            book.connection.execute(delete(plain).where(plain.c.request == number))
        return book.history.requests[number]


def asked(history: History, number: int) -> Request:
    """A request by its number; RequestError where there is none."""
    if number not in history.requests:
        there = f"1 to {len(history.requests)}" if history.requests else "none yet"
        raise RequestError(f"there is no request {number} (there are: {there})")
    return history.requests[number]


def settle_others(core: StoreContext, book: Transaction) -> None:
    """After a version honoured some records: delete their ids from other requests, and end requests without others."""
    for request in book.history.pending:
        held = sorted(tags_of(core, book.connection, book.history, [request.number]))
        _settle(book, request.number, requests_of(core, book.connection, book.history, held))


def _settle(book: Transaction, number: int, known: dict[bytes, set[int]]) -> None:
    """Delete the ids of a request that others already had forgotten; honour it if those are all of them."""
    requests = book.history.requests
    # only those that a version lists: one honoured through others stands for nothing that they do not
    by = {
        tag: min(
            (n for n in numbers if requests[n].stage is Stage.HONOURED and not requests[n].through),
            key=lambda n: (requests[n].version or 1, n),
            default=None,
        )
        for tag, numbers in known.items()
    }
    done = [tag for tag, first in by.items() if first is not None]
    for start in range(0, len(done), AT_ONCE):
        some = done[start : start + AT_ONCE]
        book.connection.execute(delete(plain).where(plain.c.request == number, plain.c.tag.in_(some)))
    if len(done) < requests[number].records:
        return
    through = sorted({first for first in by.values() if first is not None})
    version = max(requests[n].version or 1 for n in through)
    book.append("already", {"number": number, "version": version, "through": through})
