"""Backups: one moment of a store that is in use, whole or not there, without the key and without deleted ids."""

import json
import os
import shutil
import sqlite3
import stat
from collections import namedtuple
from pathlib import Path

import pytest

from efface import Task
from efface.store import BusyError, DamagedError, StorageError, Store, backup, failpoints, gc, run
from efface.store.failpoints import POINTS
from helpers.store_cases import FIRST, QUICK, SECOND, THIRD, all_bytes, copied, people, plaintext
from helpers.store_damage import by_hand, flip, meaning
from helpers.store_verbs import refused

OWN = sorted({*SECOND, *THIRD} - set(FIRST))  # records of pending requests only


def restored(made: Path, like: Store) -> Store:
    """A store that is made of a backup, whatever comes back."""
    Store.restore(made, made.with_name("restored"), key=like.key_path, bring_back=True)
    return Store(made.with_name("restored"), key=like.key_path)


def test_a_backup_holds_all_but_the_key(path: Path, tmp_path: Path) -> None:
    store, before = Store(path), all_bytes(path)
    made = store.backup(tmp_path / "backup")
    assert all_bytes(path) == before
    assert (made.path, made.head) == (tmp_path / "backup", store.head())
    assert (made.pending, made.knowing, made.grace_days) == ((2, 3), (1,), 30)
    assert made.delete_by is not None and made.delete_by > made.taken[:10]
    assert "ids of the pending requests 2-3" in made.holds[0] and "version 1, which knows forgotten" in made.holds[1]
    assert made.delete_by in made.holds[1] and "30 days after the next run" in made.holds[2]
    held = all_bytes(made.path)
    assert {name: held[name] for name in before if name not in ("ledger.sqlite", "head.lock", "run.lock")}.items() <= (
        before.items()
    )
    assert sorted(set(held) - set(before)) == ["backup.json"]
    assert made.files == len([name for name in held if "/" in name])
    assert made.size == sum(len(held[name]) for name in held if name != "current.safetensors")
    secret = store.key_path.read_bytes().strip()
    assert not [
        name for name, content in held.items() if secret in content or bytes.fromhex(secret.decode()) in content
    ]
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in [made.path, *made.path.rglob("*")] if not p.is_symlink()}
    assert {modes[p.name] for p in made.path.rglob("*") if p.is_file() and not p.is_symlink()} == {0o600}
    assert modes["backup"] == modes["checkpoints"] == modes["reports"] == modes["run-0001"] == 0o700
    assert meaning(restored(made.path, store))["ids"] == meaning(store)["ids"]


def test_ids_that_were_deleted_are_not_in_a_backup_even_where_the_log_has_them(
    strict: Path, tmp_path: Path, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gc, "TRIES", 1)  # the reader stays for longer than that
    store = Store(copied(strict, tmp_path / "copy"), task)
    reader = sqlite3.connect(store.path / "ledger.sqlite", isolation_level=None)
    try:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM pending_ids").fetchone()
        Store(store.path, task).run(QUICK)
        store.add(people([77]))
        assert plaintext(store.path, OWN)  # so that the test can fail
        made = store.backup(tmp_path / "backup")
    finally:
        reader.close()
    assert not plaintext(made.path, {*FIRST, *SECOND, *THIRD})
    assert plaintext(made.path, [77])
    assert not list(made.path.glob("*-wal")) and not list(made.path.glob("*-shm"))


