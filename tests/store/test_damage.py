"""Files and bits that were changed: each is named in a line, what serves goes on, and a later run ends well."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from efface import Task
from efface.errors import EffaceError, RequestError
from efface.store import DamagedError, Store
from helpers import store_fixtures as given
from helpers.store_cases import (
    LONG,
    QUICK,
    copied,
    people,
)
from helpers.store_damage import (
    SEEN,
    ends_well,
    flip,
    keeps_serving,
    meaning,
    refuses,
    unharmed,
    weights_files,
)

task, grown, weights, path, table, fresh_points = (
    given.task,
    given.grown,
    given.weights,
    given.path,
    given.table,
    given.fresh_points,
)


FLIPS = 1500 if LONG else 60


def in_service(path: Path) -> Path:
    return (path / "current.safetensors").resolve()


def superseded(path: Path) -> Path:
    (other,) = set((path / "checkpoints").iterdir()) - {in_service(path)}
    return other


def baseline(path: Path) -> Path:
    return next((path / "baselines").iterdir())


def report_page(path: Path) -> Path:
    return path / "reports/run-0001/report.html"


def report_numbers(path: Path) -> Path:
    return path / "reports/run-0001/report.json"


FILES: dict[str, Callable[[Path], Path]] = {
    "checkpoint in service": in_service,
    "superseded checkpoint": superseded,
    "holdout answers": baseline,
    "report (page)": report_page,
    "report (numbers)": report_numbers,
}
NEEDED_BY_A_RUN = ("checkpoint in service", "holdout answers")


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def a_bit_of(file: Path) -> None:
    flip(file, random.Random(file.stat().st_size).randrange(8 * file.stat().st_size))


def longer(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")


@pytest.mark.parametrize("harm", (truncated, emptied, a_bit_of, longer, Path.unlink), ids=lambda f: f.__name__)
@pytest.mark.parametrize("what", FILES)
def test_a_file_that_was_changed(path: Path, task: Task, weights: str, what: str, harm: Callable[[Path], None]) -> None:
    file = FILES[what](path)
    whole = file.read_bytes()
    harm(file)
    found = Store(path, task).verify(level=None)
    assert [line for line in found.problems if file.name in line] and not found.complete
    assert not any("\n" in line for line in found.problems)
    SEEN[f"{what}: {harm.__name__}", "named", 4] += 1
    if what in NEEDED_BY_A_RUN:
        keeps_serving(path, task, DamagedError, file.name, f"{what}: {harm.__name__}")
    if what == "superseded checkpoint":
        refuses(RequestError, "going back would undo that", "rollback to what forgot nothing", lambda: back(path))
    if what.startswith("report"):
        out = path.parent / "bundle"
        refuses(DamagedError, file.name, f"{what}: {harm.__name__}", lambda: Store(path, task).export(1, out))
        assert not out.exists()
    file.write_bytes(whole)
    file.chmod(0o600)
    ends_well(path, task, weights)


def back(path: Path) -> None:
    Store(path).rollback(1)


def test_any_bit_of_weights_and_reports(path: Path, task: Task) -> None:
    draw = random.Random(1)
    for _ in range(FLIPS // 4):
        what = draw.choice(sorted(FILES))
        file = FILES[what](path)
        bit = draw.randrange(8 * file.stat().st_size)
        flip(file, bit)
        assert [p for p in Store(path, task).verify(level=None).problems if file.name in p], (what, bit)
        SEEN[f"{what}: any bit", "named", 4] += 1
        flip(file, bit)
    assert Store(path, task).verify(level=None).problems == ()


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


HEADS: dict[str, tuple[Callable[[Path], object], str]] = {
    "deleted": (Path.unlink, "head: the file is missing"),
    "nonsense": (lambda head: head.write_text("nonsense"), "head: cannot be read"),
    "no number": (lambda head: head.write_text('{"seq": Infinity, "hash": ""}'), "head: cannot be read"),
    "not text": (lambda head: head.write_bytes(b"\xff\xfe"), "head: cannot be read"),
    "past the end": (lambda head: head.write_text('{"seq": 999, "hash": "00", "mac": "00"}'), "head: was changed"),
    "another hash": (lambda head: head.write_text('{"seq": 3, "hash": "00", "mac": "00"}'), "head: was changed"),
}


@pytest.mark.parametrize("harm", HEADS)
def test_a_head_that_was_changed(path: Path, task: Task, weights: str, harm: str) -> None:
    change, words = HEADS[harm]
    whole = (path / "head").read_text()
    change(path / "head")
    keeps_serving(path, task, DamagedError, words, f"head: {harm}")
    (path / "head").write_text(whole)
    ends_well(path, task, weights)


def test_a_wrong_key(path: Path, task: Task, weights: str) -> None:
    key = path.with_name("store.key")
    whole = key.read_text()
    for held, words in (
        ("0" * 64, "is not the key of this store"),
        ("nonsense", "is not a key"),
        ("00", "is not a key"),
    ):
        key.write_text(held)
        keeps_serving(path, task, DamagedError, words, "wrong key")
    key.write_text(whole)
    ends_well(path, task, weights)


def test_a_missing_key_retires_a_store(path: Path, task: Task, weights: str) -> None:
    key = path.with_name("store.key")
    whole, said = key.read_text(), meaning(Store(path, task))
    key.unlink()
    store = Store(path, task)
    assert meaning(store) == said
    assert "store.key is missing" in (store.status().retired or "")
    for call in (
        lambda: store.add(people([77])),
        lambda: store.run(QUICK),
        lambda: store.cancel(2),
        lambda: store.verify(level=None),
    ):
        refuses(RequestError, "store.key is missing", "missing key", call)
    key.write_text(whole)
    ends_well(path, task, weights)
