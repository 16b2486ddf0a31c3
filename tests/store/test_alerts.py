"""What a store needs from the people who run it: each finding with its code, and nothing where all is well."""

import json
import shutil
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from efface import RequestError, Task
from efface.cli.failures import Code
from efface.store import DriftLimits, RunPlan, Store, StoreSettings, alerts
from helpers.command_line import run as command
from helpers.store_cases import IDS, QUICK, people
from helpers.store_verbs import DAY, at, interrupt
from helpers.tiny import Tiny


def found(store: Store, within_days: int | None = None) -> list[tuple[int, str]]:
    """Codes and findings, without those of drift, which is another test's business."""
    return [(alert.code, alert.what) for alert in store.alerts(within_days) if "retraining" not in alert.what]


def checked(store: Store, *words: str) -> int:
    return command("status", "--check", "--store", str(store.path), *words).exit_code


def test_codes_are_those_of_the_command_line() -> None:
    assert alerts.ORDER == (Code.DAMAGED, Code.NOT_VERIFIED, Code.DUE_SOON)


def test_a_store_in_order_needs_nothing(asked_store: Store) -> None:
    assert asked_store.alerts() == ()
    shown = command("status", "--check", "--within", "9", "--store", str(asked_store.path))
    assert (shown.exit_code, "The store needs nothing." in shown.stdout) == (0, True)
    assert "needs nothing" not in command("status", "--store", str(asked_store.path)).stdout


def test_what_is_due_and_what_is_due_soon(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, DAY)
    store.confirm_clock()
    for number, days in enumerate((-1, 0, 7, 8), 1):
        store.add([IDS[number]], due=(DAY + timedelta(days=days)).date())
    late, today, week = (
        (code, f"request {n} {verb} due on 2031-05-{day}")
        for n, code, verb, day in ((1, 3, "was", 16), (2, 9, "is", 17), (3, 9, "is", 24))
    )
    assert found(store) == [late]
    assert found(store, 0) == found(store, 6) == [late, today]
    assert found(store, 7) == [late, today, week]
    assert len(found(store, 8)) == len(found(store, 10**9)) == 4
    store.cancel(1)
    assert (checked(store), checked(store, "--within", "0"), checked(store, "--within", "7")) == (0, 9, 9)
    store.cancel(2)
    assert (checked(store, "--within", "6"), checked(store, "--within", "7")) == (0, 9)


