"""Reading records by position from datasets of any kind, and hashing their content."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset, default_collate

from efface.runtime.printing import Brief
from efface.task import Task, unpack_pair
from efface.types import Indices, SizedDataset


def map_tensors(tree: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to every tensor in a nesting of mappings, lists and tuples.

    Args:
        tree: The nesting; leaves other than tensors stay as they are.
        function: The function.

    Returns:
        The same nesting. A mapping becomes a dict, or a subclass of dict if it can be made from a dict.
    """
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, Mapping):
        return _like(tree, {k: map_tensors(v, function) for k, v in tree.items()})
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(map_tensors(v, function) for v in tree))
    if isinstance(tree, list | tuple):
        return type(tree)(map_tensors(v, function) for v in tree)
    return tree


def _like(tree: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    if type(tree) is dict or not isinstance(tree, dict):
        return values
    try:
        made = type(tree)(values)
    except Exception:  # for example a defaultdict, whose first argument is its factory
        return values
    return made if list(made) == list(values) else values


def leaves_in(tree: Any) -> Iterator[Any]:
    """Every value in a nesting of mappings, lists and tuples that is not a mapping, list or tuple, in order."""
    if isinstance(tree, Mapping):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        for value in tree:
            yield from leaves_in(value)
    else:
        yield tree


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """Every tensor in a nesting of mappings, lists and tuples, in order."""
    return (leaf for leaf in leaves_in(tree) if isinstance(leaf, Tensor))


@dataclass(frozen=True, repr=False)
class Batch(Brief):
    """Some records.

    Args:
        inputs: Inputs as the model takes them; the first dimension of each tensor is the record.
        targets: Classes, (records,).
    """

    inputs: Any
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def rows(self, at: Tensor | slice) -> "Batch":
        """Some of the records, by position in the batch."""
        return Batch(map_tensors(self.inputs, lambda t: t[at]), self.targets[at])

    def to(self, device: torch.device) -> "Batch":
        """The same records, moved to a device."""
        return Batch(map_tensors(self.inputs, lambda t: t.to(device)), self.targets.to(device))


def subset(dataset: SizedDataset, positions: Sequence[int]) -> "Subset[Any]":
    """The records at some positions, in that order, as a torch dataset."""
    return Subset(cast("Dataset[Any]", dataset), positions)  # Subset needs only a length and an index


class Records:
    """The records of one dataset, read in batches by position on the CPU.

    With the default hooks, a `TensorDataset` or a subset of one is sliced rather than read record by record.

    Args:
        dataset: The records.
        task: The task, for its hooks `collate` and `unpack`.
    """

    def __init__(self, dataset: SizedDataset, task: Task) -> None:
        self.dataset = dataset
        self._task = task
        self.is_sliceable = task.unpack is unpack_pair and task.collate is default_collate

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, positions: Sequence[int] | Indices) -> Batch:
        """The records at `positions`, in that order, as one batch."""
        at = np.asarray(positions, dtype=np.int64)
        sliced = self._slice(self.dataset, at) if self.is_sliceable else None
        if sliced is not None:
            return sliced
        return self._batch(self._samples(at))

    def _samples(self, at: Indices) -> list[Any]:
        many = getattr(self.dataset, "__getitems__", None)
        return list(many(at.tolist())) if many is not None else [self.dataset[i] for i in at.tolist()]

    def _batch(self, samples: list[Any]) -> Batch:
        inputs, targets = self._task.unpack(self._task.collate(samples))
        return Batch(inputs, _classes(torch.as_tensor(targets)))

    def stream(self, positions: Sequence[int] | Indices, size: int = 1024) -> Iterator[Batch]:
        """Read the records at `positions`, in that order, in batches of at most `size`."""
        for start in range(0, len(positions), size):
            yield self.read(positions[start : start + size])

    def targets(self, positions: Sequence[int] | Indices) -> Tensor:
        """Targets of the records at `positions`, (records,), on the CPU."""
        return torch.cat([batch.targets.cpu() for batch in self.stream(positions)])

    def hashed(self, positions: Sequence[int] | Indices, size: int = 1024) -> Iterator[tuple[Batch, list[bytes]]]:
        """Read records in batches, with the content hash of each record.

        A user's hooks may pad records to the longest of their batch, so with such hooks each record is hashed alone.

        Args:
            positions: Positions of the records.
            size: Largest number of records in a batch.

        Yields:
            A batch, and the 16-byte hashes of its records.
        """
        for start in range(0, len(positions), size):
            at = np.asarray(positions[start : start + size], dtype=np.int64)
            if self.is_sliceable:
                batch = self.read(at)
                yield batch, content_hashes(batch)
            else:
                samples = self._samples(at)
                # singly first, since a collate function may change its samples in place
                alone = [content_hashes(self._batch([sample]))[0] for sample in samples]
                yield self._batch(samples), alone

    def hashes(self, positions: Sequence[int] | Indices) -> list[bytes]:
        """Content hash of each record: equal for records whose inputs and target are equal bit for bit."""
        return [h for _, hashes in self.hashed(positions) for h in hashes]

    @staticmethod
    def _slice(dataset: SizedDataset, at: Indices) -> Batch | None:
        while type(dataset) is Subset:  # not a subclass, which may change the records
            at = np.asarray(dataset.indices, dtype=np.int64)[at]
            dataset = cast("SizedDataset", dataset.dataset)
        if type(dataset) is not TensorDataset or len(dataset.tensors) != 2:
            return None
        inputs, targets = dataset.tensors
        rows = torch.from_numpy(at).to(inputs.device)
        return Batch(inputs[rows], _classes(targets[rows.to(targets.device)]))


