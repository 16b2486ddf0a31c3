"""What a store keeps of the content of records: made with it, kept up by its runs, and checked."""

import hashlib
import hmac
from pathlib import Path

import pytest
import torch
from sqlalchemy import delete, select, update
from torch.utils.data import TensorDataset

from efface import Task
from efface.data.similar import alike
from efface.store import Store, StoreSettings
from efface.store.database import fingerprints, forgotten_content
from efface.store.fingerprint_rows import Fingerprint, PackedFingerprints
from helpers.store_cases import ANEW, IDS, QUICK, context_of, people
from helpers.tiny import Tiny, mlp


def rows(store: Store) -> dict[bytes, bytes]:
    """HMAC of the content of each record that has one, by the half of its tag."""
    with context_of(store).reading() as snapshot:
        return {row.tag: row.content for row in snapshot.connection.execute(select(fingerprints))}


def kept(store: Store) -> list[tuple[bytes, int]]:
    """HMACs of forgotten contents, with the number of the request."""
    with context_of(store).reading() as snapshot:
        return [(row.content, row.request) for row in snapshot.connection.execute(select(forgotten_content))]


def tag(store: Store, name: str) -> bytes:
    secret = bytes.fromhex(store.key_path.read_text())
    return hmac.digest(secret, b"id text\0" + name.encode(), "sha256")


def by_hand(store: Store, tiny: Tiny, at: int) -> bytes:
    """The fingerprint of a record, from its definition."""
    x, y = tiny.x[at].numpy().tobytes(), tiny.y[at].numpy().tobytes()
    digest = hashlib.blake2b(digest_size=16)
    for part in (x, y):
        digest.update(len(part).to_bytes(8, "little") + part)
    secret = bytes.fromhex(store.key_path.read_text())
    return hmac.digest(secret, b"content\0" + tag(store, IDS[at]) + digest.digest(), "sha256")[:16]


def test_every_training_record_has_its_fingerprint(store: Store, tiny: Tiny) -> None:
    assert rows(store) == {tag(store, IDS[at])[:16]: by_hand(store, tiny, at) for at in range(len(IDS))}
    assert store.history().fingerprints.records == len(IDS)


def test_the_fingerprint_of_a_forgotten_record_goes_and_its_content_alone_is_kept(store: Store, tiny: Tiny) -> None:
    before = rows(store)
    store.add(people([5, 7]))
    store.add(people([7, 9]))
    store.run(QUICK)
    gone = {tag(store, IDS[at])[:16] for at in (5, 7, 9)}
    assert rows(store) == {k: v for k, v in before.items() if k not in gone}
    secret = bytes.fromhex(store.key_path.read_text())
    wanted = set()
    for at, request in ((5, 1), (7, 1), (9, 2)):
        part = tiny.x[at].numpy().tobytes()
        inputs = hashlib.blake2b(len(part).to_bytes(8, "little") + part, digest_size=16).digest()
        wanted.add((hmac.digest(secret, b"forgotten content\0" + inputs, "sha256")[:16], request))
    assert set(kept(store)) == wanted
    assert not store.verify(level=None).problems


def test_contents_of_forgotten_records_are_not_kept_where_nobody_wants_them(
    tmp_path: Path, tiny: Tiny, task: Task
) -> None:
    store = Store.create(tmp_path / "store", task, tiny.model, settings=StoreSettings(notice_returns=False))
    store.add(people([5]))
    store.run(QUICK)
    assert not kept(store)
    assert len(rows(store)) == len(IDS) - 1
    assert not store.verify(level=None).problems


def test_a_model_that_is_trained_anew_has_fingerprints_of_what_it_was_trained_on(
    store: Store, task: Task, tiny: Tiny
) -> None:
    x = tiny.x.clone()
    x[20] += 1
    more = TensorDataset(torch.cat([x, x[:1] + 2]), torch.cat([tiny.y, tiny.y[:1]]))
    changed = tiny.task(build_model=mlp, fit=task.fit, train=more, ids=[*IDS, "new"])
    store.add(people([5]))
    before = rows(store)
    Store(store.path, changed).run(ANEW)
    after = rows(store)
    assert tag(store, IDS[5])[:16] not in after
    assert tag(store, "new")[:16] in after
    assert {k for k in before if k in after and before[k] != after[k]} == {tag(store, IDS[20])[:16]}
    assert not Store(store.path).verify(level=None).problems


CHANGES = {
    "fingerprints: rows were changed": update(fingerprints).values(alike=1),
    "fingerprints: holds 0 rows where the history notes 299": delete(fingerprints),
    "fingerprints: holds 300 rows": fingerprints.insert().values(tag=b"t" * 16, content=b"c" * 16, alike=0),
    "fingerprints: a row cannot be read": update(fingerprints).values(alike="text"),
    "forgotten_content: holds 0 rows where the history notes 1": delete(forgotten_content),
    "forgotten_content: rows were changed": update(forgotten_content).values(request=9),
}


@pytest.mark.parametrize("words", CHANGES)
def test_rows_that_were_tampered_with_are_found(store: Store, words: str) -> None:
    store.add(people([5]))
    store.run(QUICK)
    with context_of(store).database.writing() as connection:
        connection.execute(CHANGES[words])
    assert [p for p in store.verify(level=None).problems if p.startswith(words)]


def test_ids_that_look_alike_are_marked() -> None:
    assert alike(["u1", "U1", "u2", 3, "3 ", "u1x"]) == {0, 1, 3, 4}
    assert alike(range(5)) == frozenset()
    assert alike([]) == frozenset()


def test_packed_fingerprints_are_the_same() -> None:
    some = [Fingerprint(bytes([n]) * 32, bytes([n + 1]) * 16, n == 1) for n in range(3)]
    assert [(p.short, p.content, p.alike) for p in PackedFingerprints(some)] == [
        (s.short, s.content, s.alike) for s in some
    ]
