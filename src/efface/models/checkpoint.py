"""Weights files: they are written atomically, read without running code, and loaded only if everything fits.

Weights have the names that they have in the plain network, not those within torch.compile or DataParallel.
"""

import copy
import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from efface.errors import CheckpointError, DivergedError
from efface.models.weights_content import first_line, is_dense, is_same, listing, read_state_dict
from efface.models.weights_names import fit_names
from efface.models.wrappers import plain_names
from efface.runtime.files import atomic_write


def save_weights(model: nn.Module, path: str | Path) -> str:
    """Write the tensors of the state dict as a safetensors file, replacing `path` in one step.

    State that is no tensor (from `get_extra_state`) is left out.

    Tied weights are written once, under the first name in sorted order; the metadata lists the other names, as in
    safetensors' `save_model`.

    Args:
        model: The model.
        path: The file, ending in .safetensors; its folder must exist.

    Returns:
        The digest of the weights: see `weights_digest`.

    Raises:
        CheckpointError: The path has another ending, its folder does not exist, or the file cannot be written.
        DivergedError: The weights hold NaN or infinite values.
    """
    # a link is resolved, so that the file that it points to is replaced, not the link
    target = Path(os.path.realpath(path))
    if target.suffix != ".safetensors":
        raise CheckpointError(f"{path}: weights are written as .safetensors only")
    if not target.parent.is_dir():
        raise CheckpointError(f"{path}: there is no folder {target.parent}")
    state = _dense_state(model)
    names = plain_names(model)
    weights = {names.get(name) for name, _ in model.named_parameters(remove_duplicate=False)}
    wrong = [name for name, tensor in state.items() if not _is_sound(tensor, infinite=name not in weights)]
    if wrong:
        raise DivergedError(f"NaN or infinite values in {listing(wrong)}; nothing was saved")
    tied = _tied_to(state)
    # clones, since safetensors refuses tensors that share memory in part
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in state.items()
        if name not in tied
    }
    try:
        with atomic_write(target) as temporary:
            save_file(tensors, temporary, metadata={**tied, "format": "pt"})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be written: {first_line(error)}") from error
    return _digest(state)


def copy_state(model: nn.Module) -> dict[str, Any]:
    """A copy of the state dict, which later changes of the model do not reach; extra state is copied deeply."""
    return {
        name: value.clone() if isinstance(value, Tensor) else copy.deepcopy(value)
        for name, value in model.state_dict().items()
    }


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load a weights file into a model, which changes only if everything fits.

    State that is no tensor stays as it is. Of tied weights the file needs to hold only one, and floating-point weights
    may have another floating-point dtype than the model's. A prefix that wrappers give to all names (`module.`,
    `_orig_mod.`, `model.`, `net.` and others) is left out where the names then fit exactly.

    Args:
        model: The model; it is changed in place.
        path: A file of safetensors or of torch.save, an index of shards, or a folder of one model.

    Raises:
        CheckpointError: The file does not fit, with all reasons, or cannot be read safely.
    """
    read = read_state_dict(Path(path))
    state = _dense_state(model)
    tied = _tied_to(state)
    groups: dict[str, list[str]] = defaultdict(list)
    for name in state:
        groups[tied.get(name, name)].append(name)
    fit = fit_names(str(read.path), _shapes(read.tensors), _shapes(state), list(groups.values()))
    found = {fit.names[name]: tensor for name, tensor in read.tensors.items() if name in fit.names}
    file = f"{read.path} ({fit.how})" if fit.how else read.path

    if problems := list(_misfits(found, state, groups.values())):
        raise CheckpointError([f"{file}: {line}" for line in problems])
    full = {name: next(found[n] for n in names if n in found) for names in groups.values() for name in names}
    names_of = plain_names(model)
    before = copy_state(model)
    try:
        model.load_state_dict(
            {n: full[short] if (short := names_of.get(n)) in full else value for n, value in before.items()}
        )
    except Exception as error:  # hooks of the model may raise anything, when a part is loaded already
        model.load_state_dict(before)
        raise CheckpointError(f"{file}: the model refused these weights: {first_line(error)}") from error


def _misfits(
    found: Mapping[str, Tensor], state: Mapping[str, Tensor], groups: Iterable[Sequence[str]]
) -> Iterator[str]:
    """Why weights from a file do not fit a model's state, one line for each kind of reason.

    Args:
        found: The weights, by the model's names.
        state: The model's own.
        groups: The model's names; those that share one weight together.
    """
    missing: list[str] = []
    conflicting: list[str] = []
    for names in groups:
        present = [name for name in names if name in found]
        missing += () if present else names
        if any(not is_same(found[present[0]], found[name]) for name in present[1:]):
            conflicting += present
    fitting = [name for name in found if name in state]
    shapes = [
        f"{name} is {tuple(found[name].shape)}, not {tuple(state[name].shape)}"
        for name in fitting
        if found[name].shape != state[name].shape
    ]
    kinds = [
        f"{name} is {_dtype(found[name])}, not {_dtype(state[name])}"
        for name in fitting
        if _kind(found[name]) != _kind(state[name])
    ]
    for text, odd in (
        ("lacks keys of the model", missing),
        ("has keys that the model lacks", [name for name in found if name not in state]),
        ("has another shape than the model", shapes),
        ("has another kind of number than the model", kinds),
        ("has different values for keys that the model ties together", conflicting),
    ):
        if odd:
            yield f"{text}: {listing(odd)}"


def weights_digest(model: nn.Module) -> str:
    """`sha256:` and a hash of the names, dtypes, shapes and bytes of the state's tensors; the same on every device."""
    return _digest(_dense_state(model))


