"""The tables of content fingerprints: writing, reading and deleting rows, and noticing when they were tampered with."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import bindparam, delete, func, select, update

from efface.store.context import Snapshot, Transaction
from efface.store.database import batches, fingerprints, forgotten_content
from efface.store.entries import FingerprintSums
from efface.store.errors import DamagedError
from efface.store.keys import MAC_BYTES, Key

WRITTEN_AT_ONCE = 10_000
MODULUS = 2**256


@dataclass(frozen=True)
class Fingerprint:
    """What the store keeps of a training record's content until the record is forgotten.

    Args:
        tag: the tag of the record's id; the table holds its first half.
        content: HMAC of the id and the content.
        alike: whether the id looks like that of another record.
    """

    tag: bytes
    content: bytes
    alike: bool = False

    @property
    def short(self) -> bytes:
        """The half of the tag by which the row is found."""
        return self.tag[:MAC_BYTES]


class PackedFingerprints:
    """Fingerprints of many records in little memory: 33 bytes for each."""

    def __init__(self, rows: Iterable[Fingerprint] = ()) -> None:
        self._macs, self._alike = bytearray(), bytearray()
        self.extend(rows)

    def extend(self, rows: Iterable[Fingerprint]) -> None:
        """Add further ones."""
        for row in rows:
            self._macs += row.short + row.content
            self._alike.append(row.alike)

    def __len__(self) -> int:
        return len(self._alike)

    def __iter__(self) -> Iterator[Fingerprint]:
        for number, similar in enumerate(self._alike):
            at = 2 * MAC_BYTES * number
            middle = at + MAC_BYTES
            yield Fingerprint(
                bytes(self._macs[at:middle]), bytes(self._macs[middle : middle + MAC_BYTES]), bool(similar)
            )


def replace_all(transaction: Transaction, rows: Iterable[Fingerprint], before: FingerprintSums) -> FingerprintSums:
    """Write the fingerprints of all training records in place of those that were there.

    Args:
        transaction: an open transaction.
        rows: one for each record that is not forgotten.
        before: the sums until now.

    Returns:
        The sums to note in the history.
    """
    transaction.connection.execute(delete(fingerprints))
    count = total = 0
    for some in batches(rows, WRITTEN_AT_ONCE):
        transaction.connection.execute(
            fingerprints.insert(), [{"tag": r.short, "content": r.content, "alike": int(r.alike)} for r in some]
        )
        count += len(some)
        total += sum(_number(transaction.key, r.short, r.content, int(r.alike)) for r in some)
    return FingerprintSums(count, _hex(total), before.forgotten, before.forgotten_sum)


def change(transaction: Transaction, rows: Iterable[Fingerprint]) -> FingerprintSums:
    """Write other contents for records that have a fingerprint; the rest of their rows stays.

    Args:
        transaction: an open transaction.
        rows: their fingerprints with the contents of now.

    Returns:
        The sums to note in the history.
    """
    before = transaction.history.fingerprints
    total = int(before.sum, 16)
    chosen = update(fingerprints).where(fingerprints.c.tag == bindparam("half")).values(content=bindparam("now"))
    for some in batches(rows):
        held = fingerprints_of(transaction, [row.short for row in some])
        for row in some:
            alike = int(held[row.short].alike)
            total += _number(transaction.key, row.short, row.content, alike)
            total -= _number(transaction.key, row.short, held[row.short].content, alike)
        transaction.connection.execute(chosen, [{"half": row.short, "now": row.content} for row in some])
    return replace(before, sum=_hex(total))


def forget(transaction: Transaction, tags: Iterable[bytes], contents: Iterable[tuple[bytes, int]]) -> FingerprintSums:
    """Delete the fingerprints of records that are forgotten now, and keep the HMACs of their contents.

    Args:
        transaction: an open transaction.
        tags: the tags of the records; those without a fingerprint are ignored.
        contents: HMAC of each record's content (`Key.forgotten_mac`), with the number of its request.

    Returns:
        The sums to note in the history.
    """
    before = transaction.history.fingerprints
    count, total = before.records, int(before.sum, 16)
    for some in batches(tag[:MAC_BYTES] for tag in tags):
        chosen = fingerprints.c.tag.in_(some)
        for row in transaction.connection.execute(select(fingerprints).where(chosen)).all():
            count, total = count - 1, total - _number(transaction.key, row.tag, row.content, row.alike)
        transaction.connection.execute(delete(fingerprints).where(chosen))
    there, added = before.forgotten, int(before.forgotten_sum, 16)
    for pairs in batches(dict.fromkeys(contents)):
        held = _forgotten_pairs(transaction, [content for content, _ in pairs])
        fresh = [(content, request) for content, request in pairs if (content, request) not in held]
        if fresh:
            rows = [{"content": content, "request": request} for content, request in fresh]
            transaction.connection.execute(forgotten_content.insert(), rows)
        there += len(fresh)
        added += sum(_forgotten_number(transaction.key, content, request) for content, request in fresh)
    return FingerprintSums(count, _hex(total), there, _hex(added))


def sum_of(key: Key, rows: Iterable[Fingerprint]) -> str:
    """The sum of the HMACs of some fingerprints, as `FingerprintSums.sum` holds it."""
    return _hex(sum(_number(key, row.short, row.content, int(row.alike)) for row in rows))


def delete_all(transaction: Transaction) -> None:
    """Delete every row of both tables, for a store that retires."""
    transaction.connection.execute(delete(fingerprints))
    transaction.connection.execute(delete(forgotten_content))


def fingerprints_of(snapshot: Snapshot, tags: Sequence[bytes]) -> dict[bytes, Fingerprint]:
    """The fingerprints of some records, by their tags; records that the store has none of are left out.

    Raises:
        DamagedError: a row was changed so that the database finds it where it is not.
    """
    found: dict[bytes, Fingerprint] = {}
    by_half = {tag[:MAC_BYTES]: tag for tag in tags}
    for some in batches(by_half):
        for row in snapshot.connection.execute(select(fingerprints).where(fingerprints.c.tag.in_(some))):
            if (tag := by_half.get(row.tag)) is None:
                raise DamagedError("fingerprints: a row was changed")
            found[tag] = Fingerprint(tag, row.content, bool(row.alike))
    return found


def known_halves(snapshot: Snapshot) -> set[bytes]:
    """The first half of the tag of each record that has a fingerprint."""
    return set(snapshot.connection.execute(select(fingerprints.c.tag)).scalars())


def check_counts(snapshot: Snapshot) -> None:
    """Check the numbers of rows of both tables alone, which is quick; DamagedError if rows were removed or put in."""
    noted = snapshot.history.fingerprints
    tables = (("fingerprints", fingerprints, noted.records), ("forgotten_content", forgotten_content, noted.forgotten))
    counts = [
        (snapshot.connection.execute(select(func.count()).select_from(table)).scalar() or 0) for _, table, _ in tables
    ]
    if wrong := [_fault(name, n, wanted) for (name, _, wanted), n in zip(tables, counts, strict=True) if n != wanted]:
        raise DamagedError(wrong)


def requests_with_content(snapshot: Snapshot, contents: Iterable[bytes]) -> dict[bytes, list[int]]:
    """Numbers of the requests by which records of some contents were forgotten, by `Key.forgotten_mac`."""
    found: dict[bytes, list[int]] = {}
    for some in batches(dict.fromkeys(contents)):
        for content, request in sorted(_forgotten_pairs(snapshot, some)):
            found.setdefault(content, []).append(request)
    return found


def fingerprint_faults(snapshot: Snapshot) -> list[str]:
    """Problems with the rows of both tables, one line for each table whose rows are not those that were written."""
    noted = snapshot.history.fingerprints
    problems = []
    try:
        rows = snapshot.connection.execute(select(fingerprints))
        count, total = _counted(_number(snapshot.key, r.tag, r.content, r.alike) for r in rows)
        if (count, _hex(total)) != (noted.records, noted.sum):
            problems.append(_fault("fingerprints", count, noted.records))
        rows = snapshot.connection.execute(select(forgotten_content))
        count, total = _counted(_forgotten_number(snapshot.key, r.content, r.request) for r in rows)
        if (count, _hex(total)) != (noted.forgotten, noted.forgotten_sum):
            problems.append(_fault("forgotten_content", count, noted.forgotten))
    except (TypeError, ValueError, AttributeError):  # a value of another type
        problems.append("fingerprints: a row cannot be read: it was changed")
    return problems


def _fault(table: str, there: int, wanted: int) -> str:
    if there == wanted:
        return f"{table}: rows were changed"
    return f"{table}: holds {there:,} rows where the history notes {wanted:,}: rows were removed or put in"


def _counted(numbers: Iterable[int]) -> tuple[int, int]:
    count = total = 0
    for number in numbers:
        count, total = count + 1, total + number
    return count, total


def _forgotten_pairs(snapshot: Snapshot, contents: Sequence[bytes]) -> set[tuple[bytes, int]]:
    query = select(forgotten_content).where(forgotten_content.c.content.in_(contents))
    return {(row.content, row.request) for row in snapshot.connection.execute(query)}


def _number(key: Key, tag: bytes, content: bytes, alike: int) -> int:
    return key.row_number("fingerprints", tag + content + bytes([alike]))


def _forgotten_number(key: Key, content: bytes, request: int) -> int:
    return key.row_number("forgotten_content", content + str(request).encode())


def _hex(total: int) -> str:
    return f"{total % MODULUS:x}"
