"""How faults are put into a store, and how it must answer: an error of its own kind, in one line, with nothing lost."""

import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from efface import Task
from efface.errors import EffaceError, RequestError
from efface.store import BusyError, DamagedError, RunPlan, StorageError, Store
from efface.store.database import TRIGGERS
from helpers.store_cases import QUICK, asked_for, wrong_after

CODES: dict[type[EffaceError], int] = {RequestError: 2, DamagedError: 4, BusyError: 5, StorageError: 6}
KILLED = 128 + signal.SIGKILL  # as a shell says it
# fault, outcome and exit code, and how many times it was put in; a fault at a fail point is named "KIND at POINT", and
# `python -m benchmarks.store_faults` prints them all
SEEN: Counter[tuple[str, str, int]] = Counter()


def note_kills(what: str, points: Iterable[str], outcome: str) -> None:
    """Note that something was killed at each of some points, written as for `failpoints.arm`, and what came of it."""
    for point in points:
        SEEN[f"{what} at {point.replace(':kill', '')}", outcome, KILLED] += 1


def refuses(kind: type[EffaceError], words: str, fault: str, call: Callable[[], object]) -> EffaceError:
    """Whether a call raises an error of this very kind that says, in one line, what is wrong."""
    with pytest.raises(EffaceError) as caught:
        call()
    error = caught.value
    assert type(error) is kind, repr(error)
    lines = list(getattr(error, "problems", ()))
    assert lines and not any("\n" in line for line in lines)
    assert words in " ".join(lines), str(error)
    assert isinstance(error, RequestError) or str(error) == "\n".join(lines)
    SEEN[fault, "refused", CODES[kind]] += 1
    return error


def keeps_serving(path: Path, task: Task, kind: type[EffaceError], words: str, fault: str) -> EffaceError:
    """Whether a run refuses, and leaves the weights in service and all others as they were."""
    before = weights_files(path)
    error = refuses(kind, words, fault, lambda: Store(path, task).run(QUICK))
    unharmed(path, before)
    return error


def unharmed(path: Path, before: dict[str, bytes]) -> None:
    """Whether all weights that a store held are still what they were."""
    after = weights_files(path)
    assert {name: after.get(name) for name in before} == before


def weights_files(path: Path) -> dict[str, bytes]:
    """What serves and all weights that the history may name; temporary files left out."""
    files = [path / "current.safetensors", *path.glob("checkpoints/[!.]*"), *path.glob("baselines/[!.]*")]
    return {str(file.relative_to(path)): file.read_bytes() for file in files if file.is_file()}


@contextmanager
def by_hand(path: Path, triggers: bool = False) -> Iterator[sqlite3.Connection]:
    """The database as somebody with a SQLite shell has it, who takes the triggers off and puts them back after."""
    raw = sqlite3.connect(path / "ledger.sqlite")
    try:
        if not triggers:
            for name in TRIGGERS:
                raw.execute(f"DROP TRIGGER {name}")
        yield raw
        if not triggers:
            for trigger in TRIGGERS.values():
                raw.execute(trigger)
        raw.commit()
    finally:
        raw.close()


def flip(path: Path, bit: int) -> None:
    """Turn one bit of a file over."""
    held = bytearray(path.read_bytes())
    held[bit // 8] ^= 1 << bit % 8
    path.write_bytes(held)


def meaning(store: Store) -> dict[str, Any]:
    """Everything that a store says, but for where things lie in its files."""
    overview = store.status()
    return {
        "requests": store.requests(),
        "ids": {r.number: sorted(map(str, store.ids(r.number))) for r in store.requests()},
        "notes": {r.number: store.note(r.number) for r in store.requests()},
        "overview": (overview.versions, overview.honours, overview.pending, overview.unfinished, overview.head),
    }


def ends_well(path: Path, task: Task, weights: str, plan: RunPlan = QUICK) -> None:
    """Whether a run, now that the fault is over, ends as if it had never been."""
    asked = asked_for(Store(path, task))
    Store(path, task).run(plan)
    if wrong := wrong_after(path, task, asked, weights):
        pytest.fail("\n".join(wrong))