def test_a_backup_is_made_while_a_run_removes_what_it_copies(
    strict: Path, tmp_path: Path, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(copied(strict, tmp_path / "copy"))
    ran = []

    def reached(name: str) -> None:
        if name == "backup.database" and not ran:
            ran.append(Store(store.path, task).run(QUICK).version)

    monkeypatch.setattr(backup, "failpoint", reached)
    made = store.backup(tmp_path / "backup")
    assert ran and made.head == store.head()
    assert made.pending == ()
    assert made.files == len([name for name in all_bytes(store.path) if "/" in name])
    assert not plaintext(made.path, {*FIRST, *SECOND, *THIRD})
    assert restored(made.path, store).verify(level=None).problems == ()


def test_backups_at_every_moment_of_a_run_hold_the_state_before_it_or_after_it(
    strict: Path, tmp_path: Path, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copied(strict, tmp_path / "copy")
    before = ("run.task-read", "made.before-commit", "version.appended", "version.before-commit")
    behind = ("run.committed", "cleared.before-commit", "removed.before-commit", "sweep.removed")
    seen: dict[str, tuple[int, ...]] = {}

    def reached(name: str) -> None:
        if name in before + behind and name not in seen:
            made = Store(path).backup(tmp_path / name)
            seen[name] = made.pending
            assert bool(plaintext(made.path, OWN)) == bool(made.pending), name

    for module in (run, gc):
        monkeypatch.setattr(module, "failpoint", reached)
    Store(path, task).run(QUICK)
    assert seen == {**dict.fromkeys(before, (2, 3)), **dict.fromkeys(behind, ())}


def test_a_backup_of_a_store_that_never_rests_is_given_up(
    strict: Path, tmp_path: Path, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copied(strict, tmp_path / "copy")
    hidden = tmp_path / "hidden"
    (path / "checkpoints").rename(hidden)
    (path / "checkpoints").mkdir()
    ids = iter(range(200, 300))

    def reached(name: str) -> None:
        if name == "backup.database":
            Store(path, task).add(people([next(ids)]))

    monkeypatch.setattr(backup, "failpoint", reached)
    with pytest.raises(BusyError, match="kept removing files"):
        Store(path).backup(tmp_path / "backup")
    assert next(ids) == 200 + backup.TRIES
    assert not (tmp_path / "backup").exists() and not (tmp_path / ".backup.new").exists()


@pytest.mark.parametrize("harm", ["checkpoint", "gone", "report", "link", "row"])
def test_a_damaged_store_gives_no_backup(path: Path, tmp_path: Path, harm: str) -> None:
    store = Store(path)
    checkpoint = (path / "current.safetensors").resolve()
    if harm == "checkpoint":
        flip(checkpoint, 8 * 3000)
    elif harm == "gone":
        next(p for p in (path / "checkpoints").iterdir() if p != checkpoint).unlink()
    elif harm == "report":
        (path / "reports" / "run-0001" / "report.json").write_text("{}")
    elif harm == "link":
        checkpoint.rename(tmp_path / "elsewhere")
        checkpoint.symlink_to(tmp_path / "elsewhere")
    else:
        with by_hand(path) as raw:
            raw.execute("UPDATE tags SET tag = zeroblob(32) WHERE request = 2 AND place = 0")
    words = {
        "checkpoint": r"checkpoints/.* \(version 2\) was changed",
        "gone": r"checkpoints/.* \(version 1\) is missing",
        "report": "reports/run-0001/report.json was changed",
        "link": "is a link",
        "row": "the store is damaged, so no backup was made: tags: row 0 of request 2",
    }
    with pytest.raises(DamagedError, match=words[harm]):
        store.backup(tmp_path / "backup")
    assert not (tmp_path / "backup").exists() and not (tmp_path / ".backup.new").exists()


def test_places_that_no_backup_can_be_made_at(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "round").symlink_to(path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "to-empty").symlink_to(tmp_path / "empty")
    (tmp_path / ".half.new").mkdir()
    before = all_bytes(tmp_path)
    for out, words in {
        tmp_path / "full": "is not an empty folder, and a backup never replaces another",
        tmp_path / "file": "is there already, and is no folder",
        Path("/proc"): "cannot be written to",
        tmp_path / "no" / "such": "there is no folder",
        path: "lies in a store or a backup",
        path / "backups": "lies in a store or a backup",
        tmp_path / "round" / "x": "lies in a store or a backup",
        tmp_path / "half": ".half.new: a backup is being made there, or was, and that was interrupted",
    }.items():
        (problem,) = refused(store.backup, out)
        assert words in problem, out
    assert refused(store.backup, 3) == ("out: expected a path, got int",)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6, 12))
    with pytest.raises(StorageError, match=r"too little room: [0-9,]+ bytes are needed and 12 are free"):
        store.backup(tmp_path / "new")
    assert all_bytes(tmp_path) == before
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path / "empty")
    (problem,) = refused(store.backup, ".")
    assert "is a disk or the working folder, and a backup needs a folder of its own" in problem
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("os.path.ismount", lambda path: path == tmp_path / "empty")
        (problem,) = refused(store.backup, "empty")
    assert "is a disk or the working folder" in problem
    assert store.backup("to-empty").path == tmp_path / "empty"
    (problem,) = refused(store.backup, tmp_path / "empty" / "x")
    assert "lies in a store or a backup" in problem


@pytest.mark.parametrize("name", ["a b", "q?x=1", "per%41cent", "ünï\t", "..x", os.fsdecode(b"od\xff"), "~"])
def test_a_backup_has_any_name(path: Path, tmp_path: Path, name: str) -> None:
    store = Store(path)
    made = store.backup(tmp_path / name)
    done = Store.restore(made.path, tmp_path / f"{name}-restored", key=store.key_path, bring_back=True)
    assert (made.path, done.path) == (tmp_path / name, tmp_path / f"{name}-restored")
    assert Store(done.path, key=store.key_path).requests() == store.requests()


def test_without_its_key_or_once_retired_a_store_gives_no_backup(path: Path, tmp_path: Path) -> None:
    key = path.with_name(f"{path.name}.key")
    kept = key.read_bytes()
    key.unlink()
    (problem,) = refused(Store(path).backup, tmp_path / "backup")
    assert f"the key {key} is missing" in problem
    key.write_bytes(kept)
    Store(path).retire()
    key.write_bytes(kept)
    (problem,) = refused(Store(path).backup, tmp_path / "backup")
    assert "is retired, and a backup would keep what was to end" in problem
    assert not (tmp_path / "backup").exists() and not (tmp_path / ".backup.new").exists()


def test_no_command_puts_a_backup_to_work(path: Path, tmp_path: Path) -> None:
    made = Store(path).backup(tmp_path / "backup")
    (problem,) = refused(Store, made.path, key=path.with_name(f"{path.name}.key"))
    assert problem.startswith(f"{made.path}: is a backup of a store; make a store of it first (Store.restore,")
    assert json.loads((made.path / "backup.json").read_text())["about"].startswith("A backup of a store of efface")


@pytest.mark.parametrize("point", [p for p in POINTS if p.startswith("backup.")])
def test_a_full_disk_leaves_nothing_or_the_whole(path: Path, tmp_path: Path, point: str) -> None:
    store = Store(path)
    failpoints.arm(f"{point}:full")
    with pytest.raises(StorageError, match="No space left"):
        store.backup(tmp_path / "backup")
    failpoints.disarm()
    assert not (tmp_path / ".backup.new").exists()
    if point == "backup.renamed":
        assert restored(tmp_path / "backup", store).verify(level=None).problems == ()
    else:
        assert store.backup(tmp_path / "backup").head == store.head()
