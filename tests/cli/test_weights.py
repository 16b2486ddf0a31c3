"""Weights in the forms in which people have them: the same run from each, and refusals that name what to give."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from efface.models.checkpoint import load_weights, weights_digest
from efface.models.wrappers import plain_network
from helpers.command_line import AUDIT, TASK, UNLEARN, answer, listing, run

State = dict[str, Tensor]


def network() -> nn.Module:
    space: dict[str, Any] = {}
    exec(TASK, space)
    return plain_network(space["build_model"]())


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def shards(state: State, folder: Path) -> None:
    folder.mkdir()
    for layer in "02":
        save_file({k: v for k, v in state.items() if k.startswith(layer)}, folder / f"model-{layer}.safetensors")
    listed = {k: f"model-{k[0]}.safetensors" for k in state}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": listed}))


def hugging_face(state: State, folder: Path) -> None:
    folder.mkdir()
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    torch.save([1], folder / "optimizer.pt")


FORMS: dict[str, tuple[str, Callable[[State, Path], object]]] = {
    "of torch.compile": ("w.pt", lambda s, p: torch.save(prefixed(s, "_orig_mod."), p)),
    "of DataParallel": ("w.pth", lambda s, p: torch.save(prefixed(s, "module."), p)),
    "of a wrapper": ("w.safetensors", lambda s, p: save_file(prefixed(s, "net."), p)),
    "of a training script": ("w.pth.tar", lambda s, p: torch.save({"model": s, "epoch": 3}, p)),
    "of Lightning": ("w.ckpt", lambda s, p: torch.save({"state_dict": prefixed(s, "model."), "epoch": 1}, p)),
    "of Hugging Face": ("w", hugging_face),
    "of Hugging Face, in shards": ("w", shards),
    "of Hugging Face, older": ("pytorch_model.bin", torch.save),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_model(here: Path, form: str) -> None:
    name, write = FORMS[form]
    write(load_file(here / "model.safetensors"), here / name)
    words = ("--method", "noop", "--no-audit")
    for checkpoint, out in (("model.safetensors", "run"), (name, "other")):
        changed = [{"model.safetensors": checkpoint, "run": out}.get(word, word) for word in UNLEARN]
        assert run(*changed, *words).exit_code == 3
    digests = []
    for out in ("run", "other"):
        model = network()
        load_weights(model, here / out / "unlearned.safetensors")
        digests.append(weights_digest(model))
    assert digests[0] == digests[1]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch.compile imports what it deprecates
def test_a_task_whose_network_is_wrapped(here: Path) -> None:
    text = (here / "my_task.py").read_text()
    wrapped = "return torch.compile(nn.DataParallel(nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 3))))"
    (here / "my_task.py").write_text(text.replace(text[text.index("return nn.Seq") :].splitlines()[0], wrapped))
    result = run(*UNLEARN, "--option", "rounds=1", "--option", "steps=8", "--no-audit")
    assert result.exit_code == 3, result.output
    assert load_file(here / "run/unlearned.safetensors").keys() == load_file(here / "model.safetensors").keys()
    made = run("init", "my_task:task", "--checkpoint", "model.safetensors", "--device", "cpu")
    assert made.exit_code == 0, made.output
    assert load_file(here / "efface-store/current.safetensors").keys() == network().state_dict().keys()


def refuse(here: Path, *words: str) -> list[str]:
    before = listing(here)
    result = run(*words)
    assert result.exit_code == 2 and "Traceback" not in result.output, result.output
    assert listing(here) == before
    return [line.removeprefix("  - ") for line in result.stderr.splitlines()[1:]]


def test_a_folder_of_several_models_is_refused_by_name(here: Path) -> None:
    (here / "runs").mkdir()
    for name in ("first.pt", "last.ckpt"):
        (here / "runs" / name).touch()
    words = ["runs" if word == "model.safetensors" else word for word in UNLEARN]
    assert refuse(here, *words) == ["runs: holds first.pt, last.ckpt: name one, such as runs/first.pt (--checkpoint)"]
    words = ["runs" if word == "other.safetensors" else word for word in AUDIT]
    assert refuse(here, *words) == ["runs: holds first.pt, last.ckpt: name one, such as runs/first.pt (--unlearned)"]


def test_the_weights_in_a_folder_are_never_replaced(here: Path) -> None:
    (here / "run").mkdir()
    shutil.copy(here / "model.safetensors", here / "run/unlearned.safetensors")
    words = ["run" if word == "model.safetensors" else word for word in UNLEARN]
    (line,) = refuse(here, *words, "--force")
    assert line.startswith("run/unlearned.safetensors: would be replaced by the unlearned weights")


def test_the_audit_of_a_runs_folder_finds_its_report(here: Path) -> None:
    small = ("--option", "rounds=1", "--option", "steps=8", "--reference-models", "1")
    assert run(*UNLEARN, *small, "--seed", "5").exit_code in (0, 3)
    words = [{"other.safetensors": "run", "run": "audit"}.get(word, word) for word in AUDIT]
    assert run(*words).exit_code in (0, 3)
    assert "which run made these weights" in (here / "audit/report.json").read_text()


def test_reference_models_may_be_folders(here: Path) -> None:
    state = load_file(here / "other.safetensors")
    folder = here / "references"
    folder.mkdir()
    (folder / "logs").mkdir()
    for seed, write in enumerate((hugging_face, shards)):
        write({k: v + 0.01 * (seed + 1) for k, v in state.items()}, folder / f"model{seed}")
    result = run(*AUDIT, "--references", "references", "--json")
    assert result.exit_code in (0, 3), result.output
    assert sum("reference" in m["what"] for m in answer(result)["report"]["models"]) == 2
    shutil.rmtree(here / "run")
    (line,) = refuse(here, *AUDIT, "--references", "references/model1")
    assert line.startswith("references/model1: holds the shards of one model (model.safetensors.index.json): give a")


def test_a_store_made_from_a_folder_notes_where_the_weights_lie(here: Path) -> None:
    shards(load_file(here / "model.safetensors"), here / "w")
    result = run("init", "my_task:task", "--checkpoint", "w", "--device", "cpu")
    assert result.exit_code == 0, result.output
    found = answer(run("verify", "--no-audit", "--json"))
    assert found["problems"] == []
    assert load_file(here / "efface-store/current.safetensors").keys() == network().state_dict().keys()


def test_weights_that_do_not_fit_name_the_prefix_that_would(here: Path) -> None:
    torch.save(prefixed(load_file(here / "model.safetensors"), "encoder."), here / "w.pt")
    words = ["w.pt" if word == "model.safetensors" else word for word in UNLEARN]
    (line,) = refuse(here, *words)
    assert line.startswith("w.pt: every name of the model is there under encoder., beside")
