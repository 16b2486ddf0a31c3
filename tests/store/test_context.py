"""Opening a store: its head, its key, and a history that changes behind it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from efface import Task
from efface.errors import RequestError
from efface.store import DamagedError, Store
from efface.store.keys import make_key
from helpers.store_cases import (
    QUICK,
    people,
)
from helpers.store_damage import (
    by_hand,
    ends_well,
    keeps_serving,
    meaning,
    refuses,
)
from helpers.store_verbs import refused

HEADS: dict[str, tuple[Callable[[Path], object], str]] = {
    "deleted": (Path.unlink, "head: the file is missing"),
    "nonsense": (lambda head: head.write_text("nonsense"), "head: cannot be read"),
    "no number": (lambda head: head.write_text('{"seq": Infinity, "hash": ""}'), "head: cannot be read"),
    "not text": (lambda head: head.write_bytes(b"\xff\xfe"), "head: cannot be read"),
    "past the end": (lambda head: head.write_text('{"seq": 999, "hash": "00", "mac": "00"}'), "head: was changed"),
    "another hash": (lambda head: head.write_text('{"seq": 3, "hash": "00", "mac": "00"}'), "head: was changed"),
}


@pytest.mark.parametrize("harm", HEADS)
def test_a_head_that_was_changed(path: Path, task: Task, weights: str, harm: str) -> None:
    change, words = HEADS[harm]
    whole = (path / "head").read_text()
    change(path / "head")
    keeps_serving(path, task, DamagedError, words, f"head: {harm}")
    (path / "head").write_text(whole)
    ends_well(path, task, weights)


def test_a_wrong_key(path: Path, task: Task, weights: str) -> None:
    key = path.with_name("store.key")
    whole = key.read_text()
    for held, words in (
        ("01" * 32, "is not the key of this store"),
        ("nonsense", "is not a key"),
        ("01", "is not a key"),
    ):
        key.write_text(held)
        keeps_serving(path, task, DamagedError, words, "wrong key")
    key.write_text(whole)
    ends_well(path, task, weights)


def test_a_missing_key_retires_a_store(path: Path, task: Task, weights: str) -> None:
    key = path.with_name("store.key")
    whole, said = key.read_text(), meaning(Store(path, task))
    key.unlink()
    store = Store(path, task)
    assert meaning(store) == said
    assert "store.key is missing" in (store.status().retired or "")
    for call in (
        lambda: store.add(people([77])),
        lambda: store.run(QUICK),
        lambda: store.cancel(2),
        lambda: store.verify(level=None),
    ):
        refuses(RequestError, "store.key is missing", "missing key", call)
    key.write_text(whole)
    ends_well(path, task, weights)


def test_the_head_cannot_be_forged_without_the_key(path: Path, task: Task) -> None:
    with by_hand(path) as raw:
        last, digest = raw.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1 OFFSET 1").fetchone()
        raw.execute("DELETE FROM events WHERE seq > ?", [last])
    head = json.loads((path / "head").read_text())
    (path / "head").write_text(json.dumps({**head, "seq": last, "hash": digest}))
    with pytest.raises(DamagedError, match="head: was changed"):
        Store(path, task)


def test_a_key_is_never_taken_from_inside_the_store(path: Path) -> None:
    make_key(path / "own.key")
    assert "must lie outside of the store" in refused(Store, path, key=path / "own.key")[0]


def test_a_history_that_changes_behind_an_open_store_is_seen(path: Path, task: Task) -> None:
    store = Store(path, task)
    assert store.verify(level=None).problems == ()
    with by_hand(path) as raw:
        raw.execute("UPDATE events SET body = replace(body, 'person', 'other') WHERE seq = 1")
        raw.execute("UPDATE events SET at = '2001-01-01T00:00:00.000+00:00' WHERE seq = 2")
    with pytest.raises(DamagedError, match="event 2"):
        store.verify(level=None)
    with by_hand(path) as raw:
        raw.execute("UPDATE events SET hash = 'x' WHERE seq = (SELECT max(seq) FROM events)")
    with pytest.raises(DamagedError, match="is not the one that was there"):
        store.add(people([99]))
