"""The events of a store in its database: append-only, each chained to the one before by an HMAC."""

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, select

from efface.store import clock
from efface.store.database import events
from efface.store.entries import RESET, Event
from efface.store.errors import DamagedError
from efface.store.history import FIRST
from efface.store.keys import Key


def append(connection: Connection, key: Key, kind: str, body: dict[str, Any]) -> Event:
    """Add an event.

    Args:
        connection: a transaction that holds the write lock.
        key: the store's key.
        kind: kind of the event.
        body: its details, as values that JSON can hold.

    Returns:
        The event, with its number, time and hash.
    """
    last = connection.execute(select(events).order_by(events.c.seq.desc()).limit(1)).first()
    at, noted = clock.stamp(last.at if last else None, reset=kind == RESET)
    body = {**body, **noted}
    text = json.dumps(body, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    seq = last.seq + 1 if last else 1
    chained = chain(key, last.hash if last else FIRST, seq, at, kind, text)
    connection.execute(events.insert().values(seq=seq, at=at, kind=kind, body=text, hash=chained))
    return Event(seq, at, kind, body, chained)


def chain(key: Key, before: str, seq: int, at: str, kind: str, body: str) -> str:
    """The hash of an event: an HMAC, in hexadecimal, of its parts and of the hash before.

    Args:
        key: the store's key.
        before: hash of the event before; FIRST for the first event.
        seq: number of the event.
        at: its time, as text.
        kind: its kind.
        body: its details, as JSON text.
    """
    return key.mac("event", json.dumps([before, seq, at, kind, body]))


def read(connection: Connection, key: Key | None, after: int = 0, before: str = FIRST) -> Iterator[Event]:
    """Read events in order, each checked against the chain.

    Args:
        connection: a transaction.
        key: the store's key; without it hashes are not checked.
        after: number of the event after which reading begins; 0 reads all.
        before: the hash of that event.

    Raises:
        DamagedError: an event was changed, removed or inserted; the message names the first of them.
    """
    for row in connection.execute(select(events).where(events.c.seq > after).order_by(events.c.seq)):
        if row.seq != after + 1:
            lacking = str(after + 1) if row.seq == after + 2 else f"{after + 1} to {row.seq - 1}"
            raise DamagedError(f"the history lacks event {lacking}: a row was removed")
        try:
            genuine = key is None or chain(key, before, row.seq, row.at, row.kind, row.body) == row.hash
            body = json.loads(row.body) if genuine else None
        except (ValueError, TypeError, RecursionError):  # no text, or no JSON
            body = None
        if not isinstance(body, dict):
            raise DamagedError(f"event {row.seq} ({row.kind}, {row.at}) of the history was changed")
        yield Event(row.seq, row.at, row.kind, body, row.hash)
        after, before = row.seq, row.hash
