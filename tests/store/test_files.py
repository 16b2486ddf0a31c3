"""Files of a store: their owner alone reads them, and no link or name leads out of the store."""

import hashlib
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from efface import Task
from efface.errors import EffaceError, RequestError
from efface.store import DamagedError, Store
from efface.store.files import Folder
from helpers.store_cases import (
    ANEW,
    AUDITED,
    QUICK,
    context_of,
    people,
)
from helpers.store_damage import (
    SEEN,
    ends_well,
    keeps_serving,
    refuses,
    weights_files,
)
from helpers.tiny import Tiny


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder that is not the store's; nothing in it may change."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "mine.safetensors").write_bytes(b"mine")
    (folder / ".hidden").write_bytes(b"mine too")
    yield folder
    held = {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "given"}
    assert held == {"mine.safetensors": b"mine", ".hidden": b"mine too"}


@pytest.mark.parametrize(
    "name", ("checkpoints/planted.safetensors", "checkpoints/notes.txt", "baselines/x.safetensors")
)
def test_a_link_among_the_checkpoints(path: Path, task: Task, weights: str, outside: Path, name: str) -> None:
    (path / name).symlink_to(outside / "mine.safetensors")
    found = Store(path, task).verify(level=None).problems
    assert any(name in line for line in found), found
    SEEN["link that leads out", "named", 4] += 1
    if not name.endswith(".safetensors"):
        (path / name).unlink()
    ends_well(path, task, weights)
    assert not (path / name).is_symlink()


@pytest.mark.parametrize("name", (".head.tmp", ".current.tmp", "checkpoints/.new.safetensors", "reports/.new"))
def test_a_link_where_something_is_about_to_be_written(
    path: Path, task: Task, weights: str, outside: Path, name: str
) -> None:
    (path / name).symlink_to(outside if name == "reports/.new" else outside / "mine.safetensors")
    ends_well(path, task, weights, AUDITED)
    SEEN["link that leads out", "replaced", 0] += 1


def test_a_checkpoint_that_is_a_link(path: Path, task: Task, weights: str, outside: Path) -> None:
    file = (path / "current.safetensors").resolve()
    file.rename(outside / "given")
    file.symlink_to(outside / "given")
    assert any("is a link" in line for line in Store(path, task).verify(level=None).problems)
    keeps_serving(path, task, DamagedError, "is a link", "link that leads out")
    file.unlink()
    (outside / "given").rename(file)
    ends_well(path, task, weights)


@pytest.mark.parametrize("name", ("checkpoints", "baselines", "reports"))
def test_a_folder_that_is_a_link(path: Path, task: Task, weights: str, outside: Path, name: str) -> None:
    (path / name).rename(path.parent / "away")
    (path / name).symlink_to(outside)
    before = weights_files(path)
    for plan in (QUICK, ANEW):
        refuses(DamagedError, f"{name} is a link", "folder that is a link", lambda p=plan: Store(path, task).run(p))  # type: ignore[misc]
    assert weights_files(path) == before
    (path / name).unlink()
    (path.parent / "away").rename(path / name)
    ends_well(path, task, weights)


@pytest.mark.parametrize("target", ("mine", "itself", "nothing"))
def test_a_link_in_service_that_leads_elsewhere(
    path: Path, task: Task, weights: str, outside: Path, target: str
) -> None:
    link = path / "current.safetensors"
    link.unlink()
    link.symlink_to({"mine": outside / "mine.safetensors", "itself": link, "nothing": "/nowhere"}[target])
    assert any("current.safetensors" in line for line in Store(path, task).verify(level=None).problems)
    SEEN["link in service leads elsewhere", "named", 4] += 1
    ends_well(path, task, weights)


ESCAPE = "../../outside/mine"


