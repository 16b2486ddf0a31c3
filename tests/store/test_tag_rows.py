"""Rows that were changed by hand: each is named in a line, what serves goes on, and a later run ends well."""

import sqlite3
from pathlib import Path

import pytest

from efface import Task
from efface.store import DamagedError, Store
from helpers.store_cases import (
    QUICK,
    served,
)
from helpers.store_damage import (
    SEEN,
    by_hand,
    ends_well,
    keeps_serving,
)

ONE = "request = 2 AND place = (SELECT max(place) FROM pending_ids WHERE request = 2)"
ADDRESS = '"person-0299@example.org"'
# what is done to the database, what the store says of it, and whether a run must refuse
EDITS: dict[str, tuple[str, str, bool]] = {
    "event, body": ("UPDATE events SET body = replace(body, '\"records\":7', '\"records\":6')", "event ", True),
    "event, time": ("UPDATE events SET at = '2001-01-01T00:00:00.000+00:00' WHERE seq = 3", "event 3", True),
    "event, kind": ("UPDATE events SET kind = 'cleared' WHERE seq = 4", "event 4", True),
    "event, nonsense": ("UPDATE events SET body = 'nonsense' WHERE seq = 1", "event 1", True),
    "event, bytes": ("UPDATE events SET body = x'ff00' WHERE seq = 5", "event 5", True),
    "event, hash of the last": (
        "UPDATE events SET hash = '00' WHERE seq = (SELECT max(seq) FROM events)",
        "event",
        True,
    ),
    "event, the first deleted": ("DELETE FROM events WHERE seq = 1", "event 1", True),
    "event, one deleted": ("DELETE FROM events WHERE seq = 4", "event 4", True),
    "event, several deleted": ("DELETE FROM events WHERE seq IN (4, 5, 6)", "event 4 to 6", True),
    "event, the last deleted": (
        "DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)",
        "ends before event",
        True,
    ),
    "event, the last two deleted": (
        "DELETE FROM events WHERE seq > (SELECT max(seq) FROM events) - 2",
        "ends before",
        True,
    ),
    "event, all deleted": ("DELETE FROM events", "event 1", True),
    "event, inserted": (
        "INSERT INTO events SELECT (SELECT max(seq) FROM events) + 1, at, kind, body, hash FROM events WHERE seq = 3",
        "event",
        True,
    ),
    "tag of honoured, edited": (
        "UPDATE tags SET tag = zeroblob(32) WHERE request = 1 AND place = 3",
        "row 3 of request 1",
        True,
    ),
    "tag of honoured, deleted": ("DELETE FROM tags WHERE request = 1 AND place = 3", "request 1", True),
    "tags of honoured, all deleted": ("DELETE FROM tags WHERE request = 1", "request 1", True),
    "tag of pending, edited": (
        "UPDATE tags SET tag = zeroblob(32) WHERE request = 2 AND place = 0",
        "row 0 of request 2",
        True,
    ),
    "tag of pending, a text": ("UPDATE tags SET tag = 'x' WHERE request = 2 AND place = 0", "row 0 of request 2", True),
    "tag of pending, its check": (
        'UPDATE tags SET "check" = zeroblob(8) WHERE request = 3 AND place = 1',
        "request 3",
        True,
    ),
    "tag of pending, deleted": ("DELETE FROM tags WHERE request = 2 AND place = 0", "request 2", True),
    "tag of pending, moved": (
        "UPDATE tags SET request = 2, place = 7 WHERE request = 3 AND place = 3",
        "request 2",
        True,
    ),
    "tag, inserted": (
        'INSERT INTO tags SELECT 2, 7, tag, "check" FROM tags WHERE request = 1 AND place = 0',
        "request 2",
        True,
    ),
    "tag of no request": ("INSERT INTO tags VALUES (9, 0, zeroblob(32), zeroblob(8))", "request 9", False),
    "id, edited": (
        f"UPDATE pending_ids SET name = '{ADDRESS}' WHERE {ONE}",
        "1 id was changed",
        True,
    ),
    "id, nonsense": (
        f"UPDATE pending_ids SET name = 'nonsense' WHERE {ONE}",
        "pending_ids",
        True,
    ),
    "id, a list": (
        f"UPDATE pending_ids SET name = '[1]' WHERE {ONE}",
        "pending_ids",
        True,
    ),
    "id, its tag": (
        f"UPDATE pending_ids SET tag = 7 WHERE {ONE}",
        "pending_ids",
        True,
    ),
    "id, deleted": ("DELETE FROM pending_ids WHERE request = 2", "missing", True),
    "ids, all deleted": ("DELETE FROM pending_ids", "missing", True),
    "id, inserted": (f"INSERT INTO pending_ids VALUES (2, 99, zeroblob(32), '{ADDRESS}')", "pending_ids", True),
    "id, copied": (
        "INSERT INTO pending_ids SELECT 2, 99, tag, name FROM pending_ids WHERE name LIKE '%0150%'",
        "pending_ids",
        False,
    ),
    "id, of honoured": (f"INSERT INTO pending_ids VALUES (1, 0, zeroblob(32), '{ADDRESS}')", "request 1", False),
    "note, edited": ("UPDATE notes SET text = 'by phone'", "notes: that of request 1 was changed", False),
    "note, deleted": ("DELETE FROM notes", "notes: that of request 1 was removed", False),
    "note, inserted": ("INSERT INTO notes VALUES (2, 'by phone')", "notes: that of request 2", False),
    "note of no request": ("INSERT INTO notes VALUES (9, 'by phone')", "request 9", False),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_row_that_was_changed_by_hand(path: Path, task: Task, weights: str, edit: str) -> None:
    statement, words, refused = EDITS[edit]
    whole = {name: (path / name).read_bytes() for name in ("ledger.sqlite", "head")}
    with by_hand(path) as raw:
        assert raw.execute(statement).rowcount
    try:
        said = list(Store(path, task).verify(level=None).problems)
    except DamagedError as error:
        said = list(error.problems)
    assert any(words in line for line in said), said
    assert not any("\n" in line for line in said)
    if refused:
        error = keeps_serving(path, task, DamagedError, "", f"row by hand: {edit.partition(',')[0]}")
        for name, held in whole.items():
            (path / name).write_bytes(held)
        ends_well(path, task, weights)
        assert error.__traceback__  # kept until here: one that held a cursor open would have kept ids in the log
    else:
        Store(path, task).run(QUICK)
        assert served(path) == weights
        SEEN[f"row by hand: {edit.partition(',')[0]}", "named", 4] += 1


def test_rows_are_not_changed_by_chance(path: Path) -> None:
    for table in ("events", "tags"):
        for statement in (f"UPDATE {table} SET rowid = rowid + 100", f"DELETE FROM {table}"):
            with by_hand(path, triggers=True) as raw, pytest.raises(sqlite3.IntegrityError, match="append-only"):
                raw.execute(statement)
            SEEN["trigger: UPDATE or DELETE", "refused", 4] += 1
    assert Store(path).history().seq


def test_a_trigger_that_was_dropped_is_missed(path: Path, task: Task) -> None:
    with by_hand(path, triggers=True) as raw:
        raw.execute("DROP TRIGGER tags_delete")
    assert Store(path, task).verify(level=None).problems == (
        "ledger.sqlite: the trigger tags_delete is missing, which refuses changes",
    )
