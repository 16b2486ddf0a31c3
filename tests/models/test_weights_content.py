"""What checkpoints of training scripts hold beside the weights, and which of it is read."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from helpers.weights import is_read, network, refusal, state


def adam() -> dict[str, Any]:
    model = network()
    optimiser = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 3)).sum().backward()
    optimiser.step()
    return optimiser.state_dict()


READ: dict[str, dict[str, Any]] = {
    "a state dict alone": state(),
    "under model": {"model": state(), "optimizer": adam(), "epoch": 3},
    "under net": {"net": state(), "acc": torch.tensor(0.9)},
    "under network": {"network": state()},
    "under weights": {"weights": state(), "meta": {"classes": ["a", "b"]}},
    "under module, as DeepSpeed writes it": {"module": state(prefix="module."), "global_steps": 3},
    "under model, and within it under state_dict": {"model": {"state_dict": state(), "name": "mlp"}},
    "of Lightning": {
        "epoch": 1,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": state(prefix="model.") | {"criterion.weight": torch.ones(2)},
        "optimizer_states": [adam()],
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.3)}},
        "hyper_parameters": {"lr": 1e-3},
    },
    "the same twice": {"model": state(), "state_dict": state()},
    "beside a mapping of options of that name": {"model": {"width": 4}, "state_dict": state()},
    "averaged weights that are the same": {"state_dict": state(), "ema_state_dict": state()},
    "a count of averages": {"state_dict": state(), "swa_n": torch.tensor(3), "ema": {"decay": torch.tensor(0.9)}},
}


@pytest.mark.parametrize("held", READ.values(), ids=READ)
@pytest.mark.parametrize("ending", [".pt", ".ckpt", ".bin", ".pth.tar"])
def test_the_weights_of_a_checkpoint_are_found(tmp_path: Path, held: dict[str, Any], ending: str) -> None:
    torch.save(held, tmp_path / f"w{ending}")
    assert is_read(tmp_path / f"w{ending}")


@pytest.mark.parametrize("key", ["ema_state_dict", "state_dict_ema", "modelEMA", "swa_model", "averaged", "model_avg"])
def test_averaged_weights_are_never_chosen_or_passed_over_in_silence(tmp_path: Path, key: str) -> None:
    path = tmp_path / "w.pt"
    torch.save({"state_dict": state(), key: state(1)}, path)
    line = refusal(path)
    assert line.startswith(f"{path}: holds weights under state_dict and averaged ones under {key}: save those")
    torch.save({key: state(1), "epoch": 3}, path)
    assert f"there are tensors under {key}: save those of the model" in refusal(path)


def test_averaged_weights_deep_in_a_checkpoint_are_seen(tmp_path: Path) -> None:
    shadow = {"callbacks": {"EMACallback": {"shadow_params": list(state(1).values())}}}
    torch.save({"state_dict": state(), **shadow}, tmp_path / "w.ckpt")
    assert "averaged ones under callbacks.EMACallback:" in refusal(tmp_path / "w.ckpt")
    torch.save({"state_dict": state(), "optimizer_states": [{"ema": (state(1)["0.weight"],)}]}, tmp_path / "w.ckpt")
    assert "averaged ones under optimizer_states.0.ema:" in refusal(tmp_path / "w.ckpt")


def test_the_line_of_a_refusal_mends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": state(), "state_dict_ema": state(1)}, "w.pt")
    line = refusal(tmp_path / "w.pt")
    exec(line[line.index("torch.save(") :], {"torch": torch})
    assert is_read(tmp_path / "weights.pt")


def test_two_state_dicts_that_differ_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({"model": state(), "state_dict": state(1), "net": state(2)}, path)
    assert "holds different weights under state_dict, model, net: save those that are in use" in refusal(path)


def test_weights_under_other_names_are_named(tmp_path: Path) -> None:
    path = tmp_path / "gan.pt"
    torch.save({"generator": state(), "discriminator": state(1), "optim_g": adam(), "epoch": 2}, path)
    line = refusal(path)
    assert "there are tensors under generator, discriminator: save those of the model" in line
    assert line.endswith(
        f"torch.save(torch.load({str(path)!r}, map_location='cpu', weights_only=True)['generator'], 'weights.pt')"
    )


@pytest.mark.parametrize(
    ("value", "name"),
    [(argparse.Namespace(lr=1), "argparse.Namespace"), (np.float64(0.5), "multiarray.scalar"), (Path("a"), "Path")],
)
def test_objects_that_only_code_can_make_are_refused_with_the_lines_that_convert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: object, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": state(), "hyper_parameters": {"args": value}}, "w.ckpt")
    line = refusal(tmp_path / "w.ckpt")
    assert "refused, since reading it would run code" in line and name in line
    first = line[line.index("state = torch.load(") : line.index(", then ")]
    second = line[line.index("torch.save(") : line.index(", with the key")]
    exec(f"{first}\n{second}", {"torch": torch})
    assert is_read(tmp_path / "weights.pt")


def test_a_checkpoint_whose_parts_hold_each_other_is_read(tmp_path: Path) -> None:
    held: dict[str, Any] = {"state_dict": state()}
    held["self"] = held
    crowd: list[Any] = []
    crowd += [crowd] * 1000
    held["crowd"] = crowd
    torch.save(held, tmp_path / "w.pt")
    assert is_read(tmp_path / "w.pt")


def test_a_file_that_is_of_another_kind_than_its_ending_says(tmp_path: Path) -> None:
    save_file(state(), tmp_path / "w.bin")
    assert refusal(tmp_path / "w.bin").endswith("a safetensors file by its content: give it the ending .safetensors")
    torch.save(state(), tmp_path / "w.safetensors")
    assert refusal(tmp_path / "w.safetensors").endswith(
        "is a file of torch.save by its content: give it the ending .pt"
    )
    for name in ("p.safetensors", "p.bin"):
        (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n")
        assert "is a pointer of Git LFS, not the weights themselves" in refusal(tmp_path / name)
