"""Reading a state dict from weights files, without running code, and finding it among what else a checkpoint holds."""

import pickle
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file
from torch import Tensor

from efface.errors import CheckpointError, shorten
from efface.models.weights_file import PICKLES, find_weights

SHOWN_KEYS = 4
MAX_DEPTH = 8  # of mappings and lists within each other
# where training scripts keep the state dict within a checkpoint
NESTED = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "module")
WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")  # where the words of modelEMA are joined
AVERAGED = re.compile(r"(?<![a-z])(ema|swa)(?![a-z])|averag|polyak|shadow|model_avg|avg_model")
Keys = tuple[object, ...]


@dataclass(frozen=True)
class StateDict:
    """The state dict that was read.

    Args:
        path: The file, or the index of its shards.
        tensors: The weights, by their names in the file.
    """

    path: Path
    tensors: Mapping[str, Tensor]


def read_state_dict(path: Path) -> StateDict:
    """Read the weights of a file, of shards, or of a model's folder.

    Raises:
        CheckpointError: They are missing or damaged, cannot be read without running code, or several state dicts could
            be meant; in one line, which says what to give instead.
    """
    where = find_weights(path)
    if not where.shards:
        return StateDict(where.path, _of_file(where.path))
    tensors: dict[str, Tensor] = {}
    for shard, listed in where.shards.items():
        held = _of_file(shard)
        if held.keys() != listed:
            lacks = "lacks" if listed - held.keys() else "has beside them"
            names = sorted(listed - held.keys()) or sorted(held.keys() - listed)
            raise CheckpointError(
                f"{shard}: holds other weights than {where.path.name} lists for it: it {lacks} {listing(names)}"
            )
        tensors |= held
    return StateDict(where.path, tensors)


def _of_file(file: Path) -> dict[str, Tensor]:
    is_pickle = file.name.endswith(PICKLES)
    held = _read_pickle(file) if is_pickle else _read_safetensors(file)
    place, chosen = _state_dict_in(held, file) if is_pickle else ((), held)
    if not isinstance(chosen, Mapping) or not all(isinstance(key, str) for key in chosen):
        raise CheckpointError(f"{file}: holds no state dict{_elsewhere(held, file)}")
    odd = [key for key, value in chosen.items() if not is_dense(value)]
    if odd:
        raise CheckpointError(
            f"{file}: holds values that are not dense tensors: {listing(odd)}{'' if place else _elsewhere(held, file)}"
        )
    return dict(chosen)


def _state_dict_in(held: object, file: Path) -> tuple[tuple[str, ...], object]:
    """The state dict within what a file holds, after the keys that lead to it."""
    place: tuple[str, ...] = ()
    chosen = held
    while isinstance(chosen, Mapping) and len(place) < MAX_DEPTH:
        inner = {key: chosen[key] for key in NESTED if isinstance(chosen.get(key), Mapping)}
        inner = {key: value for key, value in inner.items() if _has_weights(value)} or inner
        if not inner:
            break
        first, *others = inner
        if differing := [key for key in others if not _equal(inner[key], inner[first])]:
            raise CheckpointError(
                f"{file}: holds different weights under {listing([first, *differing])}: save those that are in use, "
                f"for example by {_resave(file, *place, first)}"
            )
        place, chosen = (*place, first), inner[first]
    averaged = [keys for keys in _averaged(held, chosen) if not _equal(_at(held, keys), chosen)]
    if averaged:
        raise CheckpointError(
            f"{file}: holds weights under {'.'.join(place)} and averaged ones under "
            f"{listing('.'.join(map(str, keys)) for keys in averaged)}: save those that are in use, for example by "
            f"{_resave(file, *place)}"
        )
    return place, chosen


def _averaged(held: object, chosen: object) -> list[Keys]:
    """The keys that lead to averaged weights (EMA, SWA), anywhere but in the chosen state dict."""
    found: dict[Keys, None] = {}
    for keys, tensor in _tensors(held, {id(chosen)}):
        words = [re.sub(WORDS, "_", key).lower() if isinstance(key, str) else "" for key in keys]
        end = next((i for i, word in enumerate(words, 1) if AVERAGED.search(word)), 0)
        if end and tensor.ndim:  # a single number is a count or a rate
            found[keys[:end]] = None
    return list(found)


def _at(held: Any, keys: Keys) -> object:
    for key in keys:
        held = held[key]
    return held


