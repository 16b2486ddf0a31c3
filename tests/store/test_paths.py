"""Any path that the file system takes works, for stores, keys, checkpoints and bundles; others are refused at once."""

import os
import shutil
from pathlib import Path

import pytest
from safetensors.torch import save_file

from efface import RequestError, Task
from efface.models.checkpoint import load_weights
from efface.store import Store, StoreSettings
from efface.store.place import MAX_PATH
from helpers.command_line import run
from helpers.store_cases import QUICK, people
from helpers.store_verbs import refused
from helpers.tiny import Tiny, mlp, weights

NAMES = [
    "what?now",
    "x?mode=memory&cache=shared",
    "q?check_same_thread=0&timeout=zz",
    "a%20b%",
    "a#b",
    "  blanks  ",
    "~",
    "lines\nand\ttabs",
    "ü 漢🙂",
    os.fsdecode(b"\xff\xfe"),
    "file:x?mode=ro",
    "[red]{a}*",
    "--json",
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_store_of_any_name(
    name: str, tmp_path: Path, tiny: Tiny, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store.create(name, task, tiny.model)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, f"{name}.key"])
    store.add(people([3]), note="by letter")
    monkeypatch.chdir("/")  # what was relative stays where it was
    opened = Store(tmp_path / name)
    assert (opened.ids(1), opened.note(1)) == (people([3]), "by letter")
    assert opened.verify(level=None).problems == ()
    opened.export(1, tmp_path / f"{name}.out")
    assert (tmp_path / f"{name}.out" / "request.json").is_file()


def test_a_run_in_a_folder_whose_name_is_no_text(tmp_path: Path, tiny: Tiny, task: Task) -> None:
    folder = tmp_path / os.fsdecode(b"\xff?%#")
    folder.mkdir()
    save_file(tiny.model.state_dict(), folder / "model.safetensors")
    model = mlp()
    load_weights(model, folder / "model.safetensors")
    assert weights(model) == weights(tiny.model)
    settings = StoreSettings(source=folder / "model.safetensors")
    store = Store.create(folder / "store", task, tiny.model, settings=settings)
    store.add(people([3]))
    assert store.run(QUICK).version is not None
    assert store.verify(level=None).problems == ()


@pytest.mark.parametrize("length", [MAX_PATH, MAX_PATH + 1])
def test_the_longest_path(length: int, tmp_path: Path, tiny: Tiny, task: Task) -> None:
    long = tmp_path
    while len(str(long)) + 202 < length:
        long = long / ("d" * 200)
    long = long / ("e" * (length - len(str(long)) - 1))
    long.parent.mkdir(parents=True)
    if length <= MAX_PATH:
        Store.create(long, task, tiny.model).add(people([3]))
        assert Store(long).verify(level=None).problems == ()
        (tmp_path / "link").symlink_to(long.parent)
        assert Store(tmp_path / "link" / long.name).ids(1) == people([3])
    else:
        assert "the path is too long (481 bytes" in refused(Store.create, long, task, tiny.model)[0]
        assert not any(long.parent.iterdir())


def test_a_name_that_no_file_may_have(tmp_path: Path, tiny: Tiny, task: Task) -> None:
    for name in ("b" * 251, "b" * 256, "/".join(["b" * 200] * 3)):
        assert "the path is too long" in refused(Store.create, tmp_path / name, task, tiny.model)[0]
    for name in ("b" * 256, "/".join(["b" * 200] * 30)):
        assert "the path is too long" in refused(Store, tmp_path / name)[0]
    assert list(tmp_path.iterdir()) == []
    assert "holds a NUL" in refused(Store, tmp_path / "a\0b")[0]


