"""The database: any bit of it that was changed, formats, and others who hold it."""

import random
import re
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from efface import Task
from efface.errors import EffaceError, RequestError
from efface.store import BusyError, DamagedError, Store, StoreError
from efface.store.database import Database, pending_ids
from helpers.store_cases import (
    LONG,
    QUICK,
    copied,
    people,
    task_of,
)
from helpers.store_damage import (
    SEEN,
    ends_well,
    flip,
    meaning,
    refuses,
    unharmed,
    weights_files,
)
from helpers.store_secrets import files
from helpers.store_verbs import shift
from helpers.tiny import RECORDS, Tiny

FLIPS = 1500 if LONG else 60


def test_any_bit_of_the_database(grown: Path, task: Task, weights: str, tmp_path: Path) -> None:
    draw = random.Random(2)
    whole = (grown / "ledger.sqlite").read_bytes()
    used = [at for at, byte in enumerate(whole) if byte]  # the rest of the pages is empty
    said = meaning(Store(copied(grown, tmp_path / "whole"), task))
    for number in range(FLIPS):
        bit = 8 * (draw.randrange(len(whole)) if number % 4 == 0 else draw.choice(used)) + draw.randrange(8)
        path = copied(grown, tmp_path / f"copy-{number}")
        before = weights_files(path)
        flip(path / "ledger.sqlite", bit)
        try:
            store = Store(path, task)
            problems = store.verify(level=None).problems
            assert problems or meaning(store) == said, f"bit {bit}: other answers, and no problem was found"
            SEEN["database: any bit", "named" if problems else "no matter", 4 if problems else 0] += 1
        except EffaceError as error:
            SEEN["database: any bit", "refused", 4 if isinstance(error, DamagedError) else 6] += 1
        done = []
        verbs = (lambda: Store(path, task).add(people([77])), lambda: Store(path, task).run(QUICK))  # noqa: B023
        for verb in verbs if number % 3 == 0 else ():
            try:
                verb()
            except EffaceError:
                unharmed(path, before)
            else:
                done.append(verb)
        if len(done) == 2:
            store = Store(path, task)
            assert set(store.ids(4)) <= set(people([77])) and store.status().serving.number == 3, f"bit {bit}"
        shutil.rmtree(path.parent)


def test_a_database_that_is_locked_for_long(path: Path, task: Task, weights: str) -> None:
    holder = sqlite3.connect(path / "ledger.sqlite", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    store = Store(path, task, busy_s=0.2)
    assert len(store.requests()) == 3  # who only reads does not wait
    for call in (lambda: store.run(QUICK), lambda: store.add(people([77])), lambda: store.cancel(2)):
        refuses(BusyError, "ledger.sqlite", "database locked by another", call)
    holder.execute("ROLLBACK")
    holder.close()
    ends_well(path, task, weights)


def test_rows_that_moved_between_pages_leave_no_copies(tmp_path: Path) -> None:
    """SQLite 3.40 leaves copies of deleted rows with the first two seeds, unless the file is written anew."""
    for seed in (99, 163, *range(10)):
        draw, database = random.Random(seed), Database(tmp_path / f"{seed}.sqlite")
        database.create()
        for request in (1, 2):
            rows = [
                {"request": request, "place": at, "tag": draw.randbytes(32), "name": f"{request}-{at:03d}-{'x' * long}"}
                for at, long in enumerate(draw.choices([0, 5, 60, 900], k=draw.choice([1, 3, 20, 60])))
            ]
            with database.writing() as connection:
                connection.execute(pending_ids.insert(), rows)
        with database.writing() as connection:
            connection.execute(delete(pending_ids).where(pending_ids.c.request == draw.choice([1, 2])))
            left = set(connection.execute(select(pending_ids.c.name)).scalars())
        assert database.truncate()
        held = b"".join(file.read_bytes() for file in tmp_path.glob(f"{seed}.*"))
        assert set(map(bytes.decode, re.findall(rb"[12]-\d{3}-x*", held))) == left


@pytest.mark.parametrize("seed", range(2))
def test_deleted_ids_leave_no_traces_between_those_that_stay(
    seed: int, tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages of a database are split, merged and used anew; ids of all lengths come and go."""
    monkeypatch.setattr("efface.store.build.unlearn", shift)
    monkeypatch.setattr("efface.store.batch.MAX_SHARE", 1.0)
    draw = random.Random(seed)
    ids = [f"person-{at:03d}-{'x' * draw.choice([0, 5, 60, 900])}@example.org" for at in range(RECORDS)]
    store = Store.create(tmp_path / "store", replace(task_of(tiny), ids=ids), tiny.model)
    waiting: dict[int, set[str]] = {}
    forgotten: set[str] = set()
    for _ in range(25):
        some = set(draw.sample(ids, draw.choice([1, 3, 20, 60])))
        answer = store.add(sorted(some))
        if answer.made and answer.request.stage == "pending":
            waiting[answer.request.number] = some
        kind = draw.random()
        if kind < 0.3 and waiting:
            number = draw.choice(list(waiting))
            store.cancel(number)
            del waiting[number]
        elif kind < 0.4:
            store.run(replace(QUICK, accept="any"))  # the double ruins the model
            forgotten = forgotten.union(*waiting.values())
            waiting = {}
        elif kind < 0.7:
            continue
        held = b"".join(files(store.path).values())
        kept = set().union(*waiting.values()) - forgotten
        assert [name for name in ids if (name[:10].encode() in held) != (name in kept)] == []
    assert forgotten


@pytest.mark.parametrize(
    ("pragma", "kind", "words"),
    [
        (
            "user_version = 1",
            StoreError,
            "has format 1, this version of efface reads 3: use the version of efface that",
        ),
        ("user_version = 4", StoreError, "has format 4, this version of efface reads 3: update efface"),
        ("application_id = 7", DamagedError, "is not the database of an efface store"),
    ],
)
def test_a_database_of_another_format_is_refused(path: Path, pragma: str, kind: type[StoreError], words: str) -> None:
    with sqlite3.connect(path / "ledger.sqlite") as raw:
        raw.execute(f"PRAGMA {pragma}")
    raw.close()
    with pytest.raises(StoreError, match=words) as caught:
        Store(path)
    assert type(caught.value) is kind


def test_a_call_that_failed_midway_does_not_keep_ids_in_the_write_ahead_log(path: Path, task: Task) -> None:
    key = path.with_name("store.key")
    whole = key.read_text()
    key.unlink()
    # the error keeps the frames that it passed through, with what they were reading; gc may come late or never
    error = refuses(RequestError, "store.key is missing", "missing key", lambda: Store(path, task).verify(level=None))
    assert error.__traceback__ is not None
    key.write_text(whole)
    Store(path, task).add(people([77]))
    assert Database(path / "ledger.sqlite").truncate()
