"""Which file the weights of a model are in: endings, folders of one model, and shards with their index."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from efface.models.checkpoint import load_weights, weights_digest
from efface.models.weights_file import find_weights
from helpers.weights import is_read, network, refusal, state

INDEX = "model.safetensors.index.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def shard(folder: Path, **changes: Any) -> Path:
    """A model in two shards, with some entries of the index's map changed; None takes one out."""
    parts = [{k: v for k, v in state().items() if k.startswith(layer)} for layer in ("0.", "1.")]
    listed = {name: file for file, part in zip(SHARDS, parts, strict=True) for name in part}
    for file, part in zip(SHARDS, parts, strict=True):
        save_file(part, folder / file)
    listed |= changes
    listed = {name: file for name, file in listed.items() if file is not None}
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": listed}))
    return folder


def test_a_folder_of_one_model(folder: Path) -> None:
    save_file(state(), folder / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "training_args.bin", "rng_state.pth"):
        torch.save([1], folder / name)
    assert is_read(folder) and is_read(folder / "model.safetensors")


def test_a_folder_of_the_older_format(folder: Path) -> None:
    torch.save(state(), folder / "pytorch_model.bin")
    torch.save([1], folder / "training_args.bin")
    assert is_read(folder)


def test_a_folder_with_one_file_of_any_name(folder: Path) -> None:
    torch.save({"state_dict": state(prefix="model.")}, folder / "epoch=3.ckpt")
    assert is_read(folder)


@pytest.mark.parametrize("end", ["safetensors", "bin"])
def test_shards_are_joined(folder: Path, end: str) -> None:
    shard(folder)
    if end == "bin":
        names = {name: name.replace("model-", "pytorch_model-").replace(".safetensors", ".bin") for name in SHARDS}
        index = json.loads((folder / INDEX).read_text())["weight_map"]
        for name, new in names.items():
            torch.save({k: v for k, v in state().items() if index[k] == name}, folder / new)
            (folder / name).unlink()
        (folder / INDEX).unlink()
        listed = {k: names[v] for k, v in index.items()}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": listed}))
    assert is_read(folder)
    assert is_read(find_weights(folder).path)
    assert len(find_weights(folder).files) == 3


def test_several_models_are_refused_by_name(folder: Path) -> None:
    for name in ("b.pt", "a.safetensors", "c.pth"):
        (folder / name).touch()
    assert refusal(folder) == f"{folder}: holds a.safetensors, b.pt, c.pth: name one, such as {folder}/a.safetensors"
    shard(folder)
    torch.save(state(1), folder / "pytorch_model.bin")
    line = refusal(folder)
    assert line == f"{folder}: holds {INDEX}, pytorch_model.bin: name one, such as {folder}/{INDEX}"


def test_a_link_that_leads_nowhere_does_not_make_room_for_another_file(folder: Path) -> None:
    (folder / "model.safetensors").symlink_to(folder / "absent.safetensors")
    torch.save(state(1), folder / "pytorch_model.bin")
    assert "holds model.safetensors, pytorch_model.bin: name one" in refusal(folder)
    (folder / "pytorch_model.bin").unlink()
    assert "model.safetensors: there is no such file" in refusal(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"0.bias": "../x.safetensors"}, "lists files that do not lie beside it: '../x.safetensors'"),
        ({"0.bias": "/etc/x.safetensors"}, "lists files that do not lie beside it: '/etc/x.safetensors'"),
        ({"0.bias": "a/x.safetensors"}, "lists files that do not lie beside it: 'a/x.safetensors'"),
        ({"0.bias": "a\\x.safetensors"}, "lists files that do not lie beside it"),
        ({"0.bias": "x\0.safetensors"}, "lists files that do not lie beside it"),
        ({"0.bias": ".."}, "lists files that do not lie beside it: '..'"),
        ({"0.bias": ""}, "lists files that do not end in .safetensors: ''"),
        ({"0.bias": "model.bin"}, "lists files that do not end in .safetensors: 'model.bin'"),
        ({"0.bias": "x.safetensors"}, "1 of 3 shards are missing: 'x.safetensors'"),
        ({"0.bias": 3}, "is no index of shards: it has no weight_map from names to files"),
        ({"0.bias": None}, f"{SHARDS[0]}: holds other weights than {INDEX} lists for it: it has beside them 0.bias"),
        ({"0.more": SHARDS[0]}, f"{SHARDS[0]}: holds other weights than {INDEX} lists for it: it lacks 0.more"),
        ({"0.bias": SHARDS[1]}, "holds other weights than"),
    ],
)
def test_an_index_that_does_not_fit_its_shards_is_refused(folder: Path, changes: Any, message: str) -> None:
    assert message in refusal(shard(folder, **changes))