def test_a_store_by_other_names(store: Store, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add(people([3]))
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "mine"
    link.symlink_to(store.path)
    monkeypatch.chdir(store.path / "checkpoints")
    for name in (link, Path(".."), Path("../../store"), store.path / "checkpoints" / "..", Path("/proc/self/cwd/..")):
        opened = Store(name)
        assert (opened.retired, opened.ids(1)) == (None, people([3])), name
        assert opened.key_path.read_text() == store.key_path.read_text()
    assert Store(link).key_path == store.key_path  # beside what the link leads to
    shutil.copy(store.key_path, link.with_name("mine.key"))
    assert Store(link).key_path == link.with_name("mine.key")  # or beside the link
    with pytest.raises(RequestError, match=r"there is no store"):
        Store("~/store")


@pytest.mark.parametrize("how", ["plain", "folder link", "file link", "dots", "other case of the same folder"])
def test_a_key_within_the_store_is_refused_by_whatever_name(store: Store, tmp_path: Path, how: str) -> None:
    shutil.copy(store.key_path, store.path / "k")
    (tmp_path / "folder").symlink_to(store.path)
    (tmp_path / "file").symlink_to(store.path / "k")
    key = {
        "plain": store.path / "k",
        "folder link": tmp_path / "folder" / "k",
        "file link": tmp_path / "file",
        "dots": tmp_path / "store" / "checkpoints" / ".." / "k",
        "other case of the same folder": Path("/proc/self/root") / str(store.path / "k")[1:],
    }[how]
    assert "the key must lie outside of the store" in refused(Store, store.path, key=key)[0]
    assert "the key must lie outside of the store" in refused(Store, tmp_path / "folder", key=key)[0]
    (tmp_path / "fine").symlink_to(store.key_path)
    assert Store(tmp_path / "folder", key=tmp_path / "fine").retired is None


def test_a_new_key_is_never_made_in_the_store_or_where_it_is_built(tmp_path: Path, tiny: Tiny, task: Task) -> None:
    folder = tmp_path / "real" / "s"
    folder.parent.mkdir()
    (tmp_path / "link").symlink_to(folder.parent)
    for key in (
        folder / "k",
        folder.parent / ".s.new" / "k",
        tmp_path / "link" / ".s.new",
        tmp_path / "link" / "s" / "k",
    ):
        assert "the key must lie outside of the store" in refused(Store.create, folder, task, tiny.model, key=key)[0]
    assert list(folder.parent.iterdir()) == []
    made = Store.create(tmp_path / "link" / "s", task, tiny.model)
    assert made.key_path == tmp_path / "link" / "s.key" and Store(folder).retired is None


def test_a_working_folder_that_was_removed(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "the working folder was removed: give an absolute path" in refused(Store, "store")[0]
    assert Store(store.path).requests() == []
    assert run("status", "--store", "store").exit_code == 2


def test_a_bundle_goes_into_an_empty_folder_by_any_name(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    number = empty.stat().st_ino
    (tmp_path / "link").symlink_to(empty)
    monkeypatch.chdir(empty)
    store = Store(path)
    for out in (tmp_path / "link", Path("."), Path("../empty")):
        files = store.export(1, out)
        assert {f.name for f in files} == {p.name for p in empty.iterdir()} >= {"README.txt", "request.json"}
        assert empty.stat().st_ino == number and (tmp_path / "link").is_symlink()  # the same folder as before
        assert "is not an empty folder" in refused(store.export, 1, out)[0]
        for file in empty.iterdir():
            file.unlink()
    (tmp_path / "inside").symlink_to(store.path)
    for out in (store.path / "bundle", store.path, tmp_path / "inside" / "bundle"):
        assert "lies inside the store" in refused(store.export, 1, out)[0]
    assert not (store.path / "bundle").exists()


@pytest.mark.parametrize("name", ["b?mode=memory#%20", os.fsdecode(b"\xff~"), "--json"], ids=ascii)
def test_a_backup_of_any_name(path: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = path.with_name("store.key")
    Store(path).backup(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    made = Store.restore(name, f"{name} again", key=key, bring_back=True)
    assert made.path == tmp_path / f"{name} again"
    restored = Store(f"{name} again", key=key)
    assert restored.ids(2) == Store(path).ids(2)
    assert restored.verify(level=None).problems == ()
