"""What the records of a task are called: by ids of their own, by position, or by position in a Subset's data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from torch.utils.data import Subset

from efface.data.ids import ArrayIds, RecordIds, read_ids
from efface.data.index import positions_of, repeated_or_missing
from efface.errors import shorten
from efface.task import Task
from efface.types import Indices, RecordId, SizedDataset

BASE, SUBSET = "base", "subset"
NUMBERINGS = (BASE, SUBSET)
OWN_IDS = "the ids given"


@dataclass(frozen=True)
class Names:
    """The ids of all training records.

    Args:
        ids: The ids, by position; empty if there is a problem.
        where: Where the ids come from, for messages.
        numbering: "base" if records are named by their positions in the data set that `train` is a Subset of, "subset"
            if by their positions in the Subset; None if `train` is no such Subset, or has ids of its own.
        is_given: Whether the task states its ids or its numbering. If not, and `train` is a Subset, a request must be
            such that it does not matter.
    """

    ids: RecordIds
    where: str
    numbering: str | None = None
    is_given: bool = True

    @property
    def by_position(self) -> bool:
        """Whether a record's id is its position in `train`."""
        return self.where != OWN_IDS and self.numbering != BASE


def name_records(task: Task, records: int, problems: list[str]) -> Names:
    """Read the ids of the training records.

    A Subset, nested or not, is named by positions in its outermost data set. A subclass of Subset counts, unless it has
    another length than its indices. Records of other wrappers are named by their positions.

    Args:
        task: The task.
        records: The number of training records.
        problems: Problems are added to this.
    """
    by_position = range(records), f"indices 0 to {records - 1}"
    given = task.ids
    if given is not None and not isinstance(given, str):
        before = len(problems)
        ids = read_ids(given, "ids", problems)
        if len(problems) == before:
            problems += repeated_or_missing(ids, records)
        return Names(ids if len(problems) == before else (), OWN_IDS)
    if given is not None and given not in NUMBERINGS:
        problems.append(f"ids: expected one id for each training record, or 'base' or 'subset', got {given!r}")
        return Names((), OWN_IDS)
    indices = subset_indices(task.train, records)
    if indices is None:
        if given is not None:
            problems.append(
                f"ids={given!r} is for a train that is a torch Subset, got {type(task.train).__name__}: leave ids out"
            )
        return Names(*by_position)
    if given == SUBSET:
        return Names(*by_position, SUBSET)
    if isinstance(indices, str):
        problems.append(f"train is a Subset {indices}: give ids=, one for each record, or ids='subset'")
        return Names((), OWN_IDS)
    if given is None and np.array_equal(indices, np.arange(records)):
        return Names(*by_position)
    where = f"positions in the data set{_of_size(len(_outermost(task.train)))} that train is a Subset of"
    return Names(ArrayIds(indices), where, BASE, given is not None)


def subset_indices(data: object, records: int) -> Indices | str | None:
    """The positions of a Subset's records in its outermost data set, through all Subsets in between.

    Args:
        data: A data set.
        records: Its number of records.

    Returns:
        The positions; a few words, to follow "a Subset", if they cannot be ids; None if the data set is no Subset.
    """
    found: Indices = np.arange(records, dtype=np.int64)
    if not isinstance(data, Subset):
        return None
    while isinstance(data, Subset):
        own, size = _positions(data.indices), len(data.dataset) if hasattr(data.dataset, "__len__") else None
        if own is not None and len(own) != len(cast("SizedDataset", data)):
            return None  # a subclass with another length: what its indices mean is not known
        if own is None or size is None or not ((-size <= own) & (own < size)).all():
            return f"whose indices are not all positions in its data set{_of_size(size)}"
        found = (own % size)[found] if size else found
        data = data.dataset
    values, counts = np.unique(found, return_counts=True)
    if len(values) < len(found):
        return f"that holds some records more than once (position {shorten(values[counts > 1].tolist())})"
    return found


def _positions(indices: Any) -> Indices | None:
    """The indices of a Subset as an array; None if they are not integers."""
    problems: list[str] = []
    own = read_ids(indices, "indices", problems)
    array = own.values if isinstance(own, ArrayIds) else np.asarray(own if len(own) else range(0))
    return None if problems or array.dtype.kind not in "iu" else array.astype(np.int64)


def check_numbering(names: Names, asked: Sequence[RecordId], problems: list[str]) -> None:
    """Refuse a request that means other records by position in a Subset than by position in its data set.

    Args:
        names: The ids of the training records.
        asked: The ids to look up.
        problems: A problem is added to this.
    """
    if names.numbering != BASE or names.is_given or not asked:
        return
    records = len(names.ids)
    of_subset = {i for i in asked if isinstance(i, int) and 0 <= i < records}
    of_base = positions_of(asked, names.ids)
    fits_subset, fits_base = len(of_subset) == len(set(asked)), len(of_base) == len(set(asked))
    if fits_subset and fits_base and any(of_base[i] != i for i in asked):
        one = next(i for i in asked if of_base[i] != i)
        problems.append(
            f"train is a Subset, and the request could mean positions in its data set (id {one} is then its record "
            f"{of_base[one]}) or in the Subset (id {one} is then record {names.ids[int(one)]} of the data set): say "
            "which, by ids='base' or ids='subset'"
        )
    elif fits_subset and not fits_base:
        problems.append(
            "train is a Subset, whose records are named by their positions in its data set; these ids fit positions in "
            "the Subset alone: give ids='subset' if you mean those"
        )


def _outermost(data: object) -> SizedDataset:
    while isinstance(data, Subset):
        data = data.dataset
    return cast("SizedDataset", data)


def _of_size(records: int | None) -> str:
    return " of unknown length" if records is None else f" of {records} records"
