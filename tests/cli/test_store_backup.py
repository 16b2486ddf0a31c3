"""`efface backup`, `restore` and `head` on the command line: what they print, and how they end."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from helpers.command_line import make_workshop, run

INIT = ("init", "my_task:task", "--checkpoint", "model.safetensors", "--device", "cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store in which a request waits."""
    folder = tmp_path_factory.mktemp("workshop")
    make_workshop(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        said(*INIT)
        said("request", "add", "--ids", "ids.txt", "--note", "ticket 4711")
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that is the working folder."""
    shutil.copytree(made, tmp_path / "here", symlinks=True)
    monkeypatch.chdir(tmp_path / "here")
    for name in ("EFFACE_STORE", "EFFACE_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "here"


def said(*arguments: str, code: int = 0) -> str:
    """What a command prints; its exit code is checked."""
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return " ".join(result.output.split())


def answer_of(*arguments: str, code: int = 0) -> Any:
    """The JSON document that a command prints."""
    result = run(*arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_a_store_is_lost_and_restored(here: Path) -> None:
    noted = said("head")
    (here / "heads.txt").write_text(f"{noted}\n")
    shown = said("backup", "--out", "backup")
    assert shown.startswith(f"Backup made: {here / 'backup'}") and f"Note the head outside of both: {noted}" in shown
    assert "- ids of the pending request 1: the store deletes them" in shown
    assert f"The key is not in it: {here / 'efface-store.key'}" in shown
    assert "is not an empty folder" in said("backup", "--out", "backup", code=2)
    said("request", "cancel", "1")
    old = here / "old-store"
    (here / "efface-store").rename(old)
    refused = said("restore", "backup", "--head", "heads.txt", code=2)
    assert "this would bring back ids of request 1, pending when the backup was made" in refused
    assert "nothing was restored: bring_back=True, or --bring-back" in refused
    problems = answer_of("restore", "backup", "--against", "old-store", code=2)["problems"]
    assert "this would bring back request 1, cancelled since: pending again, with their ids" in problems
    shown = said("restore", "backup", "--against", "old-store", "--bring-back")
    assert shown.startswith(f"Store restored: {here / 'efface-store'}")
    assert "- came back: request 1, cancelled since" in shown and "Next: ask again for records" in shown
    assert "name the key to all commands" not in shown  # it lies where commands look for it
    assert "1 │ 36" in said("request", "list", "--pending")
    assert "restored from a backup" in said("verify", "--no-audit")
    assert "there is something already" in said("restore", "backup", code=2)


def test_a_head_that_was_noted_is_checked(here: Path) -> None:
    noted = said("head")
    assert answer_of("head")["head"] == noted
    event = int(noted.partition(":")[0])
    shutil.copytree(here / "efface-store", here / "copy", symlinks=True)
    assert said("head", "--check", noted) == f"The history holds what was noted: event {event}, the last one."
    said("request", "cancel", "1")
    assert said("head", "--check", noted) == f"The history holds what was noted: event {event}, with 2 after it."
    (here / "heads.txt").write_text(f"{noted}\n{said('head')}\n")
    assert answer_of("head", "--check", "heads.txt")["checked"][0] == noted
    shutil.rmtree(here / "efface-store")
    (here / "copy").rename(here / "efface-store")
    said("verify", "--no-audit", "--head", noted)
    assert "the store was put back to an older copy of itself" in said("head", "--check", "heads.txt", code=4)
    assert "the store is damaged" in answer_of("head", "--check", "heads.txt", code=4)["error"]
    assert "put back to an older copy" in said("verify", "--no-audit", "--head", "heads.txt", code=4)
    assert "expected SEQ:HASH" in said("head", "--check", "soon", code=2)


def test_no_command_takes_a_backup_for_a_store(here: Path) -> None:
    said("backup", "--out", "backup")
    for verb in (("status",), ("run",), ("verify",), ("request", "list"), ("retire", "--yes"), ("head",)):
        words = said(*verb, "--store", "backup", "--key", "efface-store.key", code=2)
        assert "is a backup of a store; make a store of it first" in words, verb


def test_what_a_backup_holds_as_json(here: Path) -> None:
    found = answer_of("backup", "--out", "backup")
    assert found["pending"] == [1] and found["knowing"] == [] and found["head"] == said("head")
    assert found["path"] == str(here / "backup") and len(found["holds"]) == 2
    done = answer_of("restore", "backup", "--store", "new", "--key", "efface-store.key", "--bring-back")
    assert done["head"] == said("head", "--store", "new", "--key", "efface-store.key")
    assert len(done["brought_back"]) == 2 and done["next_steps"][0].startswith("name the key to all commands")
