"""Reading the rows of tags and ids, each checked by the key."""

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Row, select

from efface.store.context import Snapshot
from efface.store.database import batches, pending_ids, tags
from efface.store.errors import DamagedError
from efface.store.keys import Key
from efface.types import RecordId


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
        read_names(snapshot.connection.execute(query).all(), found)
    return found


def read_names(rows: Iterable[Any], found: dict[bytes, RecordId]) -> None:
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


def is_genuine(key: Key, row: Row[Any]) -> bool:
    """Whether a row of tags is as it was written."""
    kinds = isinstance(row.request, int) and isinstance(row.place, int) and isinstance(row.tag, bytes)
    return kinds and key.row_check(row.request, row.place, row.tag) == row.check


def _check_row(snapshot: Snapshot, row: Row[Any]) -> None:
    if row.request not in snapshot.history.requests or not is_genuine(snapshot.key, row):
        raise DamagedError(f"tags: row {row.place} of request {row.request} was changed")


def note_mac(key: Key, number: int, text: str | None) -> str | None:
    """HMAC of a request's note, which the history stores; None without a note."""
    return None if text is None else key.mac("note", f"{number} {text}")
