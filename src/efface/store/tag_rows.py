"""Rows of tags, ids and notes as they are read: the key says whether each is as it was written."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, select

from efface.store.context import StoreContext
from efface.store.database import notes, plain, tags
from efface.store.errors import DamagedError
from efface.store.history import History
from efface.store.keys import shown
from efface.types import RecordId

AT_ONCE = 500  # values in one SQL statement
NAMED = 3  # rows of a request that are named


def tags_of(core: StoreContext, connection: Connection, history: History, numbers: Collection[int]) -> set[bytes]:
    """The tags of some requests; DamagedError where a row of them was changed or removed."""
    wanted = sorted(numbers)
    held: dict[int, int] = dict.fromkeys(wanted, 0)
    found: set[bytes] = set()
    for start in range(0, len(wanted), AT_ONCE):
        # closed even where a row is refused: a cursor left open keeps deleted ids in the write-ahead log
        with connection.execute(select(tags).where(tags.c.request.in_(wanted[start : start + AT_ONCE]))) as rows:
            for row in rows:
                _check(core, history, row)
                held[row.request] += 1
                found.add(row.tag)
    if wrong := [n for n, rows in held.items() if rows != history.requests[n].records]:
        raise DamagedError(f"tags: rows of request {wrong[0]} are missing, or there are more than it had")
    return found


def requests_of(
    core: StoreContext, connection: Connection, history: History, wanted: Sequence[bytes]
) -> dict[bytes, set[int]]:
    """The requests that name each of some tags; tags that none names are left out. DamagedError as above."""
    found: dict[bytes, set[int]] = {}
    for start in range(0, len(wanted), AT_ONCE):
        with connection.execute(select(tags).where(tags.c.tag.in_(wanted[start : start + AT_ONCE]))) as rows:
            for row in rows:
                _check(core, history, row)
                found.setdefault(row.tag, set()).add(row.request)
    return found


def names_of(connection: Connection, numbers: Sequence[int]) -> dict[bytes, RecordId]:
    """The ids that are still kept of some requests, by tag."""
    rows = connection.execute(select(plain.c.tag, plain.c.name).where(plain.c.request.in_(numbers))).all()
    found: dict[bytes, RecordId] = {}
    try:
        for row in rows:
            name = json.loads(row.name)
            if found.setdefault(row.tag, name) != name:
                raise ValueError("two requests name one record differently")
    except (ValueError, TypeError):
        raise DamagedError("plain: an id of a pending request cannot be read: its row was changed") from None
    return found


def digest_of(core: StoreContext, ordered: Iterable[bytes]) -> str:
    """What the history holds of a request's tags, in their order."""
    return core.key.mac("request", "\n".join(tag.hex() for tag in ordered))


def names_faults(
    core: StoreContext,
    whose: str,
    names: Mapping[bytes, RecordId],
    known: Collection[bytes],
    forgotten: Collection[bytes],
) -> list[str]:
    """How the ids that are kept of pending requests differ from those that they were made with, one line each."""
    problems = []
    wrong = [tag for tag, name in names.items() if core.key.tag(name) != tag]
    if wrong:
        problems.append(f"plain: {len(wrong)} ids of {whose} were changed, such as that of {_shown(wrong[0])}")
    if lacking := set(known) - set(names) - set(forgotten):
        problems.append(f"plain: {len(lacking)} ids of {whose} are missing, such as that of {shown(min(lacking))}")
    if others := set(names) - set(known) - set(wrong):
        problems.append(f"plain: {len(others)} ids stand there for {whose} that were never asked for")
    return problems


def faults(core: StoreContext, connection: Connection, history: History) -> list[str]:
    """All rows that are not as they were written, one line each."""
    return [
        *_tag_faults(core, connection, history),
        *_plain_faults(core, connection, history),
        *_note_faults(core, connection, history),
    ]


def _genuine(core: StoreContext, row: Row[Any]) -> bool:
    kinds = isinstance(row.request, int) and isinstance(row.place, int) and isinstance(row.tag, bytes)
    return kinds and core.key.row(row.request, row.place, row.tag) == row.check


def _check(core: StoreContext, history: History, row: Row[Any]) -> None:
    if row.request not in history.requests or not _genuine(core, row):
        raise DamagedError(f"tags: row {row.place} of request {row.request} was changed")


def _tag_faults(core: StoreContext, connection: Connection, history: History) -> list[str]:
    problems = []
    rows = connection.execute(select(tags).order_by(tags.c.request, tags.c.place))
    seen = set()
    for number, group in groupby(rows, lambda row: row.request):
        seen.add(number)
        request = history.requests.get(number)
        held = {row.place: row for row in group}
        if request is None:
            problems.append(f"tags: {len(held)} rows of a request {number} that the history lacks")
            continue
        changed = [at for at, row in held.items() if not _genuine(core, row)]
        missing = sorted(set(range(request.records)) - set(held))
        problems += [f"tags: row {at} of request {number} was changed" for at in changed[:NAMED]]
        problems += [f"tags: row {at} of request {number} is missing" for at in missing[:NAMED]]
        if not changed and digest_of(core, (held[at].tag for at in sorted(held))) != request.digest:
            problems.append(f"tags: the rows of request {number} are not those that the history was made with")
    lacking = sorted(set(history.requests) - seen)
    return problems + [f"tags: all rows of request {number} are missing" for number in lacking]


def _plain_faults(core: StoreContext, connection: Connection, history: History) -> list[str]:
    problems = []
    pending = {r.number for r in history.pending}
    for number in dict.fromkeys(connection.execute(select(plain.c.request).order_by(plain.c.request)).scalars()):
        if number not in pending:
            stage = history.requests[number].stage if number in history.requests else "not in the history"
            problems.append(f"plain: ids of request {number} stand there, which is {stage}")
    try:
        forgotten = tags_of(core, connection, history, history.honoured)
        for number in sorted(pending):
            known = tags_of(core, connection, history, [number])
            problems += names_faults(core, f"request {number}", names_of(connection, [number]), known, forgotten)
    except DamagedError as error:
        problems += error.problems
    return problems


def _note_faults(core: StoreContext, connection: Connection, history: History) -> list[str]:
    held = {row.request: row.text for row in connection.execute(select(notes))}
    problems = []
    for request in history.requests.values():
        text = held.pop(request.number, None)
        if (None if text is None else core.key.mac("note", f"{request.number} {text}")) != request.note:
            problems.append(f"notes: that of request {request.number} was {'removed' if text is None else 'changed'}")
    return problems + [f"notes: one of a request {number} that the history lacks" for number in held]


def _shown(tag: object) -> str:
    return shown(tag) if isinstance(tag, bytes) else repr(tag)
