"""A retired store keeps no id, and no model that knows forgotten records."""

from pathlib import Path

from efface import Task
from efface.store import Stage, Store
from helpers.command_line import run as command
from helpers.store_cases import all_bytes, people
from helpers.store_verbs import refused


def test_a_retired_store_keeps_no_id_and_no_model_that_knows(path: Path, task: Task) -> None:
    key = path.with_name(f"{path.name}.key")
    kept = key.read_bytes()
    shown = command("retire", "--store", str(path))
    assert shown.exit_code == 2 and "--yes does it" in shown.output and key.exists()
    done = command("retire", "--store", str(path), "--yes")
    assert done.exit_code == 0, done.output
    assert "2 pending requests were cancelled" in done.output
    assert not key.exists()
    assert b"@example.org" not in b"".join(all_bytes(path).values())
    assert len(list((path / "checkpoints").iterdir())) == 1
    seen = Store(path).status()
    assert seen.retired and "by efface retire" in seen.retired
    assert [r.stage for r in Store(path).requests()] == [Stage.HONOURED, Stage.CANCELLED, Stage.CANCELLED]
    key.write_bytes(kept)  # a copy of the key does not bring it back
    assert "the store was retired on" in refused(Store(path, task).add, people([77]))[0]