def _items(held: object) -> Iterable[tuple[object, object]]:
    if isinstance(held, Mapping):
        return held.items()
    return enumerate(held) if isinstance(held, list | tuple) else ()


def _tensors(held: object, seen: set[int], keys: Keys = ()) -> Iterator[tuple[Keys, Tensor]]:
    """All tensors within nested mappings and lists, each after the keys that lead to it; none twice by two ways."""
    if isinstance(held, Tensor):
        yield keys, held
    elif isinstance(held, Mapping | list | tuple) and id(held) not in seen and len(keys) <= MAX_DEPTH:
        seen.add(id(held))
        for key, value in _items(held):
            yield from _tensors(value, seen, (*keys, key))


def _has_weights(held: object) -> bool:
    """Whether there are tensors that are more than a number, such as a count of epochs."""
    return any(tensor.ndim for _, tensor in _tensors(held, set()))


def _equal(one: object, other: object) -> bool:
    first, second = dict(_tensors(one, set())), dict(_tensors(other, set()))
    return first.keys() == second.keys() and all(is_same(first[name], second[name]) for name in first)


def _elsewhere(held: object, file: Path) -> str:
    """Where a file may hold a state dict that is under no usual name, as the end of a message."""
    places = [str(k) for k, v in _items(held) if isinstance(v, Mapping) and "optim" not in str(k) and _has_weights(v)]
    if not places:
        return ""
    what = f"; there are tensors under {listing(places)}: save those of the model"
    return f"{what}, for example by {_resave(file, places[0])}"


def _resave(file: Path, *keys: str, safe: bool = True) -> str:
    """The line of Python that saves a part of a checkpoint."""
    part = "".join(f"[{key!r}]" for key in keys)
    return f"torch.save(torch.load({str(file)!r}, map_location='cpu', weights_only={safe}){part}, 'weights.pt')"


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file, whatever bytes its path is made of.

    Raises:
        OSError: the file cannot be read.
        SafetensorError: it is no safetensors file.
    """
    try:
        str(file).encode()
    except UnicodeEncodeError:  # safetensors itself opens a file only by a path in UTF-8
        return load(file.read_bytes())
    return load_file(file)


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    try:
        return read_tensors(file)
    except (OSError, SafetensorError) as error:
        what = _other_kind(file) or f"damaged, or not a safetensors file: {first_line(error)}"
        raise CheckpointError(f"{file}: {what}") from error


def _read_pickle(file: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about formats that it refuses on the next line
            return torch.load(file, weights_only=True, map_location="cpu")
    except Exception as error:  # a damaged pickle can raise almost anything
        if isinstance(error, pickle.UnpicklingError) and (name := re.search(r"GLOBAL ([\w.]+)", str(error))):
            raise CheckpointError(
                f"{file}: refused, since reading it would run code ({name[1]}); save model.state_dict() instead; or, "
                f"if you trust the file: state = torch.load({str(file)!r}, map_location='cpu', weights_only=False), "
                "then torch.save(state['state_dict'], 'weights.pt'), with the key under which it holds the weights, or "
                "torch.save(state.state_dict(), 'weights.pt') where it is a whole network"
            ) from error
        if "TorchScript" in str(error):
            raise CheckpointError(f"{file}: is a TorchScript program; save model.state_dict() instead") from error
        what = _other_kind(file) or "damaged, or not a weights file of torch.save"
        raise CheckpointError(f"{file}: {what}") from error


def _other_kind(file: Path) -> str | None:
    """What a file that cannot be read is by its first bytes, with what to do; None if they do not tell."""
    try:
        with file.open("rb") as opened:
            head = opened.read(24)
    except OSError:
        return None
    if head.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the weights themselves: fetch them by git lfs pull"
    if head.startswith(b"PK") and not file.name.endswith(PICKLES):
        return "is a file of torch.save by its content: give it the ending .pt"
    if head[8:10] == b'{"' and file.name.endswith(PICKLES):
        return "is a safetensors file by its content: give it the ending .safetensors"
    return None


def is_dense(value: object) -> bool:
    """Whether a value is a tensor with strided values of its own, as weights are."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not value.is_quantized
        and value.device.type != "meta"
    )


def is_same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same dtype, shape and values."""
    return one.dtype == other.dtype and torch.equal(one, other)


def listing(names: Iterable[str]) -> str:
    """The first few names, for a message."""
    return shorten(names, SHOWN_KEYS, show=str)


def first_line(error: Exception) -> str:
    """The first line of an exception's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
