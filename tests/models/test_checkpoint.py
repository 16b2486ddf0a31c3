"""Weights files: round trips, refusals, and nothing changed where one is refused."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, load_model, save_file
from torch import Tensor, nn

from efface.errors import CheckpointError, DivergedError
from efface.models.checkpoint import copy_state, extra_state, load_weights, save_weights, weights_digest


def small(seed: int = 0) -> nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


class Tied(nn.Module):
    """Two names for one weight, and a view of part of another."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first = nn.Linear(3, 3, bias=False)
        self.second = nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.table = nn.Parameter(torch.randn(4, 3, generator=generator))
        self.register_buffer("top", self.table.detach()[:2])
        with torch.no_grad():
            self.first.weight.copy_(torch.randn(3, 3, generator=generator))


def problems(model: nn.Module, path: Path) -> tuple[str, ...]:
    """The problems of a refused load, which must have left the model as it was."""
    before = weights_digest(model)
    with pytest.raises(CheckpointError) as caught:
        load_weights(model, path)
    assert weights_digest(model) == before
    assert all("\n" not in problem for problem in caught.value.problems)
    return caught.value.problems


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_round_trip_with_buffers(tmp_path: Path, suffix: str) -> None:
    model, other, path = small(0), small(1), tmp_path / f"w{suffix}"
    model(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)))  # moves the BatchNorm statistics
    if suffix == ".safetensors":
        assert save_weights(model, path) == weights_digest(model)
    else:
        torch.save(model.state_dict(), path)
    assert weights_digest(other) != weights_digest(model)
    load_weights(other, path)
    assert weights_digest(other) == weights_digest(model)
    assert other[1].num_batches_tracked == 1


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict"])
def test_a_nested_state_dict_is_found(tmp_path: Path, key: str) -> None:
    model, other, path = small(0), small(1), tmp_path / "w.pt"
    torch.save({"epoch": 3, key: model.state_dict()}, path)
    load_weights(other, str(path))
    assert weights_digest(other) == weights_digest(model)


def test_tied_weights_are_written_once_and_stay_tied(tmp_path: Path) -> None:
    model, other, path = Tied(0), Tied(1), tmp_path / "w.safetensors"
    save_weights(model, path)
    with safe_open(path, framework="pt") as file:
        assert set(file.keys()) == {"first.weight", "table", "top"}
        assert file.metadata() == {"format": "pt", "second.weight": "first.weight"}
    load_weights(other, path)
    assert other.second.weight is other.first.weight
    assert weights_digest(other) == weights_digest(model)


def test_safetensors_own_reader_takes_our_files(tmp_path: Path) -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.b = nn.Linear(3, 3)
            self.a = self.b

    model, other, path = Pair(), Pair(), tmp_path / "w.safetensors"
    save_weights(model, path)
    load_model(other, path)
    assert weights_digest(other) == weights_digest(model)


def test_a_key_tied_to_a_present_key_is_not_missing(tmp_path: Path) -> None:
    model, other, path = Tied(0), Tied(1), tmp_path / "w.pt"
    state = model.state_dict()
    del state["first.weight"]
    torch.save(state, path)
    load_weights(other, path)
    assert weights_digest(other) == weights_digest(model)


def test_different_values_for_tied_keys_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({**Tied(0).state_dict(), "second.weight": torch.zeros(3, 3)}, path)
    (line,) = problems(Tied(1), path)
    assert line.endswith("has different values for keys that the model ties together: first.weight, second.weight")


def test_non_contiguous_weights(tmp_path: Path) -> None:
    model, path = small(), tmp_path / "w.safetensors"
    model[0].weight = nn.Parameter(torch.arange(12.0).reshape(3, 4).T)
    digest = save_weights(model, path)
    other = small(1)
    load_weights(other, path)
    assert digest == weights_digest(other)
    assert torch.equal(other[0].weight, model[0].weight)


