"""Where a bundle is written: all files of it or none, for their owner alone, into a new folder or an empty one."""

import os
import signal
import stat
from pathlib import Path

import pytest

from efface import RequestError
from efface.store import BusyError, StorageError, Store, failpoints
from efface.store import export as export_module
from efface.store.failpoints import BUNDLE_POINTS
from helpers.store_cases import all_bytes
from helpers.store_damage import note_kills
from helpers.store_forks import ended, started

FILES = ["README.txt", "receipt.html", "receipt.pdf", "request.html", "request.json"]
PLACES = ("new", "empty", "link", "working folder")
# files are moved singly only within a folder that must stay
REACHED = [
    (point, where)
    for where in PLACES
    for point in BUNDLE_POINTS
    if point != ("bundle.renamed" if where == "working folder" else "bundle.moved")
]


def place(where: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """What is given as `out`, and the folder that is to hold the files."""
    target = folder / "place" / "bundle"
    target.parent.mkdir()
    if where != "new":
        target.mkdir()
    if where == "link":
        (folder / "link").symlink_to(Path("place") / "bundle")
        return folder / "link", target
    if where == "working folder":
        monkeypatch.chdir(target)
        return Path(), target
    return target, target


def names(folder: Path) -> list[str]:
    """What stands in a folder; nothing where there is none."""
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("where", PLACES)
def test_a_bundle_is_written_for_its_owner_alone(
    where: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, target = place(where, tmp_path, monkeypatch)
    before = os.umask(0)
    try:
        written = Store(path).export(1, out)
    finally:
        os.umask(before)
    assert written == [out / name for name in FILES] and all(file.is_file() for file in written)
    assert names(target) == FILES and names(target.parent) == ["bundle"]
    assert {stat.S_IMODE((target / name).stat().st_mode) for name in FILES} == {0o600}
    if where == "working folder":
        assert names(Path.cwd()) == FILES  # it is still there for whoever stands in it
    if where == "new":
        assert stat.S_IMODE(target.stat().st_mode) == 0o700


@pytest.mark.parametrize(("point", "where"), REACHED)
def test_a_full_disk_leaves_nothing(
    point: str, where: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, target = place(where, tmp_path, monkeypatch)
    failpoints.arm(f"{point}:full")
    with pytest.raises(StorageError):
        Store(path).export(1, out)
    failpoints.disarm()
    left = FILES if point == "bundle.renamed" else []  # then all of it is there
    assert names(target) == left
    assert names(target.parent) == (["bundle"] if where != "new" or left else [])
    if not left:
        assert Store(path).export(1, out)


@pytest.mark.parametrize("where", PLACES)
def test_a_kill_leaves_all_or_nothing_and_the_next_names_it(
    where: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [point for point, reached_in in REACHED if reached_in == where]
    for number, point in enumerate(points):
        folder = tmp_path / str(number)
        folder.mkdir()
        out, target = place(where, folder, monkeypatch)

        def work(out: Path = out, point: str = point) -> None:
            failpoints.arm(f"{point}:kill")
            Store(path).export(1, out)

        assert ended(started(work)) == -signal.SIGKILL
        note_kills("kill (bundle)", [point], "all or nothing")
        if point == "bundle.renamed":
            assert names(target) == FILES and names(target.parent) == ["bundle"]
            continue
        staging = target / ".unfinished" if where == "working folder" else target.parent / ".bundle.unfinished"
        assert staging.is_dir() and stat.S_IMODE(staging.stat().st_mode) == 0o700
        assert where == "working folder" or names(target) == []
        with pytest.raises(RequestError, match="a bundle is being written there, or was"):
            Store(path).export(1, out)


def test_places_that_are_refused(path: Path, tmp_path: Path) -> None:
    store = Store(path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "to-full").symlink_to("full")
    (tmp_path / "nowhere").symlink_to("absent")
    (tmp_path / "to-store").symlink_to(path)
    before = all_bytes(path)
    for out, said in {
        "file": "is not an empty folder",
        "full": "is not an empty folder",
        "to-full": "is not an empty folder",
        "nowhere": "is a link that leads nowhere",
        "/": "is not an empty folder",
        "absent/bundle": "there is no folder",
        "file/bundle": "there is no folder",
        "to-store/bundle": "lies inside the store",
        "to-store": "lies inside the store",
    }.items():
        with pytest.raises(RequestError, match=said) as refused:
            store.export(99, tmp_path / out)
        assert any("there is no request 99" in problem for problem in refused.value.problems)
    assert all_bytes(path) == before
    assert names(tmp_path) == ["copy", "file", "full", "nowhere", "to-full", "to-store"]


def test_an_export_leaves_files_of_others_alone(path: Path, tmp_path: Path) -> None:
    (tmp_path / ".bundle.new").mkdir()
    (tmp_path / ".bundle.new" / "mine.txt").write_text("mine")
    Store(path).export(1, tmp_path / "bundle")
    assert (tmp_path / ".bundle.new" / "mine.txt").read_text() == "mine"


def test_a_folder_that_was_filled_meanwhile_is_not_replaced(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "bundle"
    out.mkdir()

    def fill(point: str) -> None:
        if point == "bundle.written":
            (out / "mine.txt").write_text("mine")

    monkeypatch.setattr(export_module, "failpoint", fill)
    with pytest.raises(StorageError):
        Store(path).export(1, out)
    assert names(out) == ["mine.txt"] and ".bundle.unfinished" not in names(tmp_path)


def test_two_exports_to_one_place_do_not_mix(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, out, said = Store(path), tmp_path / "bundle", []

    def another(point: str) -> None:
        if point == "bundle.folder":
            monkeypatch.undo()
            with pytest.raises((RequestError, BusyError)) as refused:
                Store(path).export(2, out)
            said.append(str(refused.value))

    monkeypatch.setattr(export_module, "failpoint", another)
    store.export(1, out)
    assert "a bundle is being written there" in said[0]
    assert store.request(1)["reference"] in (out / "README.txt").read_text()
