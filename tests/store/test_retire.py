"""A retired store keeps no id and no model that knows; wherever a retirement stopped, the next call finishes it."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from efface import Task
from efface.store import BusyError, DamagedError, Stage, StorageError, Store, failpoints
from efface.store.failpoints import POINTS
from helpers.command_line import run as command
from helpers.store_cases import (
    IDS,
    QUICK,
    all_bytes,
    child_environment,
    kinds,
    people,
)
from helpers.store_damage import note_kills, refuses
from helpers.store_secrets import rows
from helpers.store_verbs import refused

FORKS = Path(__file__).parents[1] / "helpers" / "retire_forks.py"
OWN = [point for point in POINTS if point.startswith(("retire.", "retired.", "key."))]
TOO = (
    *("run.truncated", "cleared.before-commit", "removed.before-commit", "sweep.removing", "sweep.removed"),
    *("head.synced", "head.renamed"),
)
CASES = [
    *((f"{point}:kill",) for point in (*OWN, *TOO)),
    ("retire.begun:kill", "run.truncated:kill", "sweep.removing:kill", "retire.noted:kill", "key.overwritten:kill"),
    ("key.overwritten:kill", "key.removed:kill"),
    ("retire.before-commit:kill", "retire.before-commit:kill", "head.synced:kill:2"),
]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("retired")
    listed = folder / "cases.json"
    listed.write_text(json.dumps(CASES), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, FORKS, folder, listed], env=child_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads((folder / "seen.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("number", range(len(CASES)), ids=["-".join(points) for points in CASES])
def test_a_retirement_that_is_killed_is_finished_by_the_next(seen: list[dict[str, Any]], number: int) -> None:
    assert all(seen[number]["killed"]), f"ended with {seen[number]['codes']}: a point was not reached"
    assert not seen[number]["wrong"]
    note_kills("kill (retirement)", CASES[number], "finished by next")


@pytest.fixture
def key(path: Path) -> Path:
    """The key of `path`."""
    return path.with_name(f"{path.name}.key")


def left(path: Path) -> str:
    return " ".join(Store(path).status().unfinished_retirement)


def finished(path: Path) -> None:
    """Whether the next call finishes a retirement."""
    assert Store(path).retire() == [2, 3]
    assert (left(path), path.with_name(f"{path.name}.key").exists()) == ("", False)
    assert Store(path).status().retired == Store(path).status().retired is not None
    assert not any(name.encode() in held for held in all_bytes(path).values() for name in IDS)
    assert len(list((path / "checkpoints").iterdir())) == 1
    held = rows(Store(path))
    assert not (held["pending_ids"] or held["fingerprints"] or held["forgotten_content"])


def test_a_retired_store_keeps_no_id_and_no_model_that_knows(path: Path, task: Task, key: Path) -> None:
    kept = key.read_bytes()
    shown = command("retire", "--store", str(path))
    assert shown.exit_code == 2 and "--yes does it" in shown.output and key.exists()
    done = command("retire", "--store", str(path), "--yes")
    assert done.exit_code == 0, done.output
    assert "2 pending requests were cancelled" in done.output
    finished(path)
    assert Store(path).alerts() == ()
    assert "the store is retired already: on " in command("retire", "--store", str(path)).output
    seen = Store(path).status()
    assert seen.retired and "by efface retire" in seen.retired
    assert [r.stage for r in Store(path).requests()] == [Stage.HONOURED, Stage.CANCELLED, Stage.CANCELLED]
    key.write_bytes(kept)  # a copy of the key does not bring it back
    assert "the store was retired on" in refused(Store(path, task).add, people([77]))[0]
    assert left(path) == f"{key}: the key, with which ids can still be matched"
    assert command("status", "--store", str(path), "--check").exit_code == 3
    finished(path)


@pytest.mark.parametrize(
    "point", ["retire.before-commit", "cleared.before-commit", "removed.before-commit", "key.removed"]
)
def test_a_disk_that_is_full_somewhere(path: Path, task: Task, key: Path, point: str) -> None:
    failpoints.arm(f"{point}:full")
    error = refuses(StorageError, "No space left on device", "full disk (retire)", Store(path).retire)
    failpoints.disarm()
    if "retiring" not in kinds(Store(path)):
        assert point == "retire.before-commit" and Store(path).status().retired is None
        return
    assert (str(key) in left(path)) == key.exists()
    assert key.exists() == any("the retirement is unfinished: what is left: " in line for line in error.problems)
    words = ("the store is being retired since", "the store was retired on", "the key", "nothing was added")
    for verb in (lambda: Store(path, task).add(people([77])), lambda: Store(path, task).run(QUICK)):
        assert any(word in refused(verb)[0] for word in words)
    finished(path)


def test_a_key_that_cannot_be_written_to(path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(_: Path) -> None:
        raise OSError(30, "Read-only file system", str(key))

    with monkeypatch.context() as patch:
        patch.setattr("efface.store.keys._overwrite", read_only)
        for _ in range(2):
            error = refuses(StorageError, "Read-only file system", "read-only key", Store(path).retire)
            assert error.problems[1].startswith(f"the retirement is unfinished: what is left: {key}: the key")  # type: ignore[attr-defined]
    shown = command("status", "--store", str(path), "--check")
    assert shown.exit_code == 3
    (alert,) = Store(path).alerts()
    assert alert.what == f"the retirement is unfinished: {key}: the key, with which ids can still be matched"
    assert "Retirement is unfinished: what is left:" in shown.output and str(key) in shown.output.replace("\n", "")
    assert "--yes goes on with it" in command("retire", "--store", str(path)).output
    assert any("the retirement is unfinished" in line for line in Store(path).verify(level=None).warnings)
    finished(path)


def test_a_read_only_key_of_ones_own_is_destroyed(path: Path, key: Path) -> None:
    key.chmod(0o400)
    finished(path)


def test_a_key_that_is_removed_by_hand_ends_the_retirement(path: Path, key: Path) -> None:
    failpoints.arm("retire.noted:full")
    refuses(StorageError, "No space left", "full disk (retire)", Store(path).retire)
    failpoints.disarm()
    key.unlink()  # as the keeper of a mounted secret would
    assert left(path) == ""
    finished(path)


@pytest.mark.parametrize(
    ("point", "content"),
    [
        ("retire.begun", None),
        ("retire.begun", b"0" * 64),
        ("retire.cleared", b"0" * 64 + b"\n"),
        ("retire.noted", b"\0" * 65),
    ],
    ids=["no key", "zeros", "after the log", "at the end"],
)
def test_the_rest_is_done_without_the_key_too(path: Path, key: Path, point: str, content: bytes | None) -> None:
    failpoints.arm(f"{point}:full")
    refuses(StorageError, "No space left", "full disk (retire)", Store(path).retire)
    failpoints.disarm()
    knowing = f"{Store(path).history().versions[1].file}.safetensors (version 1): knows forgotten records"
    key.unlink() if content is None else key.write_bytes(content)
    assert (knowing in left(path)) == (point != "retire.noted")
    assert ("which holds nothing but zeros now" in left(path)) == (content is not None)
    finished(path)


def test_a_reader_of_the_log_delays_the_retirement(path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("efface.store.gc.TRIES", 1)
    reader = sqlite3.connect(path / "ledger.sqlite", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM pending_ids").fetchone()
    error = refuses(BusyError, "another process reads from it", "reader of the log (retire)", Store(path).retire)
    assert "ledger.sqlite-wal: deleted ids may still stand in it" in str(error)
    assert "ledger.sqlite-wal: deleted ids may still stand in it" in left(path)
    assert key.exists()
    reader.close()
    finished(path)


def test_a_key_whose_file_cannot_be_removed_is_destroyed(
    path: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = Path.unlink

    def busy(self: Path, missing_ok: bool = False) -> None:
        if self == key:
            raise OSError(16, "Device or resource busy", str(self))
        unlink(self, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", busy)
        refuses(StorageError, "the key is destroyed, but its file cannot be removed", "busy key", Store(path).retire)
        refuses(StorageError, "the key is destroyed, but its file cannot be removed", "busy key", Store(path).retire)
    assert not key.read_bytes().strip(b"0")
    assert left(path) == f"{key}: the file of the key, which holds nothing but zeros now, is still there"
    finished(path)


def test_a_key_behind_a_link_is_destroyed_too(path: Path, key: Path, tmp_path: Path) -> None:
    kept = key.rename(tmp_path / "elsewhere.key")
    key.symlink_to(kept)
    finished(path)
    assert not os.path.lexists(key) and not kept.read_bytes().strip(b"0")


def test_no_other_key_is_destroyed(path: Path, key: Path) -> None:
    store = Store(path)
    key.write_text("1" * 64)
    refuses(DamagedError, "is not the key of this store, so it was not destroyed", "another key", store.retire)
    assert key.read_text() == "1" * 64


def test_zeros_are_no_key_of_a_store_that_was_not_retired(path: Path, key: Path, task: Task) -> None:
    key.write_bytes(b"0" * 64)
    store = Store(path, task)
    assert "holds nothing but zeros" in (store.status().retired or "")
    for verb in (store.retire, lambda: store.cancel(2), lambda: store.run(QUICK)):
        assert "holds nothing but zeros" in refused(verb)[0]


def test_a_store_object_that_was_open_before_goes_on_with_nothing(path: Path, task: Task) -> None:
    other = Store(path, task)
    assert other.ids(2)
    finished(path)
    assert "the store was retired on" in refused(other.add, people([77]))[0]
    assert "the store was retired on" in refused(other.run, QUICK)[0]
    assert other.retire() == [2, 3]
    assert "the store was retired on" in refused(other.run, QUICK)[0]
    assert "the store was retired on" in refused(Store(path, task).run, QUICK)[0]


def test_an_interrupted_run_is_ended_and_leaves_nothing(path: Path, task: Task) -> None:
    failpoints.arm("checkpoint.written:full")
    with pytest.raises(Exception, match="No space left"):
        Store(path, task).run(QUICK)
    failpoints.disarm()
    assert [p.name for p in (path / "checkpoints").glob(".*")]
    assert Store(path).status().unfinished is not None
    finished(path)
    assert [r.stage for r in Store(path).history().runs.values()] == [Stage.DONE, Stage.ABANDONED]
