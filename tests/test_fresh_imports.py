"""Modules of one test's folder are not met by the next test."""

import importlib
import linecache
import sys
from pathlib import Path

import pytest

from helpers.command_line import UNLEARN, make_workshop, run, watch_forget
from helpers.fresh_imports import fresh_imports


def test_modules_packages_path_and_lines_are_undone(tmp_path: Path) -> None:
    path = list(sys.path)
    for name, value in (("one", 1), ("two", 2)):
        folder = tmp_path / name
        (folder / "space").mkdir(parents=True)  # a namespace package, which has no file
        (folder / "space" / "inner.py").write_text(f"value = {value}\n")
        (folder / "same.py").write_text(f"from space.inner import value\n# {name}\n")
        with fresh_imports(tmp_path):
            sys.path.insert(0, str(folder))
            assert importlib.import_module("same").value == value
            assert linecache.getline(str(folder / "same.py"), 2) == f"# {name}\n"
        assert not {"same", "space", "space.inner"} & set(sys.modules)
        assert sys.path == path
        assert not [p for c in (linecache.cache, sys.path_importer_cache) for p in c if p.startswith(str(tmp_path))]


def test_modules_of_other_folders_stay(tmp_path: Path) -> None:
    (tmp_path / "task").mkdir()
    beside = tmp_path / "task-2"  # its name begins with that of the other
    beside.mkdir()
    (beside / "stays.py").write_text("")
    with fresh_imports(tmp_path), pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(beside)
        module = importlib.import_module("stays")
        before = set(sys.modules)
        with fresh_imports(tmp_path / "task"):
            pass
        assert set(sys.modules) == before and sys.modules["stays"] is module


def ids_seen(folder: Path, ids: str) -> list[object]:
    """What the library is asked to forget, where the task of a folder has ids of its own."""
    make_workshop(folder)
    with (folder / "my_task.py").open("a") as file:
        file.write(f"\n\ndef own_ids():\n    return task(ids=[f'{ids}-{{i}}' for i in range(300)])\n")
    (folder / "ids.txt").write_text(f"{ids}-7\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        seen = watch_forget(patch)
        result = run("unlearn", "my_task:own_ids", *UNLEARN[2:])
        assert "enough seen" in result.stderr
    return seen


@pytest.mark.parametrize("ids", ["person", "patient"])
def test_two_tests_may_have_a_task_of_the_same_name(ids: str, tmp_path: Path) -> None:
    """The fixture of tests/conftest.py does it for every test: whichever of these runs second meets its own task."""
    assert "my_task" not in sys.modules
    assert ids_seen(tmp_path, ids) == [[f"{ids}-7"]]
    assert "my_task" in sys.modules
