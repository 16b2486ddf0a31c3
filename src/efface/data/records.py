"""Reading records by position, whatever kind of dataset holds them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset, default_collate

from efface.task import Task, unpack_pair
from efface.types import Indices


def map_tensors(tree: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply `function` to every tensor in a nesting of dicts, lists and tuples; other leaves stay."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, dict):
        return type(tree)((k, map_tensors(v, function)) for k, v in tree.items())
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(map_tensors(v, function) for v in tree))
    if isinstance(tree, list | tuple):
        return type(tree)(map_tensors(v, function) for v in tree)
    return tree


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """Every tensor in a nesting of dicts, lists and tuples, in order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from tensors_in(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from tensors_in(value)


@dataclass(frozen=True)
class Batch:
    """Some records: `inputs` as the model takes them, `targets` of shape (records,)."""

    inputs: Any
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def rows(self, at: Tensor | slice) -> "Batch":
        """Some of the records, by position in the batch."""
        return Batch(map_tensors(self.inputs, lambda t: t[at]), self.targets[at])

    def to(self, device: torch.device) -> "Batch":
        """The same records on `device`."""
        return Batch(map_tensors(self.inputs, lambda t: t.to(device)), self.targets.to(device))


class Records:
    """The records of one dataset, read in batches by position on the CPU.

    Plain `TensorDataset`s (and subsets of them) under the default hooks are sliced rather than read one by one.
    """

    def __init__(self, dataset: Dataset[Any], task: Task) -> None:
        self.dataset = dataset
        self._task = task
        self._plain = task.unpack is unpack_pair and task.collate is default_collate

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def read(self, positions: Sequence[int] | Indices) -> Batch:
        """The records at `positions`, in that order, as one batch."""
        at = np.asarray(positions, dtype=np.int64)
        sliced = self._slice(self.dataset, at) if self._plain else None
        if sliced is not None:
            return sliced
        many = getattr(self.dataset, "__getitems__", None)
        samples = many(at.tolist()) if many is not None else [self.dataset[i] for i in at.tolist()]
        inputs, targets = self._task.unpack(self._task.collate(samples))
        return Batch(inputs, _classes(torch.as_tensor(targets)))

    def stream(self, positions: Sequence[int] | Indices, size: int = 1024) -> Iterator[Batch]:
        """The records at `positions` in batches of at most `size`."""
        for start in range(0, len(positions), size):
            yield self.read(positions[start : start + size])

    def targets(self, positions: Sequence[int] | Indices) -> Tensor:
        """Targets of the records at `positions`, on the CPU."""
        return torch.cat([batch.targets.cpu() for batch in self.stream(positions)])

    def hashes(self, positions: Sequence[int] | Indices) -> list[bytes]:
        """Content hash of each record: equal for records whose inputs and target are equal bit for bit."""
        return [h for batch in self.stream(positions) for h in content_hashes(batch)]

    @staticmethod
    def _slice(dataset: Dataset[Any], at: Indices) -> Batch | None:
        while type(dataset) is Subset:  # a class of the user's own may change what it passes on
            at = np.asarray(dataset.indices, dtype=np.int64)[at]
            dataset = dataset.dataset
        if type(dataset) is not TensorDataset or len(dataset.tensors) != 2:
            return None
        inputs, targets = dataset.tensors
        rows = torch.from_numpy(at).to(inputs.device)
        return Batch(inputs[rows], _classes(targets[rows.to(targets.device)]))


def _classes(targets: Tensor) -> Tensor:
    """Integer targets as int64, the only kind that torch takes as an index; others stay, to be refused."""
    return targets if targets.is_floating_point() or targets.dtype == torch.bool else targets.long()


def content_hashes(batch: Batch) -> list[bytes]:
    """One 16-byte hash a record of a batch.

    Padding that a collate function adds is part of the content, so hash records under one collate alone.
    """
    rows = [
        np.ascontiguousarray(t.detach().cpu().reshape(len(batch), -1).contiguous().view(torch.uint8).numpy())
        for t in [*tensors_in(batch.inputs), batch.targets]
    ]
    hashes = []
    for i in range(len(batch)):
        digest = blake2b(digest_size=16)
        for part in rows:
            digest.update(part[i])
        hashes.append(digest.digest())
    return hashes
