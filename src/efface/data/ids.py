"""Looking up the positions of records by their ids, in constant time and with little memory."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
from torch import Tensor

from efface.errors import RequestError, shorten
from efface.types import RecordId

MULTIPLIER = 0x9E3779B97F4A7C15  # 2**64 / golden ratio: spreads consecutive ids over the whole table
WORD = 2**64 - 1


class RecordIndex:
    """An index of the positions of records by id, for many look-ups.

    One pass over `ids` makes a table of at most 12 bytes for each record (20 above 2**31 records). The ids are not
    copied but compared by `ids[position]`, so they must not change. The integer 1 and the string "1" are different ids;
    a NumPy integer equals the Python integer; True is not an id.

    Args:
        ids: The ids of the records, in order. None means that a record's index is its id, which needs no table.
        records: The number of records.

    Raises:
        RequestError: The length of `ids` differs from `records`, or an id has a wrong type or occurs twice.
    """

    def __init__(self, ids: Sequence[RecordId] | None, records: int) -> None:
        self._ids, self._records = ids, records
        if ids is None:
            return
        if problems := id_problems(ids, records):
            raise RequestError(problems)
        places = np.fromiter(map(hash, ids), np.int64, records).view(np.uint64)
        places *= np.uint64(MULTIPLIER)
        order = np.argsort(places)
        places = places[order]
        # about as many buckets as records, so that a bucket holds one or two records, whatever their number
        bits = max(records.bit_length() - 1, 1)
        self._shift = 64 - bits
        small = np.int32 if records < 2**31 else np.int64
        self._order = order.astype(small)
        self._tags = places.astype(np.uint32)  # the low half, which excludes nearly all other records in a bucket
        ends = np.bincount((places >> np.uint64(self._shift)).astype(np.int64), minlength=2**bits)
        self._starts = np.zeros(2**bits + 1, dtype=small)
        np.cumsum(ends, out=self._starts[1:])

    def __len__(self) -> int:
        return self._records

    def __reduce__(self) -> tuple[Any, ...]:
        # hashes of strings differ from process to process
        return RecordIndex, (self._ids, self._records)

    @property
    def largest_bucket(self) -> int:
        """The largest number of records in one bucket, which a look-up compares; 0 without a table."""
        return 0 if self._ids is None else int(np.diff(self._starts).max())

    def position(self, record: object) -> int | None:
        """Position of the record with an id; None if there is none."""
        if not _is_id(record):
            return None
        if self._ids is None:
            return int(record) if not isinstance(record, str) and 0 <= record < self._records else None
        place = hash(record) * MULTIPLIER & WORD
        bucket, tag = place >> self._shift, place & 0xFFFFFFFF
        for at in range(self._starts[bucket], self._starts[bucket + 1]):
            if self._tags[at] == tag and self._ids[found := int(self._order[at])] == record:
                return found
        return None

    def positions(self, records: Iterable[RecordId]) -> dict[RecordId, int]:
        """Position of each id, in the given order; unknown ids are left out."""
        found = ((record, self.position(record)) for record in records)
        return {record: at for record, at in found if at is not None}


def id_problems(ids: Sequence[RecordId], records: int) -> list[str]:
    """Check the ids of the training records.

    Args:
        ids: The ids.
        records: The number of training records.

    Returns:
        Problems, one line each; empty if there are none.
    """
    is_ordered = hasattr(ids, "__len__") and hasattr(ids, "__getitem__") and getattr(ids, "ndim", 1) == 1
    if not is_ordered or isinstance(ids, str | bytes | Mapping):
        return [f"ids: ids must be a sequence in the order of train, got {type(ids).__name__}: give a list"]
    problems = []
    if len(ids) != records:
        problems.append(f"ids: expected one id for each of the {records} training records, got {len(ids)}")
    if others := [i for i in ids if not _is_id(i)]:
        return [*problems, f"ids: record ids are integers or strings, got {shorten(others)}"]
    # only ids with equal hashes can be equal, and an array of hashes takes a tenth of the memory of a dict of ids
    hashes = np.sort(np.fromiter(map(hash, ids), np.int64))
    equal = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
    counts = Counter(i for i in ids if hash(i) in equal) if equal else Counter[RecordId]()
    if repeated := [i for i, n in counts.items() if n > 1]:
        problems.append(f"ids name more than one training record: {shorten(repeated)}; ids must be unique")
    return problems


def positions_of(forget: Sequence[RecordId], ids: Sequence[RecordId] | None, records: int) -> dict[RecordId, int]:
    """Positions of a few ids in the training set, by a pass over all ids; unknown ids are left out.

    Args:
        forget: The ids to look up.
        ids: The ids of the training records, in order. None means that a record's index is its id.
        records: The number of training records.
    """
    if ids is None:
        return {i: int(i) for i in forget if isinstance(i, int | np.integer) and 0 <= i < records}
    wanted = set(forget)
    return {name: at for at, name in enumerate(ids) if name in wanted}


def as_python_ids(ids: Collection[Any]) -> list[Any]:
    """Convert ids from any array or sequence to Python integers and strings; other values stay as they are."""
    values = ids.tolist() if isinstance(ids, Tensor | np.ndarray) else ids
    return [v.item() if isinstance(v, np.generic) or _is_scalar(v) else v for v in values]


def _is_scalar(value: object) -> bool:
    return isinstance(value, Tensor | np.ndarray) and value.ndim == 0


def _is_id(value: object) -> TypeGuard[RecordId]:
    return isinstance(value, int | str | np.integer) and not isinstance(value, bool)
