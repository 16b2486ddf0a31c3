"""What a review of the store asked for: forged heads and keys, verifying beside others at work, bundles, retiring."""

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from efface import Store, Task
from efface.store import BusyError, DamagedError, RunPlan, Stage, failpoints
from efface.store import gc as upkeep
from efface.store import verify as verifying
from efface.store.keys import make_key
from helpers import store_fixtures as given
from helpers.command_line import run as command
from helpers.store_cases import QUICK, all_bytes, people, served
from helpers.store_damage import by_hand
from helpers.store_verbs import refused
from helpers.tiny import Tiny, mlp

task, grown, path, fresh_points = given.task, given.grown, given.path, given.fresh_points


def test_a_run_that_died_before_the_link_was_set_is_seen(
    path: Path, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(failpoints.VARIABLE, "link.synced:full")
    with pytest.raises(Exception, match="No space left"):
        Store(path, task).run(QUICK)
    monkeypatch.delenv(failpoints.VARIABLE)
    seen = Store(path).status()
    assert seen.misplaced
    assert any("does not lead to version 3: efface run puts that right" in line for line in seen.warnings)
    assert command("status", "--store", str(path), "--check").exit_code == 3
    Store(path, task).run(QUICK)
    assert not Store(path).status().misplaced


def test_the_model_is_served_before_anything_else_that_may_take_long(
    path: Path, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(upkeep, "clear_ids", lambda core: seen.append(core.folder.serves(core.history().serving.file)))
    Store(path, task).run(QUICK)
    assert seen == [True, True]  # as an interrupted run is taken up, and after the run


def test_verifying_beside_others_at_work_finds_no_damage(
    path: Path, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, times = verifying._files, []

    def slow(*given: Any) -> Any:
        if not times:
            Store(path, task).add(people([77]))
        elif len(times) == 1:
            Store(path, task).run(QUICK)
        times.append(1)
        return real(*given)

    monkeypatch.setattr(verifying, "_files", slow)
    found = Store(path, task).verify(level=None)
    assert (found.problems, len(times)) == ((), 3)
    assert found.checked["requests"] == 4

    def never_quiet(*given: Any) -> Any:
        times.append(1)
        Store(path, task).add(people([80 + len(times)]))
        return real(*given)

    monkeypatch.setattr(verifying, "_files", never_quiet)
    with pytest.raises(BusyError, match="try again when it is quieter"):
        Store(path, task).verify(level=None)


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


def test_a_bundle_has_no_rows_of_others(path: Path, task: Task, tmp_path: Path) -> None:
    store = Store(path, task)
    store.run(RunPlan(options={"rounds": 2, "steps": 10}, references=1, accept="any"))
    store.export(2, tmp_path / "bundle")
    whole = json.loads((store.report_folder(2) / "report.json").read_text())
    own = json.loads((tmp_path / "bundle" / "report.json").read_text())
    request = store.request(2)
    assert 0 < len(own["records"]) < len(whole["records"])
    assert request["records"] - 1 == len(own["records"])  # one of its records was forgotten before
    others = {r["id"] for r in whole["records"]} - {r["id"] for r in own["records"]}
    text = b"".join(all_bytes(tmp_path / "bundle").values()).decode(errors="replace")
    assert others and not [name for name in others if name in text]
    assert "of other requests in the same run are left out" in own["notes"][-1]


def test_the_original_that_is_given_must_be_the_one(path: Path, task: Task, tiny: Tiny) -> None:
    store = Store(path, task)
    assert refused(store.verify, original=mlp()) == (
        "the model given is not version 1, which the lineage began with (--original)",
    )
    assert store.verify(original=tiny.model, references=1).report is not None


def test_add_at_any_moment_of_a_run_fails_nothing(path: Path, task: Task) -> None:
    """Requests for records that were forgotten before are honoured at once, which a run must not take for damage."""
    stop, raised = threading.Event(), []

    def ask() -> None:
        store, n = Store(path, task), 0
        while not stop.is_set() and n < 40:
            n += 1
            try:
                store.add(people(list(range(5, 65, 5))[: 1 + n % 11]), note=str(n))
            except Exception as error:
                raised.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(3):
            Store(path, task).run(replace(QUICK, retrain=False))
            Store(path, task).add(people([200 + len(Store(path).requests())]))
    finally:
        stop.set()
        asking.join()
    assert raised == []
    assert Store(path, task).verify(level=None).problems == ()


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
    told = store.request(5)
    assert told["in_time"] and told["honoured"][:10] in (f"{day:%Y-%m-%d}", f"{day + timedelta(days=1):%Y-%m-%d}")
    assert not [v for v in store.history().versions.values() if v.removed]  # its days of grace are not over
    clock = [line for line in store.status().warnings if "clock" in line]
    assert len(clock) == 1 and "later events" in clock[0]


def test_a_retrained_model_that_learned_nothing_is_not_served(path: Path, task: Task) -> None:
    def spoil(model: nn.Module, dataset: object, seed: int) -> None:
        for parameter in model.parameters():
            torch.nn.init.zeros_(parameter)

    store, before = Store(path, replace(task, fit=spoil)), served(path)
    outcome = store.run(RunPlan(retrain=True))
    assert (outcome.status, outcome.version) == ("retrained", None)
    assert "which is past the limit of 0.020" in outcome.reasons[0]
    assert served(path) == before
    assert [r.number for r in store.status().pending] == [2, 3]
    assert store.run(RunPlan(retrain=True, accept="any")).version is not None


def test_reports_that_no_event_names_are_removed(path: Path, task: Task) -> None:
    stray = path / "reports" / "run-0009"
    stray.mkdir()
    (stray / "report.json").write_text("{}")
    assert any("reports/run-0009" in line for line in Store(path, task).verify(level=None).warnings)
    Store(path, task).run(QUICK)
    assert not stray.exists()
    assert (path / "reports" / "run-0001").is_dir()


def test_a_retired_store_keeps_no_id_and_no_model_that_knows(path: Path, task: Task) -> None:
    key = path.with_name(f"{path.name}.key")
    kept = key.read_bytes()
    shown = command("retire", "--store", str(path))
    assert shown.exit_code == 2 and "--yes does it" in shown.output and key.exists()
    done = command("retire", "--store", str(path), "--yes")
    assert done.exit_code == 0, done.output
    assert "2 pending requests were cancelled" in done.output
    assert not key.exists()
    assert b"@example.org" not in b"".join(all_bytes(path).values())
    assert len(list((path / "checkpoints").iterdir())) == 1
    seen = Store(path).status()
    assert seen.retired and "by efface retire" in seen.retired
    assert [r.stage for r in Store(path).requests()] == [Stage.HONOURED, Stage.CANCELLED, Stage.CANCELLED]
    key.write_bytes(kept)  # a copy of the key does not bring it back
    assert "the store was retired on" in refused(Store(path, task).add, people([77]))[0]


def test_ids_left_by_a_key_that_was_lost_are_told(path: Path) -> None:
    path.with_name(f"{path.name}.key").unlink()
    warnings = Store(path).status().warnings
    assert "without the key nobody can tell whether the history was changed" in warnings
    assert any("ids of requests that were pending still stand in ledger.sqlite" in line for line in warnings)


def test_an_export_leaves_files_of_others_alone(path: Path, tmp_path: Path) -> None:
    (tmp_path / ".bundle.new").mkdir()
    (tmp_path / ".bundle.new" / "mine.txt").write_text("mine")
    Store(path).export(1, tmp_path / "bundle")
    assert (tmp_path / ".bundle.new" / "mine.txt").read_text() == "mine"


def test_a_key_that_others_may_read_is_told(path: Path, task: Task) -> None:
    path.with_name(f"{path.name}.key").chmod(0o644)
    assert any(".key: others than its owner may read it" in w for w in Store(path, task).verify(level=None).warnings)


def test_old_versions_have_their_days_of_grace_from_when_they_were_wrong(
    path: Path, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version out of service for months, which only now knows somebody, is kept for audits as any other."""
    store = Store(path, task)
    store.run(RunPlan(retrain=True, accept="any"))
    store.rollback(2) if not store.history().knows(2) else None
    monkeypatch.setattr("efface.store.clock.now", lambda: datetime.now(UTC) + timedelta(days=40))
    store.add(people([90]))
    store.run(QUICK)
    history = store.history()
    assert not history.versions[3].removed  # knows request 4 alone, and since today
    assert history.versions[1].removed  # has known request 1 for longer than its days of grace