@pytest.mark.parametrize(("conclusion", "codes"), [("left", [3]), ("open", []), ("cleared", []), ("none", [])])
def test_a_process_that_leaves_traces_needs_somebody(
    store: Store, conclusion: str, codes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence = replace(store.status().process, conclusion=conclusion, runs=30, records=90)
    monkeypatch.setattr(alerts, "process_evidence", lambda _: evidence)
    assert [alert.code for alert in store.alerts()] == codes
    if codes:
        (alert,) = store.alerts()
        assert alert.what == f"all runs together: {evidence.sentence}"
        assert alert.advice.startswith("efface run --retrain begins anew without them")
        assert checked(store) == 3


@pytest.mark.parametrize("days", [-1, 1.5, True, "7"])
def test_days_that_are_no_number_are_refused(store: Store, days: object) -> None:
    with pytest.raises(RequestError, match="within_days: expected a number of days, 0 or more"):
        store.alerts(days)  # type: ignore[arg-type]
    assert command("status", "--within", "7", "--store", str(store.path)).exit_code == 2


def test_a_checkpoint_in_service_that_is_damaged_comes_first(
    asked_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = asked_store
    store.add(people([11]), due="2031-05-16")
    at(monkeypatch, DAY)
    store.confirm_clock()
    file = store.current.resolve()
    good = file.read_bytes()
    file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert [code for code, _ in found(store)] == [4, 3]
    assert "was changed: its content does not have the hash that names it" in found(store)[0][1]
    assert checked(store) == 4
    assert command("status", "--store", str(store.path)).exit_code == 0  # only where somebody asks
    file.unlink()
    assert found(store)[0] == (4, f"checkpoints/{file.name} (version 1) is missing")
    other = store.path.parent / "elsewhere"
    other.write_bytes(good)
    file.symlink_to(other)
    assert "is a link" in found(store)[0][1] and checked(store) == 4
    file.unlink()
    file.write_bytes(good)
    assert checked(store) == 3


def test_ids_that_are_left_are_found(asked_store: Store) -> None:
    store = asked_store
    interrupt(store, QUICK, "run.truncated")
    assert found(store) == [(3, "deleted ids may still stand in ledger.sqlite or its log")]
    assert checked(store) == 3
    with store._context.folder.locked(0.0):  # a run that is at work puts it right
        assert found(store) == []
    store.run(QUICK)
    assert found(store) == []
    database = sqlite3.connect(store.path / "ledger.sqlite")
    columns = [row[1] for row in database.execute("PRAGMA table_info(pending_ids)")]
    assert columns[0] == "request"
    database.execute(f"INSERT INTO pending_ids VALUES (1{', 1' * (len(columns) - 1)})")
    database.commit()
    database.close()
    assert found(store) == [(3, "ledger.sqlite holds ids of requests that are not pending: 1")]


def test_models_that_should_be_gone_are_found(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(path)
    kept = store.history().versions[1]
    assert found(store) == []
    with monkeypatch.context() as patch:
        at(patch, datetime.now(UTC) + timedelta(days=40))
        ((code, what),) = found(store)
        assert (code, what[:62]) == (3, "version 1 knows forgotten records, and was to be removed by 20")
        assert checked(store) == 3
    folder = store._context.folder.path_of("checkpoints", kept.file).parent
    shutil.copy(folder / f"{kept.file}.safetensors", folder / f"{'0' * 64}.safetensors")
    assert [code for code, _ in found(store)] == [3] and "may know forgotten records" in found(store)[0][1]


def test_a_run_that_was_interrupted_is_found_unless_it_is_at_work(path: Path, task: Task) -> None:
    store = Store(path, task)
    interrupt(store, QUICK, "run.made")
    assert found(store) == [(3, "run 2 was interrupted")]
    with store._context.folder.locked(0.0):
        assert found(store) == []
    interrupt(store, QUICK, "link.synced")
    assert (3, f"{store.current} does not lead to version 3") in found(store)
    store.run(QUICK)
    assert found(store) == []


def test_a_missing_key_is_found_and_a_retired_store_needs_nothing(
    tmp_path: Path, tiny: Tiny, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = DriftLimits(changed=0, accuracy=1)
    store = Store.create(tmp_path / "store", task, tiny.model, settings=StoreSettings(limits=limits))
    store.add(people(range(5, 25)))  # a single one moves too little
    store.run(RunPlan(options={"steps": 20}, level=None))
    assert store.history().serving.drift["changed"] > 0  # type: ignore[index]
    assert [(a.code, a.what[:21]) for a in store.alerts()] == [(3, "a retraining is due: ")]
    assert checked(store) == 3
    key, away = store.key_path, tmp_path / "away"
    key.rename(away)
    assert (3, f"the key {key} is missing") in found(Store(store.path))
    away.rename(key)
    store.retire()
    assert Store(store.path).alerts() == ()


def test_a_model_that_was_replaced_meanwhile_is_not_called_damaged(
    strict_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run may end, and remove the model that was in service, while that is being read."""
    store, looks = strict_store, alerts.LOOKS
    store.add(people([5, 7]))

    def run_first(state: alerts.StoreState) -> object:
        monkeypatch.setattr(alerts, "LOOKS", looks)
        store.run(QUICK)
        return looks[0](state)

    monkeypatch.setattr(alerts, "LOOKS", (run_first,))
    assert found(store) == []


def test_as_json_alerts_are_a_list(asked_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_store.add(people([11]), due="2031-05-16")
    at(monkeypatch, DAY)
    asked_store.confirm_clock()
    shown = command("status", "--check", "--json", "--store", str(asked_store.path))
    document = json.loads(shown.stdout)
    assert document["alerts"] == [
        {"what": "request 2 was due on 2031-05-16", "code": 3, "advice": "efface run honours it"}
    ]
    assert "alerts" not in json.loads(command("status", "--json", "--store", str(asked_store.path)).stdout)