def _classes(targets: Tensor) -> Tensor:
    """Integer targets as int64, which torch needs for an index; other types stay, and are refused by checks."""
    return targets if targets.is_floating_point() or targets.dtype == torch.bool else targets.long()


def checksums(batch: Batch) -> Indices:
    """One number for each record, (records,): equal for records of equal content, and seldom equal for others."""
    total = np.zeros(len(batch), dtype=np.int64)
    for place, part in enumerate([*_parts(batch.inputs, len(batch)), _rows(batch.targets, len(batch))]):
        if isinstance(part, np.ndarray):
            words = np.pad(part, ((0, 0), (0, -part.shape[1] % 4))).view(np.int32)
            total += (2 * place + 1) * words.sum(1, dtype=np.int64)
    return total


def content_hashes(batch: Batch) -> list[bytes]:
    """A 16-byte hash of each record in a batch, by the tensors, arrays, numbers and text in its inputs and its target.

    Padding that a collate function adds is part of the content; see `Records.hashed`.
    """
    parts = [*_parts(batch.inputs, len(batch)), _rows(batch.targets, len(batch))]
    hashes = []
    for i in range(len(batch)):
        digest = blake2b(digest_size=16)
        for part in parts:
            value = part if isinstance(part, bytes) else part[i]
            # with the length, so that bytes moved from the end of one part to the start of the next change the hash
            digest.update(len(value).to_bytes(8, "little"))
            digest.update(value)
        hashes.append(digest.digest())
    return hashes


def _parts(tree: Any, records: int) -> Iterator[Any]:
    """The content of inputs, part by part: bytes that all records share, or a sequence of each record's bytes."""
    if isinstance(tree, Tensor):
        yield _rows(tree, records)
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from _parts(value, records)
    elif isinstance(tree, list | tuple):
        # default_collate returns text as a list with one text for each record
        if len(tree) == records and not any(isinstance(v, Tensor | Mapping | list | tuple) for v in tree):
            yield [_leaf_bytes(value) for value in tree]
        else:
            for value in tree:
                yield from _parts(value, records)
    else:
        yield _leaf_bytes(tree)


def _rows(tensor: Tensor, records: int) -> Any:
    rows = tensor.detach().cpu().reshape(records, -1).contiguous()
    return np.ascontiguousarray(rows.view(torch.uint8).numpy())


def _leaf_bytes(leaf: Any) -> bytes:
    if isinstance(leaf, np.ndarray) and leaf.dtype != object:
        return repr((leaf.shape, leaf.dtype.str)).encode() + np.ascontiguousarray(leaf).tobytes()
    text = repr(leaf)
    # an object whose text shows its memory address differs each time it is read, so only its type is used
    return type(leaf).__name__.encode() if " at 0x" in text else text.encode(errors="backslashreplace")
