"""Tags say nothing without the key."""

import hashlib
import json
from pathlib import Path

import pytest

from efface import Task
from efface.store import Store
from efface.store.keys import read_key
from helpers.store_cases import AUDITED, people, task_of
from helpers.store_secrets import ASKED, files, rows, secret_task
from helpers.tiny import Tiny


@pytest.fixture
def task(tiny: Tiny) -> Task:
    return secret_task(tiny)


@pytest.fixture
def store(secret_store: Store) -> Store:
    return secret_store


def test_the_report_names_records_by_tags_alone(store: Store) -> None:
    store.run(AUDITED)
    key = read_key(store.key_path)
    assert key is not None
    tags = {key.tag(name).hex()[:16] for name in ASKED}
    document = json.loads((store.report_folder(1) / "report.json").read_text())
    assert {row["id"] for row in document["records"]} == tags
    by = {hashlib.sha256(f"str:{tag}".encode()).hexdigest()[:12] for tag in tags}
    assert {row["record"] for row in document["records"]} == by
    lines = "\n".join(sorted(f"str:{tag}" for tag in tags))
    assert document["request"]["ids_digest"] == f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def test_another_key_gives_other_tags(store: Store, tiny: Tiny, task: Task, tmp_path: Path) -> None:
    other = Store.create(tmp_path / "other", task, tiny.model)
    other.add(ASKED, note="a letter of <b>2031</b>")
    ours, theirs = ({row[2] for row in rows(s)["tags"]} for s in (store, other))
    assert len(ours) == len(theirs) == len(ASKED)
    assert ours.isdisjoint(theirs)
    one, two = store.requests()[0], other.requests()[0]
    assert one.digest != two.digest
    assert one.note != two.note
    key = read_key(store.key_path)
    assert key is not None
    assert {key.tag(name) for name in ASKED} == ours
    assert key.tag(1) not in (key.tag("1"), key.tag("01"))  # type: ignore[comparison-overlap]
    secret = key.secret
    for path, held in files(store.path).items():
        assert secret not in held, path
        assert secret.hex().encode() not in held, path
    assert secret.hex() not in repr(store.history())
    assert secret.hex() not in repr(key)


def test_the_order_of_a_request_is_not_kept(tmp_path: Path, tiny: Tiny) -> None:
    """The order in which people are named may tell who is meant."""
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model)
    store.add(people(range(30)))
    kept = [row[2] for row in sorted(rows(store)["tags"])]
    assert kept == sorted(kept)
