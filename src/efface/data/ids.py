"""Where a record is, by its id: looked up in constant time, in few bytes a record."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from efface.errors import RequestError
from efface.runtime.text import shorten
from efface.types import RecordId

MULTIPLIER = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio: spreads ids that follow each other over all places
WORD = 2**64 - 1


class RecordIndex:
    """Positions of records by id, for many look-ups in the same ids.

    `ids` names the records in order; None means that a record's index is its id, which needs no table. Otherwise
    one pass over `ids` makes a table of at most 12 bytes a record (20 above 2**31 records). The ids themselves are
    not copied: what the table finds is compared with `ids[position]`, so they must stay as they are.

    The integer 1 and the string "1" are two ids; a NumPy integer is the same id as Python's; True is none.
    Raises RequestError where `ids` has another length than `records`, other kinds of ids, or one id twice.
    """

    def __init__(self, ids: Sequence[RecordId] | None, records: int) -> None:
        self._ids, self._records = ids, records
        if ids is None:
            return
        _check(ids, records)
        places = np.fromiter(map(hash, ids), np.int64, records).view(np.uint64)
        places *= np.uint64(MULTIPLIER)
        order = np.argsort(places)
        places = places[order]
        _check_unique(ids, order, places)
        # about one bucket a record, so that a bucket holds one record or two, whatever their number
        bits = max(records.bit_length() - 1, 1)
        self._shift = 64 - bits
        small = np.int32 if records < 2**31 else np.int64
        self._order = order.astype(small)
        self._tags = places.astype(np.uint32)  # the low half, which says no to nearly all others in a bucket
        ends = np.bincount((places >> np.uint64(self._shift)).astype(np.int64), minlength=2**bits)
        self._starts = np.zeros(2**bits + 1, dtype=small)
        np.cumsum(ends, out=self._starts[1:])

    def __len__(self) -> int:
        return self._records

    def __reduce__(self) -> tuple[Any, ...]:
        # hashes of strings differ from process to process
        return RecordIndex, (self._ids, self._records)

    def position(self, record: object) -> int | None:
        """Position of the record of that id, or None where there is none."""
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
        """Position of each id, in the order asked for; ids that are not there are left out."""
        found = ((record, self.position(record)) for record in records)
        return {record: at for record, at in found if at is not None}


def _is_id(value: object) -> TypeGuard[RecordId]:
    return isinstance(value, int | str | np.integer) and not isinstance(value, bool)


def _check(ids: Sequence[RecordId], records: int) -> None:
    problems = []
    if len(ids) != records:
        problems.append(f"ids: expected one id for each of the {records} training records, got {len(ids)}")
    if odd := [i for i in ids if not _is_id(i)]:
        problems.append(f"ids: record ids are integers or strings, got {shorten(odd)}")
    if problems:
        raise RequestError(problems)


def _check_unique(ids: Sequence[RecordId], order: NDArray[np.int64], places: NDArray[np.uint64]) -> None:
    """`places` are in order, and `order` says whose they are: only ids at the same place can be equal."""
    same = np.flatnonzero(places[1:] == places[:-1])
    at = np.union1d(order[same], order[same + 1])
    if twice := [i for i, n in Counter(ids[k] for k in at.tolist()).items() if n > 1]:
        raise RequestError(f"ids name more than one training record: {shorten(twice)}; ids must be unique")
