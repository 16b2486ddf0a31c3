"""The state of a store: what is overdue, what each version honours, and what is not as it should be."""

from datetime import timedelta
from pathlib import Path

import pytest

from efface import Task
from efface.store import Store, failpoints
from helpers.command_line import run as command
from helpers.store_cases import IDS, QUICK, people
from helpers.store_verbs import DAY, at


def test_requests_are_overdue_once_their_day_is_over(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, DAY)
    for number, days in enumerate((-1, 0, 1), 1):
        store.add([IDS[number]], due=(DAY + timedelta(days=days)).date())
    store.add([IDS[9]])
    assert [r.number for r in store.status().overdue] == [1]
    at(monkeypatch, DAY + timedelta(days=1))
    assert [r.number for r in store.status().overdue] == [1, 2]
    store.run(QUICK)
    status = store.status()
    assert (status.overdue, status.pending) == ((), ())
    assert [store.request(n)["in_time"] for n in (1, 2, 3, 4)] == [False, False, True, None]


def test_status_says_what_each_version_honours(store: Store) -> None:
    for wanted in ([5], [7]):
        store.add(people(wanted))
        store.run(QUICK)
    status = store.status()
    assert status.honours == {1: (), 2: (1,), 3: (1, 2)}
    assert (status.serving.number, status.file, status.retired) == (3, store.current, None)
    assert status.head == (store.history().seq, store.history().hash)
    assert (status.unfinished, status.warnings) == (None, ())


def test_a_run_that_died_before_the_link_was_set_is_seen(path: Path, task: Task) -> None:
    failpoints.arm("link.synced:full")
    with pytest.raises(Exception, match="No space left"):
        Store(path, task).run(QUICK)
    failpoints.disarm()
    seen = Store(path).status()
    assert seen.misplaced
    assert any("does not lead to version 3: efface run puts that right" in line for line in seen.warnings)
    assert command("status", "--store", str(path), "--check").exit_code == 3
    Store(path, task).run(QUICK)
    assert not Store(path).status().misplaced


def test_ids_left_by_a_key_that_was_lost_are_named(path: Path) -> None:
    path.with_name(f"{path.name}.key").unlink()
    warnings = Store(path).status().warnings
    assert "without the key nobody can tell whether the history was changed" in warnings
    assert any("of pending requests still in ledger.sqlite" in line for line in warnings)
