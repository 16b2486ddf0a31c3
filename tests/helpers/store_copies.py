"""Backups and restorations that are killed, and backups of a store that other processes use: `store_copies.py FOLDER`.

One process makes the store and forks a child for each case. What was seen is written to FOLDER/seen.json.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from efface.errors import EffaceError
from efface.store import Store, failpoints
from efface.store.failpoints import POINTS
from helpers.store_cases import copied, make_grown, people, task_of
from helpers.store_damage import meaning
from helpers.store_forks import ended, started
from helpers.tiny import make_tiny

BACKUPS = 3


def killed(call: Callable[[], object], point: str) -> bool:
    """Whether a call, in a child of its own, is killed at a point."""

    def work() -> None:
        failpoints.arm(f"{point}:kill")
        call()

    return ended(started(work)) == -signal.SIGKILL


def answer(call: Callable[[], object]) -> str:
    """`done`, or the words of an error."""
    try:
        call()
    except EffaceError as error:
        return str(error)
    return "done"


def whole(path: Path, key: Path, like: dict[str, Any]) -> list[str]:
    """What is wrong with a store that was restored, one line each."""
    store = Store(path, key=key)
    found = meaning(store)
    wrong = [] if {**found, "overview": 0} == {**like, "overview": 0} else ["it says something else"]
    return [*wrong, *store.verify(level=None).problems]


def backups_killed(store: Store, folder: Path, point: str) -> dict[str, Any]:
    """A backup that is killed at a point, and what is made of what it leaves."""
    out, half, new = folder / "backup", folder / ".backup.new", folder / "new"
    like = meaning(store)
    seen = {"killed": killed(lambda: store.backup(out), point), "there": out.exists(), "left": half.exists()}
    if half.exists():
        seen["half opened"] = answer(lambda: Store(half, key=store.key_path))
        seen["half restored"] = answer(lambda: Store.restore(half, new, key=store.key_path, bring_back=True))
        seen["again"] = answer(lambda: store.backup(out))
        seen["wrong"] = whole(new, store.key_path, like) if new.exists() else []
        os.rename(half, folder / "half")
        seen["after"] = answer(lambda: store.backup(out))
    else:
        Store.restore(out, new, key=store.key_path, bring_back=True)
        seen["wrong"] = whole(new, store.key_path, like)
    return seen


def restores_killed(store: Store, backup: Path, folder: Path, point: str) -> dict[str, Any]:
    """A restoration that is killed at a point, and what is made of what it leaves."""
    new, half = folder / "new", folder / ".new.new"

    def work() -> None:
        Store.restore(backup, new, key=store.key_path, bring_back=True)

    seen = {"killed": killed(work, point), "there": new.exists(), "left": half.exists()}
    if half.exists():
        seen["half opened"] = answer(lambda: Store(half, key=store.key_path))
        seen["again"] = answer(work)
        os.rename(half, folder / "half")
    if not new.exists():
        work()
    seen["wrong"] = whole(new, store.key_path, meaning(store))
    return seen


def while_others_add(made: Path, folder: Path) -> dict[str, Any]:
    """Backups while another process adds requests, each after more of them."""
    task, path, enough = task_of(make_tiny()), copied(made, folder), folder / "enough"

    def work() -> None:
        mine = Store(path, task)
        for at in range(100, 299):
            mine.add(people([at, at + 1]))
            if enough.exists():
                return

    child, store, wrong, events = started(work), Store(path), [], [0]
    for number in range(BACKUPS):
        while store.head().seq <= events[-1]:
            time.sleep(0.001)
        made_now = store.backup(folder / f"backup-{number}")
        events.append(made_now.head.seq)
        done = Store.restore(made_now.path, folder / f"restored-{number}", key=store.key_path, bring_back=True)
        restored = Store(done.path, key=store.key_path)
        wrong += restored.verify(level=None).problems
        held = {r.number: (r.records, len(restored.ids(r.number))) for r in restored.requests() if r.number > 3}
        wrong += [f"request {n} has ids of {ids} records of {of}" for n, (of, ids) in held.items() if of != ids]
    enough.touch()
    return {"code": ended(child), "wrong": wrong, "events": events, "after": store.verify(level=None).problems}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    made = make_grown(folder / "store", make_tiny()).path
    store = Store(made)
    backup = store.backup(folder / "backup").path
    seen: dict[str, Any] = {"points": {}}
    for point in (p for p in POINTS if p.startswith(("backup.", "restore.", "restored."))):
        (place := folder / point).mkdir()
        if point.startswith("backup."):
            seen["points"][point] = backups_killed(store, place, point)
        else:
            seen["points"][point] = restores_killed(store, backup, place, point)
    seen["adding"] = while_others_add(made, folder / "adding")
    (folder / "seen.json").write_text(json.dumps(seen), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