def _digest(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous().resolve_conj().resolve_neg()
        # dtype and shape determine how many bytes follow, so different states give different streams of bytes
        digest.update(f"{name}\0{_dtype(tensor)}\0{tuple(tensor.shape)}\n".encode())
        # bytes, since NumPy has no bfloat16; one dimension, since a scalar cannot be viewed as another size
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return f"sha256:{digest.hexdigest()}"


def extra_state(model: nn.Module) -> list[str]:
    """Names of the model's state that is no tensor, from `get_extra_state`; no weights file holds it."""
    return [name for name, value in model.state_dict().items() if not isinstance(value, Tensor)]


def strange_state(model: nn.Module) -> list[str]:
    """Names of the tensors in the model's state that are not dense; no weights file holds them."""
    return [name for name, value in model.state_dict().items() if isinstance(value, Tensor) and not is_dense(value)]


def _dense_state(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of the state dict by plain names, if all are dense; else CheckpointError. Extra state is left out."""
    held, names = model.state_dict(), plain_names(model)
    if odd := strange_state(model):
        raise CheckpointError(f"the model's state holds values that are not dense tensors: {listing(odd)}")
    return {short: held[name] for name, short in names.items() if isinstance(held[name], Tensor)}


def _tied_to(state: Mapping[str, Tensor]) -> dict[str, str]:
    """The names of tied tensors: each name whose tensor shares its memory with an earlier name, with that name."""
    first: dict[tuple[object, ...], str] = {}
    tied = {}
    for name in sorted(state):
        tensor = state[name]
        if not tensor.numel():
            continue  # empty tensors all have address 0
        key = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if first.setdefault(key, name) != name:
            tied[name] = first[key]
    return tied


def _is_sound(tensor: Tensor, infinite: bool) -> bool:
    """Whether no value is NaN or, unless `infinite` ones are allowed (in buffers: attention masks), infinite."""
    # 8-bit floats have no isfinite of their own
    small = tensor.is_floating_point() and tensor.element_size() == 1
    values = tensor.float() if small else tensor
    return not bool(torch.isnan(values).any()) if infinite else bool(torch.isfinite(values).all())


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _kind(tensor: Tensor) -> str:
    if tensor.is_complex():
        return "complex"
    if tensor.is_floating_point():
        return "floating"
    return "bool" if tensor.dtype == torch.bool else "integer"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
