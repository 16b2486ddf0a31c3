"""Reading the rows of tags, ids and notes, and checking by the key that none was changed."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Row, select

from efface.store.context import Snapshot
from efface.store.database import batches, notes, pending_ids, tags
from efface.store.errors import DamagedError
from efface.store.keys import Key, short_tag
from efface.types import RecordId

MAX_NAMED = 3  # rows of a request that are named in messages


def tags_of(snapshot: Snapshot, numbers: Collection[int]) -> set[bytes]:
    """The tags of all records of some requests.

    Args:
        snapshot: a view of the store.
        numbers: numbers of the requests.

    Raises:
        DamagedError: a row was changed, added or removed.
    """
    wanted = sorted(numbers)
    counts: dict[int, int] = dict.fromkeys(wanted, 0)
    found: set[bytes] = set()
    for some in batches(wanted):
        query = select(tags).where(tags.c.request.in_(some))
        for row in snapshot.connection.execute(query):
            _check_row(snapshot, row)
            counts[row.request] += 1
            found.add(row.tag)
    if wrong := [n for n, count in counts.items() if count != snapshot.history.requests[n].records]:
        raise DamagedError(f"tags: rows of request {wrong[0]} are missing, or there are more than it had")
    return found


def requests_of(snapshot: Snapshot, wanted: Sequence[bytes]) -> dict[bytes, set[int]]:
    """Find the requests that name each of some records.

    Args:
        snapshot: a view of the store.
        wanted: tags of the records.

    Returns:
        Numbers of the requests, by tag; tags that no request names are left out.

    Raises:
        DamagedError: a row was changed.
    """
    found: dict[bytes, set[int]] = {}
    for some in batches(wanted):
        query = select(tags).where(tags.c.tag.in_(some))
        for row in snapshot.connection.execute(query):
            _check_row(snapshot, row)
            found.setdefault(row.tag, set()).add(row.request)
    return found


def pending_ids_of(snapshot: Snapshot, numbers: Sequence[int]) -> dict[bytes, RecordId]:
    """The ids of some requests' records that are still stored, by tag.

    Args:
        snapshot: a view of the store.
        numbers: numbers of the requests.

    Raises:
        DamagedError: an id cannot be read.
    """
    found: dict[bytes, RecordId] = {}
    for some in batches(numbers):
        query = select(pending_ids.c.tag, pending_ids.c.name).where(pending_ids.c.request.in_(some))
        _read_names(snapshot.connection.execute(query).all(), found)
    return found


def _read_names(rows: Iterable[Any], found: dict[bytes, RecordId]) -> None:
    """Add the ids of some rows to those that were found before; DamagedError if one cannot be read."""
    try:
        for row in rows:
            name = json.loads(row.name)
            if found.setdefault(row.tag, name) != name:
                raise ValueError("two requests name one record differently")
    except (ValueError, TypeError, RecursionError):
        raise DamagedError("pending_ids: an id of a pending request cannot be read: its row was changed") from None


def pending_tags_of(snapshot: Snapshot, numbers: Sequence[int]) -> dict[int, set[bytes]]:
    """The tags of the records of some pending requests whose ids are stored, by number of the request."""
    found: dict[int, set[bytes]] = {number: set() for number in numbers}
    for some in batches(numbers):
        query = select(pending_ids.c.request, pending_ids.c.tag).where(pending_ids.c.request.in_(some))
        for row in snapshot.connection.execute(query):
            found[row.request].add(row.tag)
    return found


def digest_of(key: Key, ordered: Iterable[bytes]) -> str:
    """The digest of a request's tags that the history stores; `ordered` are the sorted tags."""
    return key.mac("request", "\n".join(tag.hex() for tag in ordered))


def id_faults(
    key: Key,
    whose: str,
    names: Mapping[bytes, RecordId],
    known: Collection[bytes],
    forgotten: Collection[bytes],
) -> list[str]:
    """Compare the stored ids of pending requests with the requests' tags.

    Args:
        key: the store's key.
        whose: the name of the requests in messages.
        names: the stored ids, by the tag that is stored with each.
        known: the tags of the requests.
        forgotten: the tags of all forgotten records, whose ids are deleted.

    Returns:
        One line for each kind of difference.
    """
    problems = []
    wrong = [tag for tag, name in names.items() if key.tag(name) != tag]
    if wrong:
        problems.append(f"pending_ids: {len(wrong)} ids of {whose} were changed, such as that of {_shown(wrong[0])}")
    if lacking := set(known) - set(names) - set(forgotten):
        example = short_tag(min(lacking))
        problems.append(f"pending_ids: {len(lacking)} ids of {whose} are missing, such as that of {example}")
    if others := set(names) - set(known) - set(wrong):
        problems.append(f"pending_ids: {len(others)} ids stand there for {whose} that were never asked for")
    return problems


