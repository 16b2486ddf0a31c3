"""What can be said of weights files from their names and from the index of their shards, before torch is imported."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from efface.errors import CheckpointError, reason_of, shorten

PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pth.tar")
SUFFIXES = (".safetensors", *PICKLES)
INDEX = ".index.json"  # beside the shards of one model: which weights each of them holds
# how Hugging Face's libraries name the weights in a model's folder, whatever else lies there
STANDARD = tuple(stem + end for stem in ("model.safetensors", "pytorch_model.bin") for end in ("", INDEX))
KINDS = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"


@dataclass(frozen=True)
class WeightsFile:
    """The file that the weights of a model are in.

    Args:
        path: The file, or the index of its shards.
        shards: For an index, the files that it lists, each with the names of the weights in it; else empty.
    """

    path: Path
    shards: Mapping[Path, frozenset[str]] = field(default_factory=dict)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that are read."""
        return (self.path, *self.shards)


def find_weights(path: Path) -> WeightsFile:
    """Find the weights that a file, the index of shards, or a folder holds; only an index is read.

    Args:
        path: A file of weights, an index, or a folder of one model: with the file names of Hugging Face's libraries, or
            with one weights file only.

    Raises:
        CheckpointError: There are none, there are several, or they may not be read; it names the path, and what to give
            instead.
    """
    try:
        if not path.exists():
            raise CheckpointError(f"{path}: there is no such {'file' if is_weights_name(path) else 'file or folder'}")
        if path.is_dir():
            return _in_folder(path)
        if not is_weights_name(path):
            raise CheckpointError(f"{path}: weights files end in {KINDS}, or are a folder of one model")
        if not path.is_file():
            raise CheckpointError(f"{path}: is not a file")
        return WeightsFile(path, _shards(path)) if path.name.endswith(INDEX) else WeightsFile(path)
    except (OSError, ValueError) as error:  # in a folder that may not be entered; a NUL in the name
        raise CheckpointError(f"{path}: cannot be read: {reason_of(error)}") from error


def is_weights_name(path: Path) -> bool:
    """Whether a file of this name holds weights, or lists those that do."""
    return path.name.endswith((*SUFFIXES, *(end + INDEX for end in SUFFIXES)))


def _in_folder(folder: Path) -> WeightsFile:
    found = sorted(p for p in folder.iterdir() if is_weights_name(p) and not p.is_dir())
    standard = [p for p in found if p.name in STANDARD]
    chosen = standard or found
    if not chosen:
        raise CheckpointError(f"{folder}: is a folder without weights ({KINDS})")
    if len(chosen) > 1:
        names = shorten((p.name for p in chosen), show=str)
        one = next((p for p in chosen if p.name.endswith(INDEX)), chosen[0])
        raise CheckpointError(f"{folder}: holds {names}: name one, such as {one}")
    if chosen[0].name.startswith("adapter_"):
        raise CheckpointError(
            f"{chosen[0]}: holds an adapter, which is a part of a model: merge it into the network, and save that"
        )
    _check_inside(chosen[0], folder)
    return find_weights(chosen[0])


def _check_inside(file: Path, folder: Path) -> None:
    """Refuse a link that leads out of the folder, unless into the blobs of its own Hugging Face cache."""
    target, places = file.resolve(), [folder.resolve()]
    if places[0].parent.name == "snapshots":
        places.append(places[0].parent.parent / "blobs")
    if not any(target.is_relative_to(place) for place in places):
        raise CheckpointError(f"{file}: is a link out of its folder, to {target}: name that file itself")


def _shards(index: Path) -> dict[Path, frozenset[str]]:
    """The shards that an index lists, with the names in each; all of them lie beside it."""
    try:
        content = json.loads(index.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{index}: is no index of shards: {str(error).splitlines()[0]}") from error
    listed = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(listed, dict) or not listed or not all(isinstance(v, str) for v in listed.values()):
        raise CheckpointError(f"{index}: is no index of shards: it has no weight_map from names to files")
    shards: dict[Path, set[str]] = {}
    for name, file in listed.items():
        shards.setdefault(index.parent / file, set()).add(name)
    end = next(e for e in SUFFIXES if index.name.endswith(e + INDEX))
    files = sorted(set(listed.values()))
    outside = [f for f in files if Path(f).name != f or f in (".", "..") or set(f) & {"\\", "\0"}]
    if outside:
        raise CheckpointError(f"{index}: lists files that do not lie beside it: {shorten(outside)}")
    if odd := [f for f in files if not f.endswith(end)]:
        raise CheckpointError(f"{index}: lists files that do not end in {end}: {shorten(odd)}")
    if missing := [f for f in files if not (index.parent / f).is_file()]:
        raise CheckpointError(f"{index}: {len(missing)} of {len(files)} shards are missing: {shorten(missing)}")
    for shard in shards:
        _check_inside(shard, index.parent)
    return {shard: frozenset(names) for shard, names in shards.items()}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, in which each name may stand once."""
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else ()):
        raise ValueError(f"it names {shorten(twice)} more than once")
    return dict(pairs)
