"""What a run clears away: superseded models after their days of grace, the log, and what was left half-done."""

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from efface import Task
from efface.store import RunPlan, Store, StoreSettings, gc
from efface.store.context import StoreContext
from efface.store.run import UNCLEARED
from helpers.store_cases import (
    ANEW,
    QUICK,
    people,
    task_of,
)
from helpers.store_damage import (
    SEEN,
    ends_well,
)
from helpers.store_secrets import ANNA, ASKED, places, written
from helpers.store_verbs import DAY, at
from helpers.tiny import Tiny


def test_without_days_of_grace_superseded_checkpoints_go_at_once(tmp_path: Path, tiny: Tiny) -> None:
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model, settings=StoreSettings(grace_days=0))
    store.add(people([5]))
    store.run(QUICK)
    assert [p.stem for p in (store.path / "checkpoints").iterdir()] == [store.status().serving.file]
    assert store.history().versions[1].removed
    verification = store.verify()
    assert verification.problems == ()
    assert "version 1, which the lineage began with, was removed" in (verification.not_audited or "")
    assert store.verify(references=1, original=tiny.model).report is not None


def test_superseded_checkpoints_go_once_the_days_of_grace_are_over(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, DAY)
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model, settings=StoreSettings(grace_days=30))
    store.add(people([5]))
    store.run(QUICK)
    (own,) = [r for r in store.verify(level=None).leftovers if "in the store" in r.what]
    assert own.what == "version 1 in the store: knows the records of request 1"
    assert own.found
    assert own.advice == "kept for audits until 2031-06-16, then removed by the next run"
    at(monkeypatch, DAY + timedelta(days=29, hours=23))
    store.run(QUICK)
    assert not store.history().versions[1].removed
    at(monkeypatch, DAY + timedelta(days=30))
    assert store.run(QUICK).status == "nothing"
    assert store.history().versions[1].removed
    assert [p.stem for p in (store.path / "checkpoints").iterdir()] == [store.status().serving.file]
    assert not [r for r in store.verify(level=None).leftovers if "in the store" in r.what]


def test_a_version_that_knows_nothing_more_is_kept(tmp_path: Path, tiny: Tiny) -> None:
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model, settings=StoreSettings(grace_days=0))
    store.add(people([5]))
    store.run(QUICK)
    store.run(ANEW)
    assert [v.removed for v in store.history().versions.values()] == [True, False, False]
    assert store.rollback(2).number == 2


def test_old_versions_have_their_days_of_grace_from_when_they_knew_somebody(
    path: Path, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version out of service for months, which only now knows somebody, is kept for audits as any other."""
    store = Store(path, task)
    store.run(RunPlan(retrain=True, accept="any"))
    store.rollback(2) if not store.history().known_to(2) else None
    monkeypatch.setattr("efface.store.clock.now", lambda: datetime.now(UTC) + timedelta(days=40))
    store.add(people([90]))
    store.run(QUICK)
    history = store.history()
    assert not history.versions[3].removed  # knows request 4 alone, and since today
    assert history.versions[1].removed  # has known request 1 for longer than its days of grace


def test_reports_that_no_event_names_are_removed(path: Path, task: Task) -> None:
    stray = path / "reports" / "run-0009"
    stray.mkdir()
    (stray / "report.json").write_text("{}")
    assert any("reports/run-0009" in line for line in Store(path, task).verify(level=None).warnings)
    Store(path, task).run(QUICK)
    assert not stray.exists()
    assert (path / "reports" / "run-0001").is_dir()


def test_the_model_is_served_before_anything_else_that_may_take_long(
    path: Path, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(gc, "clear_ids", lambda core: seen.append(core.folder.serves(core.history().serving.file)))
    Store(path, task).run(QUICK)
    assert seen == [True, True]  # as an interrupted run is taken up, and after the run


def test_what_an_interrupted_run_left_is_cleared_away(path: Path, task: Task, weights: str) -> None:
    (path / "checkpoints/.new.safetensors").write_bytes(b"half")
    (path / "checkpoints/..new.safetensors.0123.tmp").write_bytes(b"half")
    (path / "baselines/.new.safetensors").write_bytes(b"half")
    (path / "checkpoints" / f"{'0' * 64}.safetensors").write_bytes(b"an orphan")
    (path / "reports/.new").mkdir()
    (path / "reports/.new/report.json").write_bytes(b"half")
    (path / ".head.tmp").write_bytes(b"half")
    (path / ".current.tmp").symlink_to("checkpoints")
    SEEN["leftovers of a run", "replaced", 0] += 7
    ends_well(path, task, weights)
    assert sorted(p.stem for p in (path / "checkpoints").iterdir()) == sorted(
        v.file for v in Store(path).history().versions.values()
    )


def test_a_reader_of_the_log_delays_its_end_and_is_named(
    secret_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = secret_store
    monkeypatch.setattr("efface.store.gc.TRIES", 1)
    reader = sqlite3.connect(store.path / "ledger.sqlite", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM pending_ids").fetchone()
    assert UNCLEARED in store.run(replace(QUICK)).warnings
    assert places(store.path, (ANNA,), written)  # in the log, which the reader still needs
    assert "deleted ids may still stand in the write-ahead log: efface run empties it" in store.status().warnings
    leftovers = [r.what for r in store.verify(level=None).leftovers if r.found]
    assert "ledger.sqlite-wal: ids that were deleted may still stand in it" in leftovers
    reader.close()
    assert store.run(QUICK).status == "nothing"
    assert places(store.path, ASKED, written) == []
    assert store.status().warnings == ()


def test_ids_deleted_while_the_log_is_emptied_are_not_taken_for_cleared(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = Store(path), Store(path)
    real = gc.truncate_log

    def slow(context: StoreContext) -> bool:
        done = real(context)
        with other._context.writing() as transaction:  # another process deletes ids just then
            transaction.append("cancelled", {"number": 3})
        return done

    with monkeypatch.context() as patch:
        patch.setattr(gc, "truncate_log", slow)
        store.cancel(2)
    assert store.history().uncleared
    gc.clear_ids(store._context)
    assert not store.history().uncleared
