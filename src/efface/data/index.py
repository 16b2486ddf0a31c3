"""Looking up the positions of records by their ids, in constant time and with little memory."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from efface.data.ids import ArrayIds, RecordIds, as_record_id, read_ids
from efface.errors import RequestError, shorten
from efface.types import RecordId

MULTIPLIER = 0x9E3779B97F4A7C15  # 2**64 / golden ratio: spreads consecutive ids over the whole table
WORD = 2**64 - 1


class RecordIndex:
    """An index of the positions of records by id, for many look-ups.

    One pass over `ids` makes a table of at most 12 bytes for each record (20 above 2**31 records). Lists and arrays are
    not copied, so they must not change. The integer 1 and the string "1" are different ids; a NumPy integer equals the
    Python integer; True is not an id.

    Args:
        ids: The ids of the records, in order. None means that a record's index is its id, which needs no table.
        records: The number of records.

    Raises:
        RequestError: The length of `ids` differs from `records`, or an id has a wrong type or occurs twice.
    """

    def __init__(self, ids: Any, records: int) -> None:
        self._records = records
        self.names: RecordIds = range(records)
        self._has_table = ids is not None
        if ids is None:
            return
        problems: list[str] = []
        self.names = read_ids(ids, "ids", problems)
        if problems := problems or repeated_or_missing(self.names, records):
            raise RequestError(problems)
        places = np.fromiter(map(hash, self.names), np.int64, records).view(np.uint64)
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
        return RecordIndex, (self.names if self._has_table else None, self._records)

    @property
    def largest_bucket(self) -> int:
        """The largest number of records in one bucket, which a look-up compares; 0 without a table."""
        return int(np.diff(self._starts).max()) if self._has_table else 0

    def position(self, record: object) -> int | None:
        """Position of the record with an id; None if there is none."""
        name = as_record_id(record)
        if name is None:
            return None
        if not self._has_table:
            return name if not isinstance(name, str) and 0 <= name < self._records else None
        place = hash(name) * MULTIPLIER & WORD
        bucket, tag = place >> self._shift, place & 0xFFFFFFFF
        for at in range(self._starts[bucket], self._starts[bucket + 1]):
            if self._tags[at] == tag and self.names[found := int(self._order[at])] == name:
                return found
        return None

    def positions(self, records: Iterable[RecordId]) -> dict[RecordId, int]:
        """Position of each id, in the given order; unknown ids are left out."""
        found = ((record, self.position(record)) for record in records)
        return {record: at for record, at in found if at is not None}


def repeated_or_missing(names: RecordIds, records: int) -> list[str]:
    """Check that there is one id for each record, and that none occurs twice.

    Args:
        names: The ids of the training records, from `read_ids`.
        records: The number of training records.

    Returns:
        Problems, one line each; empty if there are none.
    """
    problems = []
    if len(names) != records:
        problems.append(f"ids: expected one id for each of the {records} training records, got {len(names)}")
    if isinstance(names, range):
        return problems
    # only ids with equal hashes can be equal, and an array of hashes takes a tenth of the memory of a dict of ids
    hashes = np.sort(np.fromiter(map(hash, names), np.int64))
    equal = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
    counts = Counter(i for i in names if hash(i) in equal) if equal else Counter[RecordId]()
    if repeated := [i for i, n in counts.items() if n > 1]:
        problems.append(
            f"ids name more than one training record: {shorten(repeated)}; ids must be unique: give the person that "
            "records belong to as Task.groups, and each record an id of its own"
        )
    return problems


def positions_of(asked: Sequence[RecordId], names: RecordIds) -> dict[RecordId, int]:
    """Positions of a few ids in the training set, by a pass over all ids; unknown ids are left out.

    Args:
        asked: The ids to look up.
        names: The ids of the training records, in order.
    """
    if isinstance(names, range):
        return {i: names.index(i) for i in asked if isinstance(i, int) and i in names}
    wanted = set(asked)
    if isinstance(names, ArrayIds):
        # in the array's own type, so that no number is rounded or wrapped
        limits = np.iinfo(names.values.dtype)
        fitting = [i for i in wanted if isinstance(i, int) and limits.min <= i <= limits.max]
        at = np.flatnonzero(np.isin(names.values, np.array(fitting, dtype=names.values.dtype)))
        return {names.name(i): i for i in at.tolist()}
    return {name: at for at, name in enumerate(names) if name in wanted}
