"""Reading records by position from datasets of any kind."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset, default_collate

from efface.data.hashing import content_hashes
from efface.data.nesting import UncuttableError, cut, how_cut, moved
from efface.data.objects import UncomparableError
from efface.errors import EffaceError, RequestError, describe_error, shorten
from efface.kinds import Kind
from efface.runtime.printing import Brief
from efface.task import Task, unpack_pair
from efface.types import Indices, RecordId, SizedDataset

T = TypeVar("T")


@dataclass(frozen=True, repr=False)
class Batch(Brief):
    """Some records.

    Args:
        inputs: Inputs as the model takes them.
        targets: Targets as the task gives them, (records, ...); classes are (records,), int64.
    """

    inputs: Any
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def can_cut(self) -> bool:
        """Whether every leaf of the inputs has one row for each record; see `Records.can_cut` too."""
        try:
            how_cut(self.inputs, len(self))
        except UncuttableError:
            return False
        return True

    def rows(self, at: Tensor | slice) -> "Batch":
        """Some of the records, by position in the batch.

        Raises:
            RequestError: A leaf of the inputs is no tensor, array or list with one row for each record.
        """
        try:
            how = how_cut(self.inputs, len(self))
        except UncuttableError as error:
            raise RequestError(str(error)) from error
        return Batch(cut(self.inputs, how, at), self.targets[at])

    def to(self, device: torch.device) -> "Batch":
        """The same records, moved to a device; inputs with a method `to` of their own are moved by it."""
        return Batch(moved(self.inputs, device), self.targets.to(device))


def subset(dataset: SizedDataset, positions: Sequence[int]) -> "Subset[Any]":
    """The records at some positions, in that order, as a torch dataset."""
    return Subset(cast("Dataset[Any]", dataset), positions)  # Subset needs only a length and an index


class Records:
    """The records of one dataset, read in batches by position on the CPU.

    With the default hooks, a `TensorDataset` or a subset of one is sliced rather than read record by record.

    Args:
        dataset: The records.
        task: The task, for its hooks `collate` and `unpack`.
        where: Name of the set in messages, such as `train`; None if it has none.
        ids: The ids of the records, in order, for messages; None if a record's index is its id.
    """

    def __init__(
        self, dataset: SizedDataset, task: Task, where: str | None = None, ids: Sequence[RecordId] | None = None
    ) -> None:
        self.dataset, self.where, self.ids = dataset, where, ids
        self._task = task
        self.is_sliceable = task.unpack is unpack_pair and task.collate is default_collate

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def rules(self) -> Kind:
        """The mathematics of the task's kind."""
        return self._task.rules

    @property
    def is_made_of_tensors(self) -> bool:
        """Whether the records are rows of tensors, which are sliced and not read one by one."""
        return self.is_sliceable and self._slice(self.dataset, np.arange(0)) is not None

    @cached_property
    def can_cut(self) -> bool:
        """Whether a batch can be cut by record: batches of one, two and three records have as many rows in each leaf.

        One batch alone does not show it, since another dimension may be as long as the batch.
        """
        if self.is_made_of_tensors:
            return True
        if not len(self):
            return False
        try:
            batches = [self.read(np.arange(n) % len(self)) for n in (1, 2, 3)]
            first, *others = (how_cut(batch.inputs, len(batch)) for batch in batches)
        except UncuttableError:
            return False
        return all(how == first for how in others)

    def read(self, positions: Sequence[int] | Indices) -> Batch:
        """The records at `positions`, in that order, as one batch.

        Raises:
            RequestError: A record cannot be read; the message names it.
        """
        at = np.asarray(positions, dtype=np.int64)
        return self._name_unreadable(at, lambda: self._read(at))

    def _read(self, at: Indices) -> Batch:
        sliced = self._slice(self.dataset, at) if self.is_sliceable else None
        return self._batch(self._samples(at)) if sliced is None else sliced

    def _samples(self, at: Indices) -> list[Any]:
        many = getattr(self.dataset, "__getitems__", None)
        return list(many(at.tolist())) if many is not None else [self.dataset[i] for i in at.tolist()]

    def _batch(self, samples: list[Any]) -> Batch:
        inputs, targets = self._task.unpack(self._task.collate(samples))
        targets = _classes(torch.as_tensor(targets))
        if not targets.ndim or len(targets) != len(samples):
            raise ValueError(f"targets of shape {tuple(targets.shape)} for a batch of {len(samples)}")
        return Batch(inputs, targets)

    def _name_unreadable(self, at: Indices, read: Callable[[], T]) -> T:
        """Read, and turn an exception of the user's dataset or hooks into one that names the record."""
        try:
            return read()
        except (EffaceError, UncomparableError):
            raise
        except Exception as error:  # a user's dataset and hooks may raise anything
            raise self._unreadable(at, error) from error

    def _unreadable(self, at: Indices, error: Exception) -> RequestError:
        of = "" if self.where is None else f" of {self.where}"
        for i in at.tolist():
            try:
                self._read(np.array([i], dtype=np.int64))
            except Exception as own:
                return RequestError(f"record {self._name(i)}{of} cannot be read ({describe_error(own)})")
        names = shorten(at.tolist(), show=self._name)
        return RequestError(
            f"records {names}{of} can be read alone but not as one batch ({describe_error(error)}): give Task.collate"
        )

    def _name(self, at: int) -> str:
        is_named = self.ids is not None and at < len(self.ids) and self.ids[at] != at
        return f"{at} (id {self.ids[at]!r})" if self.ids is not None and is_named else f"{at}"

    def stream(self, positions: Sequence[int] | Indices, size: int = 1024) -> Iterator[Batch]:
        """Read the records at `positions`, in that order, in batches of at most `size`."""
        for start in range(0, len(positions), size):
            yield self.read(positions[start : start + size])

    def targets(self, positions: Sequence[int] | Indices) -> Tensor:
        """Labels of the records at `positions`, (records, ...), on the CPU: what the task's kind keeps of targets."""
        return torch.cat([self.rules.labels(batch.targets.cpu()) for batch in self.stream(positions)])

    def hashed(
        self, positions: Sequence[int] | Indices, size: int = 1024, with_targets: bool = True
    ) -> Iterator[tuple[Batch, list[bytes]]]:
        """Read records in batches, with the content hash of each record.

        A user's hooks may pad records to the longest of their batch, so with such hooks each record is hashed alone.

        Args:
            positions: Positions of the records.
            size: Largest number of records in a batch.
            with_targets: Whether the target is part of the content too.

        Yields:
            A batch, and the 16-byte hashes of its records.

        Raises:
            RequestError: A record cannot be read; the message names it.
            UncomparableError: An input is an object whose content cannot be seen.
        """
        for start in range(0, len(positions), size):
            at = np.asarray(positions[start : start + size], dtype=np.int64)
            yield self._name_unreadable(at, lambda at=at: self._hashed(at, with_targets))  # type: ignore[misc]

    def _hashed(self, at: Indices, with_targets: bool) -> tuple[Batch, list[bytes]]:
        if self.is_sliceable:
            batch = self.read(at)
            return batch, content_hashes(batch, with_targets)
        samples = self._samples(at)
        # singly first, since a collate function may change its samples in place
        alone = [content_hashes(self._batch([sample]), with_targets)[0] for sample in samples]
        return self._batch(samples), alone

    def hashes(self, positions: Sequence[int] | Indices, with_targets: bool = True) -> list[bytes]:
        """Content hash of each record: equal for records whose inputs and target are equal bit for bit."""
        return [h for _, hashes in self.hashed(positions, with_targets=with_targets) for h in hashes]

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
