"""Making a store: everything is refused at once, and what is made is whole or is not there."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import TensorDataset

from efface.models.checkpoint import weights_digest
from efface.store import DriftLimits, StorageError, Store, StoreSettings
from efface.task import Task
from helpers.networks import Labelled
from helpers.store_cases import IDS
from helpers.store_verbs import everything, refused, serving
from helpers.tiny import Tiny, mlp, weights

SETTINGS = ("grace_days", "limits", "source", "task_path")


def test_a_new_store_serves_the_model(store: Store, tiny: Tiny, tmp_path: Path) -> None:
    assert serving(store) == weights(tiny.model)
    version = store.status().serving
    assert (version.number, version.kind, version.weights) == (1, "original", weights_digest(tiny.model))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["store", "store.key"]
    opened = Store(tmp_path / "store")
    assert opened.history() == store.history()
    assert opened.requests() == []


def test_a_power_cut_takes_away_neither_a_new_store_nor_its_key(
    tiny: Tiny, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names of both, and those of the folders in the store, are on the disk by then."""
    synced: set[int] = set()
    monkeypatch.setattr(os, "fsync", lambda number: synced.add(os.fstat(number).st_ino))
    for name in ("stores", "keys"):
        (tmp_path / name).mkdir()
    store = Store.create(tmp_path / "stores/a", task, tiny.model, key=tmp_path / "keys/a")
    folders = [p for p in tmp_path.rglob("*") if p.is_dir()]
    assert len(folders) == 6
    assert [p.name for p in folders if p.stat().st_ino not in synced] == []
    assert store.key_path.stat().st_ino in synced


def test_a_disk_that_fails_once_the_store_is_there_takes_its_key_from_it_no_more(
    tiny: Tiny, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(path: Path) -> None:
        if path == tmp_path:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr("efface.store.whole_folder.sync", fails)
    with pytest.raises(StorageError, match="Input/output error"):
        Store.create(tmp_path / "store", task, tiny.model)
    assert Store(tmp_path / "store").verify(level=None).problems == ()


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ({"folder": "taken"}, ["there is something already"]),
        ({"folder": "no/such/store"}, ["there is no folder"]),
        ({"key": "store/secret"}, ["the key must lie outside of the store"]),
        ({"key": "old.key"}, ["there is a file already, and a key is never replaced"]),
        ({"task": {"build_model": None}}, ["has no build_model"]),
        ({"task": {"holdout": TensorDataset(torch.zeros(0, 16), torch.zeros(0))}}, ["the holdout set is empty"]),
        ({"task": {"holdout": None}}, ["holdout is missing", "without a holdout"]),
        ({"task": {"ids": IDS[:-1]}}, ["expected one id for each of the 300 training records, got 299"]),
        ({"task": {"ids": (*IDS[:-1], IDS[0])}}, ["ids name more than one training record"]),
        ({"task": {"train": [1, 2, 3]}}, ["training records cannot be read"]),
        ({"model": "weights.pt"}, ["expected a torch.nn.Module"]),
        ({"model": mlp()}, ["the model knows nothing of its training records"]),
        ({"model": Labelled(["a"])}, ["state that is no tensor (_extra_state), which a store's weights files cannot"]),
        ({"grace_days": -1}, ["grace_days: expected a number from 0 to 365,000, got -1"]),
        ({"grace_days": float("nan")}, ["grace_days: expected a number"]),
        ({"grace_days": 1e10}, ["grace_days: expected a number from 0 to 365,000"]),
        ({"grace_days": "thirty"}, ["grace_days: expected a number"]),
        ({"limits": DriftLimits(changed=-0.1, accuracy=float("inf"))}, ["changed: expected", "accuracy: expected"]),
        ({"limits": DriftLimits(changed=1.5, accuracy=True)}, ["changed: expected a number from 0 to 1", "accuracy: "]),
        ({"source": 3}, ["source: expected the file that the model came from, got int"]),
        ({"task_path": 3}, ["task_path: expected text such as 'my_task:task', got int"]),
        ({"source": "no-such-file.pt"}, ["there is no such file, which the model is said to come from"]),
        ({"source": "taken"}, ["taken: is a folder without weights"]),
        ({"device": "abacus"}, ["abacus"]),
        (
            {
                "folder": "taken",
                "key": "old.key",
                "task": {"build_model": None, "holdout": []},
                "grace_days": -1,
                "source": "no-such-file.pt",
                "device": "abacus",
            },
            ["something already", "never replaced", "grace_days", "no such file", "abacus", "build_model", "holdout"],
        ),
    ],
)
def test_a_store_is_refused_with_every_reason_and_leaves_nothing(
    change: dict[str, Any], lines: list[str], tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "old.key").write_text("another store's")
    before = everything(tmp_path)
    given: dict[str, Any] = {"folder": "store", "model": tiny.model, **change}
    given["task"] = tiny.task(**{"build_model": mlp, **change.get("task", {})})
    settings = {name: given.pop(name) for name in SETTINGS if name in given}
    given["settings"] = StoreSettings(**settings)
    problems = refused(Store.create, given.pop("folder"), given.pop("task"), given.pop("model"), **given)
    assert len(problems) == len(lines), problems
    for line, problem in zip(lines, problems, strict=True):
        assert line in problem
    assert everything(tmp_path) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["old.key", "taken"]


def test_what_an_interrupted_create_left_is_named(tmp_path: Path, tiny: Tiny) -> None:
    (tmp_path / ".store.new").mkdir()
    (problem,) = refused(Store.create, tmp_path / "store", tiny.task(build_model=mlp), tiny.model)
    assert (
        ".store.new: a store is being made there (Store.create, or efface init), or was, and that was interrupted"
        in problem
    )


def test_settings_of_another_kind_are_refused(tmp_path: Path, tiny: Tiny) -> None:
    for settings in ({"grace_days": 3}, StoreSettings(limits={"changed": 0.1})):  # type: ignore[arg-type]
        (problem,) = refused(Store.create, tmp_path / "s", tiny.task(build_model=mlp), tiny.model, settings=settings)
        assert problem.startswith("settings: expected an efface.store.StoreSettings")


def test_the_source_may_be_the_folder_of_one_model(tmp_path: Path, tiny: Tiny) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_text("some weights")
    settings = StoreSettings(source=tmp_path / "model")
    wrapped = torch.nn.DataParallel(tiny.model)
    store = Store.create(tmp_path / "store", tiny.task(build_model=mlp), wrapped, settings=settings)
    assert store.history().source == str(tmp_path / "model" / "model.safetensors")
    assert store.status().serving.weights == weights_digest(tiny.model)
    assert load_file(store.current).keys() == tiny.model.state_dict().keys()


def test_a_task_that_is_none_is_refused(tmp_path: Path, tiny: Tiny) -> None:
    assert refused(Store.create, tmp_path / "store", "my_task:task", tiny.model) == (
        "task: expected an efface.Task, got str",
    )
    assert refused(Store, tmp_path / "store")[0].endswith(
        "make one (Store.create, or efface init), or name another (folder, or --store)"
    )