def row_faults(snapshot: Snapshot) -> list[str]:
    """Problems with the rows of tags, ids and notes, one line for each row that was changed, added or removed."""
    genuine: dict[int, set[bytes]] = {}
    return [*_tag_faults(snapshot, genuine), *_pending_id_faults(snapshot, genuine), *_note_faults(snapshot)]


def _genuine(key: Key, row: Row[Any]) -> bool:
    kinds = isinstance(row.request, int) and isinstance(row.place, int) and isinstance(row.tag, bytes)
    return kinds and key.row_check(row.request, row.place, row.tag) == row.check


def _check_row(snapshot: Snapshot, row: Row[Any]) -> None:
    if row.request not in snapshot.history.requests or not _genuine(snapshot.key, row):
        raise DamagedError(f"tags: row {row.place} of request {row.request} was changed")


def _tag_faults(snapshot: Snapshot, genuine: dict[int, set[bytes]]) -> list[str]:
    """Problems with the rows of tags; those of each request without a problem are added to `genuine`."""
    problems: list[str] = []
    rows = snapshot.connection.execute(select(tags).order_by(tags.c.request, tags.c.place))
    seen = set()
    for number, group in groupby(rows, lambda row: row.request):
        seen.add(number)
        request = snapshot.history.requests.get(number)
        by_place = {row.place: row for row in group}
        if request is None:
            problems.append(f"tags: {len(by_place)} rows of a request {number} that the history lacks")
            continue
        changed = [at for at, row in by_place.items() if not _genuine(snapshot.key, row)]
        missing = sorted(set(range(request.records)) - set(by_place))
        problems += [f"tags: row {at} of request {number} was changed" for at in changed[:MAX_NAMED]]
        problems += [f"tags: row {at} of request {number} is missing" for at in missing[:MAX_NAMED]]
        if not changed and not missing and len(by_place) == request.records:
            genuine[number] = {row.tag for row in by_place.values()}
        # changed rows may hold values of any type, which need not be sortable
        if not changed and digest_of(snapshot.key, (by_place[at].tag for at in sorted(by_place))) != request.digest:
            problems.append(f"tags: the rows of request {number} are not those that the history was made with")
    lacking = sorted(set(snapshot.history.requests) - seen)
    return problems + [f"tags: all rows of request {number} are missing" for number in lacking]


def _pending_id_faults(snapshot: Snapshot, genuine: Mapping[int, set[bytes]]) -> list[str]:
    """Problems with the stored ids; those of a request whose tags were changed are not compared with them."""
    history, problems = snapshot.history, []
    pending = {r.number for r in history.pending}
    comparable = history.honoured <= genuine.keys()  # else nobody can tell which ids should be deleted
    forgotten: set[bytes] = set().union(*(genuine.get(number, ()) for number in history.honoured))
    rows = snapshot.connection.execute(select(pending_ids).order_by(pending_ids.c.request, pending_ids.c.place))
    stored = set()
    for number, group in groupby(rows, lambda row: row.request):
        stored.add(number)
        if number not in pending:
            stage = history.requests[number].stage if number in history.requests else "not in the history"
            problems.append(f"pending_ids: ids of request {number} stand there, which is {stage}")
            continue
        names: dict[bytes, RecordId] = {}
        try:
            _read_names(group, names)
        except DamagedError as error:
            problems += error.problems
        else:
            if comparable and number in genuine:
                problems += id_faults(snapshot.key, f"request {number}", names, genuine[number], forgotten)
    for number in sorted((pending - stored) & genuine.keys()) if comparable else ():
        problems += id_faults(snapshot.key, f"request {number}", {}, genuine[number], forgotten)
    return problems


def _note_faults(snapshot: Snapshot) -> list[str]:
    texts = {row.request: row.text for row in snapshot.connection.execute(select(notes))}
    problems = []
    for request in snapshot.history.requests.values():
        text = texts.pop(request.number, None)
        if note_mac(snapshot.key, request.number, text) != request.note:
            problems.append(f"notes: that of request {request.number} was {'removed' if text is None else 'changed'}")
    return problems + [f"notes: one of a request {number} that the history lacks" for number in texts]


def note_mac(key: Key, number: int, text: str | None) -> str | None:
    """HMAC of a request's note, which the history stores; None without a note."""
    return None if text is None else key.mac("note", f"{number} {text}")


def _shown(tag: object) -> str:
    return short_tag(tag) if isinstance(tag, bytes) else repr(tag)