def test_a_weight_in_two_shards_is_refused(folder: Path) -> None:
    shard(folder)
    save_file({k: v for k, v in state(1).items() if k.startswith("1.") or k == "0.bias"}, folder / SHARDS[1])
    assert f"{SHARDS[1]}: holds other weights than {INDEX} lists for it: it has beside them 0.bias" in refusal(folder)
    text = json.dumps({"weight_map": {"0.bias": SHARDS[0]}})
    (folder / INDEX).write_text(text.replace("}}", f', "0.bias": "{SHARDS[1]}"}}}}'))
    assert "is no index of shards: it names '0.bias' more than once" in refusal(folder)


@pytest.mark.parametrize("text", ["", "[", "[]", "{}", '{"weight_map": {}}', "[" * 100_000, "\udcff"])
def test_a_file_that_is_no_index_is_refused(folder: Path, text: str) -> None:
    (folder / INDEX).write_bytes(text.encode(errors="surrogateescape"))
    assert f"{INDEX}: is no index of shards" in refusal(folder)


@pytest.mark.parametrize("name", ["model.safetensors", SHARDS[0]])
def test_a_link_out_of_the_folder_is_refused(folder: Path, name: str) -> None:
    inner = folder / "model"
    inner.mkdir()
    if name == SHARDS[0]:
        shard(inner)
    else:
        save_file(state(), inner / name)
    (inner / name).rename(folder / "elsewhere.safetensors")
    (inner / name).symlink_to(folder / "elsewhere.safetensors")
    line = refusal(inner)
    assert line == f"{inner / name}: is a link out of its folder, to {folder / 'elsewhere.safetensors'}: " + (
        "name that file itself"
    )
    assert is_read(inner / name) if name == "model.safetensors" else True  # whoever names a link means its target


def test_the_cache_of_hugging_face_is_read(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "models--a--b" / "blobs", tmp_path / "models--a--b" / "snapshots" / "1f"
    blobs.mkdir(parents=True)
    shard(blobs)
    snapshot.mkdir(parents=True)
    for number, name in enumerate((*SHARDS, INDEX)):
        (blobs / name).rename(blobs / f"{number}f3a")
        (snapshot / name).symlink_to(os.path.relpath(blobs / f"{number}f3a", snapshot))
    assert is_read(snapshot)


def test_an_adapter_is_refused_by_name(folder: Path) -> None:
    save_file(state(), folder / "adapter_model.safetensors")
    assert "adapter_model.safetensors: holds an adapter, which is a part of a model: merge it" in refusal(folder)


def test_folders_without_weights_and_odd_paths_are_refused(folder: Path) -> None:
    assert "is a folder without weights (.safetensors, .pt" in refusal(folder)
    assert "none: there is no such file or folder" in refusal(folder / "none")
    assert "there is no such file" in refusal(Path("a\0b.pt"))
    os.mkfifo(folder / "w.pt")
    assert "w.pt: is not a file" in refusal(folder / "w.pt")


def test_a_tied_weight_may_stand_in_one_shard_alone(folder: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
            self.b.weight = self.a.weight

    model, other = Tied(), Tied()
    tensors = {k: v for k, v in model.state_dict().items() if k != "b.weight"}
    save_file({k: v for k, v in tensors.items() if k.startswith("a.")}, folder / SHARDS[0])
    save_file({k: v for k, v in tensors.items() if k.startswith("b.")}, folder / SHARDS[1])
    listed = {k: SHARDS[k.startswith("b.")] for k in tensors}
    (folder / INDEX).write_text(json.dumps({"weight_map": listed}))
    load_weights(other, folder)
    assert weights_digest(other) == weights_digest(model) != weights_digest(network())
