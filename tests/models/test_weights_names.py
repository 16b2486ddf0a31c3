"""Names in a weights file: prefixes of wrappers are left out where everything then fits, and named where not."""

from collections.abc import Collection
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from efface.errors import CheckpointError
from efface.models.checkpoint import load_weights, save_weights, weights_digest
from efface.models.weights_names import PREFIXES, fit_names

OWN = ["0.weight", "0.bias", "2.weight"]


def fit(names: Collection[str], own: Collection[str] = OWN) -> dict[str, str]:
    shapes = [dict.fromkeys(each, (2,)) for each in (names, own)]
    return dict(fit_names("w.pt", *shapes, [[name] for name in own]).names)


def refusal(names: Collection[str], own: Collection[str] = OWN) -> str:
    with pytest.raises(CheckpointError) as caught:
        fit(names, own)
    (line,) = caught.value.problems
    return line


@pytest.mark.parametrize("prefix", ["", *PREFIXES, "module._orig_mod.", "_orig_mod.module.model.", "model.net.module."])
def test_a_wrappers_prefix_is_left_out_and_put_before(prefix: str) -> None:
    longer = [prefix + name for name in OWN]
    assert fit(longer) == dict(zip(longer, OWN, strict=True))
    assert fit(OWN, own=longer) == dict(zip(OWN, longer, strict=True))
    other = [f"net.model.{name}" for name in OWN]
    assert fit(longer, own=other) == dict(zip(longer, other, strict=True))


def test_wrapped_parts_in_the_middle_of_names() -> None:
    names = ["features.module.0.weight", "features._orig_mod.3.weight", "head.bias"]
    own = ["features.0.weight", "features.3.weight", "head.bias"]
    assert fit(names, own) == dict(zip(names, own, strict=True))
    deeper = [f"module.{name}" for name in names]
    assert fit(deeper, own) == dict(zip(deeper, own, strict=True))


def test_the_models_own_names_come_first() -> None:
    own = ["module.0.weight", "model.0.weight", "a.module.b", "a.b"]
    assert fit(own, own) == {name: name for name in own}
    wrapped = [f"module.{name}" for name in own]
    assert fit(wrapped, own) == dict(zip(wrapped, own, strict=True))


def test_one_of_several_tied_names_is_enough() -> None:
    found = fit_names("w.pt", {"model.a": (2,)}, {"a": (2,), "b": (2,)}, [["a", "b"]])
    assert found.names == {"model.a": "a"} and found.how == "without model."


def test_what_is_no_weight_of_the_network_is_left_out() -> None:
    names = ["n_averaged", *(f"module.{name}" for name in OWN)]
    assert fit(names) == {f"module.{name}": name for name in OWN}
    names = ["criterion.weight", *(f"model.{name}" for name in OWN)]
    assert fit(names) == {f"model.{name}": name for name in OWN}
    # unless the model has it
    assert len(fit(["loss.weight", *OWN], ["loss.weight", *OWN])) == 4


@pytest.mark.parametrize("beside", ["ema_model.0.weight", "head.weight", "model_ema.decay"])
def test_a_prefix_that_only_some_names_have_is_named_and_not_taken(beside: str) -> None:
    line = refusal([beside, *(f"model.{name}" for name in OWN)])
    assert line.startswith("w.pt: every name of the model is there under model., beside other names")
    assert "{k.removeprefix('model.'): v for k, v in state.items() if k.startswith('model.')}" in line


def test_several_prefixes_that_would_fit_are_named() -> None:
    line = refusal([f"{part}.{name}" for part in ("student", "teacher") for name in OWN])
    assert "there under student., teacher., beside" in line and "save the one that is meant" in line


def test_a_prefix_that_is_not_known_is_named() -> None:
    assert "is there under encoder.," in refusal([f"encoder.{name}" for name in OWN])
    line = refusal(OWN, [f"encoder.{name}" for name in OWN])
    assert line.startswith("w.pt: every name would fit the model with encoder. before it")


def test_a_part_of_other_shapes_is_not_named(tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Linear(2, 3)).state_dict(), tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"there under 0\.,"):
        load_weights(nn.Linear(2, 3), tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"lacks keys of the model: weight, bias"):
        load_weights(nn.Linear(2, 4), tmp_path / "w.pt")


def test_the_closest_reading_is_reported(tmp_path: Path) -> None:
    model, path = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), tmp_path / "w.pt"
    torch.save({f"module.{k}": v for k, v in model.state_dict().items() if k != "1.bias"}, path)
    with pytest.raises(CheckpointError) as caught:
        load_weights(model, path)
    assert caught.value.problems == (f"{path} (without module.): lacks keys of the model: 1.bias",)


def test_nothing_is_no_model(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"lacks keys of the model: weight, bias"):
        load_weights(nn.Linear(2, 2), tmp_path / "w.pt")


PARTS = st.sampled_from(["module", "model", "net", "_orig_mod", "backbone", "a", "b", "0"])


def tree(paths: Collection[tuple[str, ...]], seed: int) -> nn.Module:
    """A network with a layer at the end of each path."""
    generator = torch.Generator().manual_seed(seed)
    root = nn.Module()
    for path in paths:
        at = root
        for part in path:
            if part not in at._modules:
                at.add_module(part, nn.Module())
            at = at.get_submodule(part)
        at.register_buffer("w", torch.rand(2, generator=generator))
    return root


@given(
    paths=st.sets(st.lists(PARTS, min_size=1, max_size=4).map(tuple), min_size=1, max_size=5),
    prefix=st.lists(st.sampled_from(PREFIXES), max_size=3).map("".join),
)
def test_any_names_are_read_back_exactly_under_any_wrapper(
    tmp_path_factory: pytest.TempPathFactory, paths: set[tuple[str, ...]], prefix: str
) -> None:
    folder = tmp_path_factory.mktemp("names")
    model, other, third = tree(sorted(paths), 0), tree(sorted(paths), 1), tree(sorted(paths), 2)
    save_weights(model, folder / "w.safetensors")
    load_weights(other, folder / "w.safetensors")
    assert weights_digest(other) == weights_digest(model)
    torch.save({prefix + name: tensor for name, tensor in model.state_dict().items()}, folder / "w.pt")
    load_weights(third, folder / "w.pt")
    assert weights_digest(third) == weights_digest(model)


@given(
    names=st.sets(st.lists(PARTS, min_size=1, max_size=3).map(".".join), min_size=1, max_size=5),
    own=st.sets(st.lists(PARTS, min_size=1, max_size=3).map(".".join), min_size=1, max_size=5),
)
def test_a_reading_of_other_names_is_one_to_one(names: set[str], own: set[str]) -> None:
    try:
        found = fit(sorted(names), sorted(own))
    except CheckpointError as error:
        assert len(error.problems) == 1
        return
    if set(found.values()) == own:
        assert len(found) == len(own)
        assert all(name.split(".")[-1] == read.split(".")[-1] for name, read in found.items())
