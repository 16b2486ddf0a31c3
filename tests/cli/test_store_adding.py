"""`efface request add`: ids by what the store knows of them, rows that were deleted, and groups."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.command_line import make_workshop, run

INIT = ("init", "my_task:named", "--checkpoint", "model.safetensors", "--device", "cpu")
NAMES = [*range(100), *(f"u{at}" for at in range(100, 298)), "7", "Anna"]
# the ids are read from a file, so that a test can change them
NAMED = """

import json
from dataclasses import replace
from pathlib import Path


def named():
    ids = json.loads(Path("names.json").read_text())
    return task(train=records(len(ids), 0), ids=ids, groups=[f"family {at // 3}" for at in range(len(ids))])


def without_groups():
    return replace(named(), groups=None)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workshop")
    make_workshop(folder)
    (folder / "my_task.py").write_text((folder / "my_task.py").read_text() + NAMED)
    (folder / "names.json").write_text(json.dumps(NAMES))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run(*INIT).exit_code == 0
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder with a store of records that are named by integers and by texts."""
    shutil.copytree(made, tmp_path / "here", symlinks=True)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def added(place: Path, data: str, *words: str, code: int = 0, option: str = "--ids", name: str = "asked.txt") -> str:
    (place / name).write_text(data)
    result = run("request", "add", option, name, *words)
    assert result.exit_code == code, result.output
    return result.output


def answer(place: Path, *words: str) -> Any:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def unimportable(place: Path) -> None:
    (place / "my_task.py").write_text("raise RuntimeError('imported')")
    sys.modules.pop("my_task", None)


def test_types_of_known_ids_are_found_without_the_task(place: Path) -> None:
    unimportable(place)
    assert added(place, "5\nu100\n").startswith("Request 1: 2 records, pending.")
    assert answer(place, "request", "show", "1", "--ids")["ids"] == [5, "u100"]
    assert "line 1: '7' could be either: write JSON lines" in added(place, "7\n", code=2)
    assert added(place, '"7"\n', name="asked.jsonl").startswith("Request 2")
    assert "module my_task raised RuntimeError: imported" in added(place, "5\nu999\n", code=2)


def test_ids_that_the_store_does_not_know_are_looked_for_in_the_task(place: Path) -> None:
    said = added(place, "5\nu999\n", code=2)
    assert "1 id is not among the training records, and was never forgotten (if" in said and "'u999'" in said
    (place / "names.json").write_text(json.dumps([*NAMES[1:], 1000, "u999"]))
    said = added(place, "0\n5\n1000\nu999\n")
    assert said.startswith("Request 1: 4 records, pending.\n  2 of its records joined the training set later")
    assert "The store knows 2 of its records; 2 wait for a retraining.\nNext: efface run --retrain" in said
    assert answer(place, "request", "show", "1", "--ids")["ids"] == [0, 5, 1000, "u999"]


def test_deleted_rows_are_taken_where_it_is_said(place: Path) -> None:
    unimportable(place)
    assert "line 2: '5000' could be either" in added(place, "5\n5000\n", "--deleted", code=2)
    said = added(place, '5\n5000\n"anna"\n', "--deleted", "--due", "2999-01-01", name="asked.jsonl")
    assert "  2 of its records are not known to the store: honoured by the next retraining." in said
    assert "mistyped ones of records that the store knows: 'anna' for 'Anna'" in said
    shown = run("request", "show", "1").output
    assert "  known     1 of its records; 2 not: efface run --retrain honours them" in shown
    assert "Pending: request 1; efface run --retrain honours it." in run("status").output
    assert "3 (2 unknown)" in run("request", "list").output
    (listed,) = answer(place, "request", "list")["requests"]
    assert (listed["known"], listed["unknown"], listed["due"]) == (1, 2, "2999-01-01")


def test_ids_that_look_alike_are_told_of_with_and_without_the_task(place: Path) -> None:
    wanted = "Warning: 1 id looks like that of another record ('7'): ids are exact, so check it"
    assert wanted in added(place, '"7"\n5\n', name="asked.jsonl")
    (place / "names.json").write_text(json.dumps([*NAMES, "u999"]))
    said = added(place, '"7"\n"u999"\n', name="asked.jsonl")
    assert "Warning: 1 id that stays looks like a requested one, and is not the same (7 stays, '7' goes:" in said


def test_a_request_by_group(place: Path) -> None:
    said = added(place, "family 1\nfamily 40\n", option="--groups")
    assert said.startswith("Request 1: by group: 2 groups, 6 records, pending.")
    assert run("request", "show", "1").output.startswith("Request 1: by group: 2 groups, 6 records, pending\n")
    assert "6 (2 groups)" in run("request", "list").output
    (listed,) = answer(place, "request", "list")["requests"]
    assert len(listed["groups"]) == 2
    assert "'family 1' is" in added(place, "Family 1\n", option="--groups", code=2)
    assert "'family 1' is a key of Task.groups" in added(place, "family 1\n", code=2)
    assert "the task has none" in added(place, "a\n", "--task", "my_task:without_groups", option="--groups", code=2)
    said = added(place, "a\n", "--ids-format", "xml", option="--groups", code=2)
    assert "got 'xml' (--ids-format)" in said
    assert "asked.txt: names no group" in added(place, "\n", option="--groups", code=2)


def test_a_bundle_holds_no_tag_of_a_group(place: Path) -> None:
    added(place, "family 1\n", option="--groups")
    added(place, "family 1\nfamily 2\n", option="--groups")
    tags = {tag for request in answer(place, "request", "list")["requests"] for tag in request["groups"]}
    assert len(tags) == 2
    assert run("export", "1", "--out", "bundle").exit_code == 0
    # the receipt's PDF has compressed text, the same as its HTML's
    held = "".join(file.read_bytes().decode("latin-1") for file in (place / "bundle").iterdir())
    assert not [tag for tag in tags if tag in held or tag[:16] in held]
