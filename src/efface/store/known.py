"""Which records a store knows by their ids: those it keeps a fingerprint of, and those that were asked for before."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from efface.data.similar import written_otherwise
from efface.runtime.printing import Brief
from efface.store.context import Snapshot
from efface.store.fingerprint_rows import fingerprints_of
from efface.store.tag_rows import requests_of
from efface.types import RecordId

MAX_COMPARED = 1000  # unknown ids for which other ways of writing them are looked up


@dataclass(frozen=True)
class KnownIds:
    """Those of some ids that a store knows.

    Args:
        known: the store keeps a fingerprint of the record, has forgotten it, or a pending request names it.
        alike: of these, those that look like the id of another record, and are not the same.
    """

    known: frozenset[RecordId]
    alike: frozenset[RecordId]


@dataclass(frozen=True, repr=False)
class KnownRecords(Brief):
    """What a store knows of some records, by their tags.

    Args:
        requests: numbers of the requests that name each record, cancelled ones included.
        trained: records that have a fingerprint: the model in service was trained on them.
        forgotten: records that were forgotten before.
        waiting: records that pending requests name.
        alike: records with a fingerprint whose id looks like that of another record.
    """

    requests: Mapping[bytes, set[int]]
    trained: frozenset[bytes]
    forgotten: frozenset[bytes]
    waiting: frozenset[bytes]
    alike: frozenset[bytes]

    def knows(self, tag: bytes) -> bool:
        """Whether the model in service was trained on the record, or it was forgotten before."""
        return tag in self.trained or tag in self.forgotten


def known_records(snapshot: Snapshot, tags: Collection[bytes]) -> KnownRecords:
    """Look up records by the tags of their ids.

    Raises:
        DamagedError: a row was changed.
    """
    ordered, history = list(tags), snapshot.history
    requests, prints = requests_of(snapshot, ordered), fingerprints_of(snapshot, ordered)
    honoured, pending = history.honoured, {r.number for r in history.pending}
    return KnownRecords(
        requests,
        trained=frozenset(prints),
        forgotten=frozenset(tag for tag, numbers in requests.items() if not honoured.isdisjoint(numbers)),
        waiting=frozenset(tag for tag, numbers in requests.items() if not pending.isdisjoint(numbers)),
        alike=frozenset(tag for tag, row in prints.items() if row.alike),
    )


def known_ids(snapshot: Snapshot, ids: Iterable[RecordId]) -> KnownIds:
    """Those of some ids that the store knows."""
    by_tag = {snapshot.key.tag(name): name for name in ids}
    found = known_records(snapshot, by_tag)
    known = found.trained | found.forgotten | found.waiting
    return KnownIds(frozenset(by_tag[tag] for tag in known), frozenset(by_tag[tag] for tag in found.alike))


def mistaken(snapshot: Snapshot, unknown: Collection[RecordId]) -> dict[RecordId, RecordId]:
    """Unknown ids that another way of writing makes known ones, each with that one; of at most MAX_COMPARED ids."""
    ways = {name: written_otherwise(name) for name in list(unknown)[:MAX_COMPARED]}
    known = known_ids(snapshot, {other for others in ways.values() for other in others}).known
    near = {name: next((other for other in others if other in known), None) for name, others in ways.items()}
    return {name: other for name, other in near.items() if other is not None}
