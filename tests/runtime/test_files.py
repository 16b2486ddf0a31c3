"""Files are written whole or not at all, and unusable folders are said to be so."""

import os
from pathlib import Path

import pytest

from efface.errors import RequestError
from efface.runtime.files import as_path, atomic_write, check_writable, folder_problem, replace_durably


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_file_takes_the_place_of_the_old_one_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with atomic_write(target) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_no_temporary_one(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(error), atomic_write(target) as temporary:
        temporary.write_text("ne")
        raise error
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_failure_leaves_no_file_where_there_was_none(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("ne")
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_a_disk_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(number: int) -> None:
        raise OSError(28, "No space left on device")

    target = tmp_path / "a.txt"
    target.write_text("old")
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"), atomic_write(target) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_the_mode_is_that_of_new_files_or_the_one_given(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    for name, mode in (("default", None), ("secret", 0o600)):
        with atomic_write(tmp_path / name, mode) as temporary:
            assert mode_of(temporary) == (mode or mode_of(tmp_path / "usual"))
            temporary.write_text("x")
        assert mode_of(tmp_path / name) == (mode or mode_of(tmp_path / "usual"))


def test_the_mode_holds_where_a_writer_replaces_the_file(tmp_path: Path) -> None:
    """As safetensors does, whose own file only its owner can read."""
    (tmp_path / "usual").touch()
    with atomic_write(tmp_path / "a.txt") as temporary:
        own = tmp_path / "own"
        own.write_text("x")
        own.chmod(0o600)
        own.rename(temporary)
    assert mode_of(tmp_path / "a.txt") == mode_of(tmp_path / "usual")


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with atomic_write(target) as one, atomic_write(target) as other:
        one.write_text("first, and longer")
        other.write_text("second")
    assert target.read_text() == "first, and longer"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_folders_that_can_be_used_and_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, tmp_path / "new" / "below", Path("new"), Path(".")):
        assert folder_problem(folder) is None
        check_writable(folder, "cache")
    assert os.listdir(tmp_path) == []


def test_folders_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    assert folder_problem(tmp_path / "file") == "is not a folder"
    assert folder_problem(tmp_path / "file" / "below") == f"cannot be made in {tmp_path / 'file'}"
    with pytest.raises(RequestError) as refused:
        check_writable(tmp_path / "file", "cache")
    assert refused.value.problems == (f"cache {tmp_path / 'file'}: is not a folder",)
    # not by chmod, which does not stop a superuser
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert folder_problem(tmp_path) == "cannot be written to"
    assert folder_problem(tmp_path / "new") == f"cannot be made in {tmp_path}"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc")
def test_where_no_file_can_be_made_a_folder_is_refused_before_any_work() -> None:
    """Permissions alone would let a superuser write there."""
    assert folder_problem(Path("/proc")) == "cannot be written to"
    assert folder_problem(Path("/proc/x/below")) == "cannot be made in /proc"


@pytest.mark.parametrize("stage", ["block", "synced"])
def test_a_failure_before_the_name_is_given_leaves_what_was_there(tmp_path: Path, stage: str) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fails(reached: str) -> None:
        if reached == stage:
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"), atomic_write(path, reached=fails) as temporary:
        temporary.write_text("new")
        fails("block")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_the_place_of_an_empty_one(tmp_path: Path) -> None:
    made, place = tmp_path / "made", tmp_path / "place"
    for folder in (made, place):
        folder.mkdir()
    (made / "file").write_text("new")
    replace_durably(made, place)
    assert [p.name for p in tmp_path.rglob("*")] == ["place", "file"]
    made.mkdir()
    with pytest.raises(OSError):
        replace_durably(made, place)
    assert (place / "file").read_text() == "new"


def test_a_folder_and_the_names_in_it_are_on_the_disk_before_it_is_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "file").write_text("new")
    written = {name: (tmp_path / name).stat().st_ino for name in ("made", "made/file")}
    seen: list[int | str] = []
    monkeypatch.setattr(os, "fsync", lambda number: seen.append(os.fstat(number).st_ino))
    replace_durably(tmp_path / "made", tmp_path / "place", seen.append)
    assert seen == [written["made/file"], written["made"], "synced", "renamed"]


def test_a_link_is_replaced_and_what_it_leads_to_is_left_alone(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("old")
    (tmp_path / "made").symlink_to("new")
    replace_durably(tmp_path / "made", tmp_path / "link")
    assert os.readlink(tmp_path / "link") == "new"
    assert (tmp_path / "old").read_text() == "old"


def test_what_is_no_path_is_refused_by_the_name_of_its_argument() -> None:
    assert as_path("out", "a/b") == as_path("out", Path("a/b")) == Path("a/b")
    for value, kind in (
        (None, "None"),
        (3, "int"),
        (b"a", "bytes"),
        (Path, "the class Path: call it"),
        ("", "nothing"),
    ):
        with pytest.raises(RequestError) as caught:
            as_path("out", value)
        assert caught.value.problems == (f"out: expected a path, got {kind}",)
    with pytest.raises(RequestError, match="holds a NUL"):
        as_path("out", "a\0b")
