"""Copies of a store that are interrupted at any point, or made while others use it, are whole or are not there."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from efface.store.failpoints import POINTS
from helpers.store_cases import child_environment
from helpers.store_copies import BACKUPS
from helpers.store_damage import note_kills

COPIES = Path(__file__).parents[1] / "helpers/store_copies.py"
BACKUP = [p for p in POINTS if p.startswith("backup.")]
RESTORE = [p for p in POINTS if p.startswith(("restore.", "restored."))]
MARKED, RENAMED = ("backup.marked", "backup.synced"), ("backup.renamed", "restore.renamed")
UNMARKED = ("restore.unmarked", "restore.synced")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the processes of store_copies.py saw."""
    folder = tmp_path_factory.mktemp("copies")
    done = subprocess.run([sys.executable, COPIES, folder], env=child_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(json.loads((folder / "seen.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("point", BACKUP)
def test_a_killed_backup_is_whole_or_none(seen: dict[str, Any], point: str) -> None:
    case = seen["points"][point]
    assert case["killed"] and case["wrong"] == []
    assert case["there"] == (point in RENAMED) != case["left"]
    note_kills("kill (backup)", [point], "whole or none")
    if case["left"]:
        marked = "is a backup of a store; make a store of it first"
        assert marked in case["half opened"] or (
            point == "backup.folder" and "there is no store" in case["half opened"]
        )
        assert case["after"] == "done"  # once what was left is out of the way
        assert ".backup.new: a backup is being made there, or was, and that was interrupted" in case["again"]
        if point in MARKED:
            assert case["half restored"] == "done"
        else:
            assert "was not finished, so it is no backup: remove it" in case["half restored"]


@pytest.mark.parametrize("point", RESTORE)
def test_a_killed_restoration_is_whole_or_none(seen: dict[str, Any], point: str) -> None:
    case = seen["points"][point]
    assert case["killed"] and case["wrong"] == []
    assert case["there"] == (point in RENAMED) != case["left"]
    note_kills("kill (restoration)", [point], "whole or none")
    if case["left"]:
        assert (case["half opened"] == "done") == (point in UNMARKED)  # then it is whole
        assert ".new.new: a store is being" in case["again"] and "remove it" in case["again"]


def test_backups_while_another_process_adds_requests(seen: dict[str, Any]) -> None:
    found = seen["adding"]
    assert found["code"] == 0 and found["wrong"] == found["after"] == []
    assert len(found["events"]) == 1 + BACKUPS
    assert all(before < after for before, after in pairwise(found["events"]))
