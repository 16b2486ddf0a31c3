"""Clocks that jump: the order of events stays, no deadline is delayed, and no model is kept longer."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from efface import Task
from efface.store import Store, ledger
from efface.store.clock import now as true_now
from helpers.store_cases import (
    QUICK,
    asked_for,
    context_of,
    copied,
    people,
)
from helpers.store_damage import (
    SEEN,
)


def test_a_clock_that_jumps_back(path: Path, task: Task, weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Store(path, task)
    before.add(people([77]), due=f"{true_now().date() - timedelta(days=1):%Y-%m-%d}")
    last = before.history().latest
    monkeypatch.setattr("efface.store.clock.now", lambda: datetime(2001, 1, 1, tzinfo=UTC))
    store = Store(path, task)
    assert [r.number for r in store.status().overdue] == [4]
    store.add(people([78]))
    asked = asked_for(store)
    store.run(QUICK)
    with context_of(store).reading() as snapshot:
        times = [event.at for event in ledger.read(snapshot.connection, snapshot.key)]
    assert times == sorted(times) and times[-1] >= last
    assert any("clock" in line and "event" in line for line in store.status().warnings)
    assert any("clock" in line for line in store.verify(level=None).warnings)
    SEEN["clock jumps back", "named", 0] += 1
    assert asked_for(store) == asked and store.status().pending == ()
    assert store.verify(level=None).problems == ()


def test_a_clock_that_jumps_back_keeps_no_superseded_model_longer(
    strict: Path, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copied(strict, tmp_path / "copy")
    monkeypatch.setattr("efface.store.clock.now", lambda: datetime(2001, 1, 1, tzinfo=UTC))
    Store(path, task).run(QUICK)
    assert len(list((path / "checkpoints").iterdir())) == 1
    SEEN["clock jumps back", "named", 0] += 1


def test_a_clock_that_jumped_forward_once_leaves_true_dates(
    path: Path, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("efface.store.clock.now", lambda: datetime(2099, 1, 1, tzinfo=UTC))
    Store(path, task).add(people([77]))
    monkeypatch.undo()
    day = datetime.now(UTC).date()
    store = Store(path, task)
    store.add(people([78]), due=f"{day + timedelta(days=30):%Y-%m-%d}")
    store.run(QUICK)
    known = store.request(5)
    assert known["in_time"] and known["honoured"][:10] in (f"{day:%Y-%m-%d}", f"{day + timedelta(days=1):%Y-%m-%d}")
    assert not [v for v in store.history().versions.values() if v.removed]  # its days of grace are not over
    ahead, behind, future = store.status().warnings
    assert "days ahead of the event before it" in ahead and "later events" in behind and "in the future" in future
