"""Structure: what the records of a task are parts of, where a record is read together with others."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from efface.types import Indices

MIN_PARTS = 50  # a part that is taken out to be read is at most this share of the training records, or of the request


@dataclass(frozen=True)
class Effects:
    """What the deletion of some parts would do to the rest of a structure.

    Args:
        refusals: Reasons to refuse the request, one line each.
        warnings: What the caller should know of it, one line each.
    """

    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Structure(ABC):
    """What the records of a task are parts of, such as a graph of which they are the nodes or the edges.

    A structure does not change: to delete is to make another one. Positions are those of `Task.train`, and stay what
    they are after a deletion, so that it can be said of a part that has left, too.
    """

    @abstractmethod
    def after(self, positions: Indices) -> "Structure":
        """The structure after the training records at some positions have left; some may have left before.

        Args:
            positions: The positions, in any order.
        """

    @abstractmethod
    def forward(self, model: nn.Module, inputs: Any) -> Tensor:
        """What a model says of some records, read with the structure as it is.

        A record that has left is read as one that never was in the structure, such as a record of the holdout.

        Args:
            model: The model.
            inputs: The inputs of the records, as a task's `unpack` gives them.
        """

    def fitted(self, dataset: Any) -> Any:
        """What `Task.fit` is given to train on; by default the records.

        Args:
            dataset: The records to train on; all others of the training set have left the structure.
        """
        return dataset

    def can_leave(self, positions: Indices) -> NDArray[np.bool_]:
        """Which training records a request may name; by default all.

        Args:
            positions: Positions of some records.

        Returns:
            For each whether it may.
        """
        return np.ones(len(positions), dtype=bool)

    def affected(self, positions: Indices) -> Mapping[str, Indices]:
        """Records that stay, and of which a model should say something else once some have left; by default none.

        Args:
            positions: Positions of those that leave.

        Returns:
            Positions by how far they are from what leaves, nearest first, such as "1 hop" and "2 hops". No record is in
            two of them.
        """
        return {}

    def rows(self, positions: Indices, hops: int) -> Indices | None:
        """Which rows of a layer's outputs stand within some hops of what leaves; by default it is not known.

        Args:
            positions: Positions of the records that leave.
            hops: How far; 0 for what leaves itself, such as both ends of an edge.

        Returns:
            Row numbers in order; None where layers have no rows that a structure knows of.
        """
        return None

    def effects(self, positions: Indices) -> Effects:
        """What a deletion would do to the rest, found before any work; by default nothing to mention.

        Args:
            positions: Positions of the records that leave.
        """
        return Effects()


class Renumbered(Structure):
    """A structure whose training records are some of another's, in another order.

    Args:
        inner: The structure, from which all others have left.
        positions: The position in `inner` of each record.
    """

    def __init__(self, inner: Structure, positions: Indices) -> None:
        self.inner, self.positions = inner, positions

    def after(self, positions: Indices) -> Structure:
        return Renumbered(self.inner.after(self.positions[positions]), self.positions)

    def forward(self, model: nn.Module, inputs: Any) -> Tensor:
        return self.inner.forward(model, inputs)

    def fitted(self, dataset: Any) -> Any:
        return self.inner.fitted(dataset)

    def can_leave(self, positions: Indices) -> NDArray[np.bool_]:
        return self.inner.can_leave(self.positions[positions])

    def affected(self, positions: Indices) -> Mapping[str, Indices]:
        rings = self.inner.affected(self.positions[positions])
        return {name: np.flatnonzero(np.isin(self.positions, ring)) for name, ring in rings.items()}

    def rows(self, positions: Indices, hops: int) -> Indices | None:
        return self.inner.rows(self.positions[positions], hops)

    def effects(self, positions: Indices) -> Effects:
        return self.inner.effects(self.positions[positions])


class Placed(nn.Module):
    """A model within a structure: called with the inputs of records, it reads them with all that is around them.

    Args:
        structure: The structure.
        model: The model.
    """

    def __init__(self, structure: Structure, model: nn.Module) -> None:
        super().__init__()
        self.structure, self.model = structure, model

    def forward(self, inputs: Any) -> Tensor:
        """What the model says of the records."""
        return self.structure.forward(self.model, inputs)


def renumbered(structure: Structure | None, positions: Sequence[int], records: int) -> Structure | None:
    """A structure for a task that keeps some of its training records; None where there is none.

    Args:
        structure: The structure of the task with all records.
        positions: The position of each record that stays.
        records: How many there were.
    """
    if structure is None:
        return None
    at = np.asarray(positions, dtype=np.int64)
    return Renumbered(structure.after(np.setdiff1d(np.arange(records, dtype=np.int64), at)), at)