def test_a_floating_dtype_may_differ(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(small(0).half(), path)
    other = small(1)
    load_weights(other, path)
    assert other[0].weight.dtype == torch.float32
    assert torch.equal(other[0].weight, small(0)[0].weight.half().float())


def test_digest_reads_names_dtypes_shapes_and_bytes() -> None:
    def of(**tensors: Tensor) -> str:
        module = nn.Module()
        for name, tensor in tensors.items():
            module.register_buffer(name, tensor)
        return weights_digest(module)

    one = torch.ones(4)
    different = [
        of(a=one),
        of(b=one),
        of(a=one.view(2, 2)),
        of(a=one.view(torch.int32)),
        of(a=one.bfloat16()),
        of(a=one.bool()),
        of(a=torch.ones(())),
        of(a=torch.ones(0)),
        of(a=one, b=one),
        of(),
    ]
    assert len(set(different)) == len(different)
    assert of(a=one, b=-one) == of(b=-one, a=one)
    # a recorded digest must stay comparable
    assert of(a=one) == "sha256:426e4f3c18013d739d5b0ace23138d14c8028ef142ae1b8ad5b63059323f9005"


def test_bfloat16_round_trip(tmp_path: Path) -> None:
    model, other, path = small(0).bfloat16(), small(1).bfloat16(), tmp_path / "w.safetensors"
    digest = save_weights(model, path)
    load_weights(other, path)
    assert weights_digest(other) == digest
    assert load_file(path)["0.weight"].dtype == torch.bfloat16


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_diverged_are_not_saved(tmp_path: Path, value: float) -> None:
    model, path = small(), tmp_path / "w.safetensors"
    digest = save_weights(model, path)
    with torch.no_grad():
        model[2].bias[1] = value
    with pytest.raises(DivergedError, match=r"2\.bias; nothing was saved"):
        save_weights(model, path)
    load_weights(model, path)
    assert weights_digest(model) == digest
    assert os.listdir(tmp_path) == ["w.safetensors"]


def test_a_buffer_may_be_infinite_but_not_nan(tmp_path: Path) -> None:
    model, other, path = small(), small(1), tmp_path / "w.safetensors"
    for one, value in ((model, float("-inf")), (other, 0.0)):
        one.register_buffer("mask", torch.full((2, 2), value))
    save_weights(model, path)
    load_weights(other, path)
    assert other.mask.isneginf().all()
    model.mask[0, 0] = float("nan")
    with pytest.raises(DivergedError, match="mask; nothing was saved"):
        save_weights(model, path)


def test_a_tied_weight_is_a_weight_under_both_names(tmp_path: Path) -> None:
    model = Tied()
    with torch.no_grad():
        model.second.weight[0, 0] = float("inf")
    with pytest.raises(DivergedError, match=r"first\.weight, second\.weight"):
        save_weights(model, tmp_path / "w.safetensors")


def test_eight_bit_floats_are_checked(tmp_path: Path) -> None:
    module = nn.Module()
    module.register_buffer("a", torch.tensor([1.0, float("nan")]).to(torch.float8_e5m2))
    with pytest.raises(DivergedError):
        save_weights(module, tmp_path / "w.safetensors")


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    digest = save_weights(small(0), path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"cannot be written: .*No space left"):
        save_weights(small(1), path)
    assert os.listdir(tmp_path) == ["w.safetensors"]
    model = small(2)
    load_weights(model, path)
    assert weights_digest(model) == digest


def test_saving_through_a_link_replaces_the_file_that_it_names(tmp_path: Path) -> None:
    real, link = tmp_path / "real.safetensors", tmp_path / "link.safetensors"
    save_weights(small(0), real)
    link.symlink_to(real)
    digest = save_weights(small(1), link)
    assert link.is_symlink()
    model = small(2)
    load_weights(model, real)
    assert weights_digest(model) == digest


@pytest.mark.parametrize(
    ("name", "message"),
    [("w.pt", "as .safetensors only"), ("none/w.safetensors", "there is no folder"), ("d.safetensors", "cannot be")],
)
def test_a_place_that_cannot_hold_weights_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "d.safetensors").mkdir()
    with pytest.raises(CheckpointError, match=message):
        save_weights(small(), tmp_path / name)
    assert os.listdir(tmp_path) == ["d.safetensors"]


def test_every_misfit_is_listed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    state = {name: value.clone() for name, value in small(0).state_dict().items()}
    del state["2.bias"]
    state["0.weight"] = torch.zeros(4, 5)
    state["0.bias"] = torch.zeros(4, dtype=torch.int64)
    state |= {f"new.{i}": torch.zeros(1) for i in range(6)}
    save_file(state, path)
    assert problems(small(1), path) == (
        f"{path}: lacks keys of the model: 2.bias",
        f"{path}: has keys that the model lacks: new.0, new.1, new.2, new.3 and 2 more",
        f"{path}: has another shape than the model: 0.weight is (4, 5), not (4, 3)",
        f"{path}: has another kind of number than the model: 0.bias is int64, not float32",
    )