FORGED: dict[str, tuple[str, dict[str, object]]] = {
    "checkpoint": ("version", {"file": ESCAPE}),
    "long path": ("version", {"file": f"{'a' * 64}/../../../outside/mine"}),
    "no text": ("version", {"file": 7}),
    "holdout answers": ("version", {"baseline": ESCAPE}),
    "unfinished": ("made", {"number": 2, "model": {"file": ESCAPE, "weights": ""}}),
    "report": ("audited", {"number": 1, "audit": {"status": "verified", "files": {ESCAPE: "0" * 64}}}),
    "report folder": ("began", {"number": "../../outside", "parent": 2, "requests": [], "plan": {}}),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_history_that_names_files_outside(path: Path, task: Task, weights: str, outside: Path, what: str) -> None:
    """Forged by somebody who has the key, so that the chain is fine."""
    kind, body = FORGED[what]
    whole = {name: (path / name).read_bytes() for name in ("ledger.sqlite", "head")}
    with context_of(Store(path, task)).writing() as transaction:
        if kind == "version":
            last = {
                name: getattr(transaction.history.serving, name)
                for name in (
                    "lineage",
                    "kind",
                    "weights",
                    "file",
                    "baseline",
                    "answers",
                    "first_outputs",
                    "drift",
                    "audit",
                )
            }
            body = {
                **last,
                "number": 3,
                "parent": 2,
                "run": None,
                "requests": [],
                "fingerprints": {},
                "contents": 1,
                **body,
            }
        if what == "unfinished":
            transaction.append("began", {"number": 2, "parent": 2, "requests": [2, 3], "plan": {}})
        if what == "report folder":
            transaction.append(kind, body)
            kind, body = "audited", {"number": body["number"], "audit": {"files": {"mine.safetensors": "0" * 64}}}
        transaction.append(kind, body)
    try:
        assert Store(path, task).verify(level=None).problems
    except DamagedError as error:
        assert "\n" not in str(error)
    superseded = str(context_of(Store(path, task)).history().first_outputs)  # a run that ends well leaves fewer of them
    before = weights_files(path)
    for call in (
        lambda: Store(path, task).run(QUICK),
        lambda: Store(path, task).rollback(2),
        lambda: Store(path, task).export(1, path.parent / "bundle"),
    ):
        try:
            call()
        except EffaceError as error:
            assert isinstance(error, DamagedError | RequestError)
    assert all(
        weights_files(path).get(name) == held
        for name, held in before.items()
        if not name.startswith("current") and superseded not in name
    )
    SEEN["event that names a file outside", "named", 4] += 1
    if what == "checkpoint":
        for name, held in whole.items():
            (path / name).write_bytes(held)
        ends_well(path, task, weights)


def test_a_history_that_names_places_outside_reads_and_writes_nothing_there(
    secret_store: Store, tmp_path: Path
) -> None:
    """Even where whoever wrote it had the key."""
    store = secret_store
    store.run(AUDITED)
    secret = tmp_path / "secret"
    secret.write_text("not for you")
    outside = hashlib.sha256(b"not for you").hexdigest()
    current = store.history().serving
    with context_of(store).writing() as transaction:
        audit = {"status": "verified", "reasons": [], "files": {"../../../secret": outside}}
        transaction.append("audited", {"number": 1, "audit": audit})
        version = {
            **{k: getattr(current, k) for k in ("lineage", "weights", "baseline", "answers", "drift", "audit")},
            **{"number": 3, "parent": 2, "kind": "unlearned", "run": None, "requests": [], "file": "../../secret"},
            "fingerprints": {},
            "contents": 1,
        }
        transaction.append("version", version)
    with pytest.raises(DamagedError, match="is not the report that was made"):
        store.export(1, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
    store.add(people([60]))
    for call in (lambda: store.run(QUICK), lambda: store.verify(level=None)):
        try:
            said = call()
        except DamagedError as error:
            assert "which is no SHA-256" in str(error)
        else:
            assert any("which is no SHA-256" in problem for problem in said.problems)  # type: ignore[union-attr]
    assert secret.read_text() == "not for you"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["secret", "store", "store.key"]


@pytest.mark.parametrize("digest", ["../../secret", "/etc/passwd", "..", "", "a" * 63, "A" * 64, "a" * 64 + "\n", "\0"])
def test_a_file_of_the_history_is_a_hash_or_nothing(store: Store, digest: str) -> None:
    folder = Folder(store.path)
    for kind in ("checkpoints", "baselines"):
        with pytest.raises(DamagedError, match="which is no SHA-256"):
            folder.path_of(kind, digest)
    with pytest.raises(DamagedError):
        folder.path_of("../elsewhere", "a" * 64)


def test_files_are_their_owners_alone_under_any_umask(
    tmp_path: Path, tiny: Tiny, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0)
    try:
        store = Store.create(tmp_path / "store", task, tiny.model)
        reader = sqlite3.connect(store.path / "ledger.sqlite", isolation_level=None)
        reader.execute("SELECT count(*) FROM events").fetchone()  # from now on the log stays there
        store.add(people([0, 1, 2, 40, 41]))
        for plan in (AUDITED, ANEW):
            store.run(plan)
        store.rollback(2)
        paths = [store.path, *store.path.rglob("*")]
        modes = {p.relative_to(tmp_path): stat.S_IMODE(p.stat().st_mode) for p in paths if not p.is_symlink()}
        reader.close()
        assert {str(p) for p, mode in modes.items() if mode not in (0o600, 0o700)} == set()
        assert {p for p, mode in modes.items() if mode == 0o700} == {
            p.relative_to(tmp_path) for p in paths if p.is_dir()
        }
        assert {"ledger.sqlite-wal", "head", "run.lock", "report.html"} <= {p.name for p in modes}
        assert stat.S_IMODE(store.key_path.stat().st_mode) == 0o600
        store.export(1, tmp_path / "bundle")
        assert stat.S_IMODE((tmp_path / "bundle").stat().st_mode) == 0o700
    finally:
        os.umask(before)
    assert store.verify(level=None).warnings == ()
    (store.path / "head").chmod(0o644)
    (warning,) = store.verify(level=None).warnings
    assert warning == f"{store.path / 'head'}: others than its owner may read it"
