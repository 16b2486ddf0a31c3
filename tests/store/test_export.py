"""Bundles hold the rows of their own request, and harm no files of others."""

import json
from pathlib import Path

from efface import Task
from efface.store import RunPlan, Store
from helpers.store_cases import all_bytes


def test_a_bundle_has_no_rows_of_others(path: Path, task: Task, tmp_path: Path) -> None:
    store = Store(path, task)
    store.run(RunPlan(options={"rounds": 2, "steps": 10}, references=1, accept="any"))
    store.export(2, tmp_path / "bundle")
    whole = json.loads((store.report_folder(2) / "report.json").read_text())
    own = json.loads((tmp_path / "bundle" / "report.json").read_text())
    request = store.request(2)
    assert 0 < len(own["records"]) < len(whole["records"])
    assert request["records"] - 1 == len(own["records"])  # one of its records was forgotten before
    others = {r["id"] for r in whole["records"]} - {r["id"] for r in own["records"]}
    text = b"".join(all_bytes(tmp_path / "bundle").values()).decode(errors="replace")
    assert others and not [name for name in others if name in text]
    assert "of other requests in the same run are left out" in own["notes"][-1]


def test_an_export_leaves_files_of_others_alone(path: Path, tmp_path: Path) -> None:
    (tmp_path / ".bundle.new").mkdir()
    (tmp_path / ".bundle.new" / "mine.txt").write_text("mine")
    Store(path).export(1, tmp_path / "bundle")
    assert (tmp_path / ".bundle.new" / "mine.txt").read_text() == "mine"