@pytest.mark.parametrize("dtype", [torch.bool, torch.complex64])
def test_other_kinds_of_number_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "w.pt"
    torch.save({**small().state_dict(), "0.bias": torch.zeros(4, dtype=dtype)}, path)
    assert "0.bias is" in problems(small(1), path)[0]


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"w{suffix}"
    if suffix == ".pt":
        torch.save(small().state_dict(), path)
    else:
        save_weights(small(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "damaged, or not a" in problems(small(1), path)[0]


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_file_of_another_format_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(b"hello, this is a letter and not a model")
    assert "damaged, or not a" in problems(small(), path)[0]
    path.write_bytes(pickle.dumps([1, 2], protocol=4))
    assert "damaged, or not a" in problems(small(), path)[0]


def test_missing_files_folders_and_endings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "d.pt").mkdir()
    assert "there is no such file" in problems(small(), tmp_path / "none.safetensors")[0]
    assert "d.pt: is a folder without weights" in problems(small(), tmp_path / "d.pt")[0]
    (tmp_path / "w.onnx").touch()
    assert "end in .safetensors, .pt, .pth, .ckpt, .bin or" in problems(small(), tmp_path / "w.onnx")[0]


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ([torch.zeros(1)], "holds no state dict"),
        ({1: torch.zeros(1)}, "holds no state dict"),
        ({"0.bias": [1.0], "epoch": 2}, "not dense tensors: 0.bias, epoch"),
        ({"0.bias": torch.zeros(4).to_sparse()}, "not dense tensors: 0.bias"),
        ({"state_dict": {"0.bias": "text"}}, "not dense tensors: 0.bias"),
    ],
)
def test_a_pickle_without_a_state_dict_is_refused(tmp_path: Path, held: object, message: str) -> None:
    torch.save(held, tmp_path / "w.pt")
    assert message in problems(small(), tmp_path / "w.pt")[0]


class Evil:
    """Unpickled without care, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "trace"
    torch.save({"0.bias": Evil(trace)}, tmp_path / "zip.pt")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"0.bias": Evil(trace)}, protocol=protocol))
    assert "refused, since reading it would run code (posix.mkdir)" in problems(small(), tmp_path / "zip.pt")[0]
    assert problems(small(), tmp_path / "plain.pth")
    assert not trace.exists()


def test_a_pickled_model_is_refused_with_advice(tmp_path: Path) -> None:
    torch.save(small(), tmp_path / "w.pt")
    assert "save model.state_dict() instead" in problems(small(), tmp_path / "w.pt")[0]


@pytest.mark.filterwarnings("ignore:.*torch.jit")  # deprecated, but such files are about
def test_a_torchscript_program_is_refused_with_advice(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "w.pt"))
    assert "is a TorchScript program" in problems(small(), tmp_path / "w.pt")[0]


def test_empty_tensors_are_not_taken_for_tied_ones(tmp_path: Path) -> None:
    module, path = nn.Module(), tmp_path / "w.safetensors"
    module.register_buffer("a", torch.zeros(0))
    module.register_buffer("b", torch.zeros(0))
    save_weights(module, path)
    assert set(load_file(path)) == {"a", "b"}


def test_a_load_that_fails_half_way_is_undone(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(small(0), path)
    model = small(1)
    calls = []

    def refuse_once(*_: object) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("not these")

    model[2].register_load_state_dict_pre_hook(refuse_once)
    assert "the model refused these weights: not these" in problems(model, path)[0]


class Extra(nn.Linear):
    """Counts something beside its weights."""

    def __init__(self, seen: int = 1) -> None:
        super().__init__(2, 2)
        self.seen = {"names": ["a"], "seen": seen}

    def get_extra_state(self) -> dict[str, Any]:
        return self.seen

    def set_extra_state(self, state: Any) -> None:
        self.seen = state


def test_a_file_holds_the_weights_alone_and_state_that_is_no_tensor_stays_as_built(tmp_path: Path) -> None:
    model, other, file = Extra(), Extra(seen=7), tmp_path / "w.safetensors"
    assert save_weights(model, file) == weights_digest(model)
    assert load_file(file).keys() == {"weight", "bias"} and extra_state(model) == ["_extra_state"]
    load_weights(other, file)
    assert other.seen["seen"] == 7 and torch.equal(other.weight, model.weight)
    assert weights_digest(other) == weights_digest(model), "the digest is that of the weights"


def test_a_copy_of_a_state_is_not_reached_by_later_changes() -> None:
    model = Extra()
    before = copy_state(model)
    model.seen["names"].append("b")
    with torch.no_grad():
        model.weight.zero_()
    assert before["_extra_state"]["names"] == ["a"] and bool(before["weight"].any())


def test_tensors_that_are_not_dense_are_refused() -> None:
    with pytest.raises(CheckpointError, match="not dense tensors: weight, bias"):
        weights_digest(nn.Linear(2, 2, device="meta"))
