"""Several processes at one store, forked by this one: `python store_crowd.py FOLDER PROCESSES REQUESTS`.

PROCESSES add REQUESTS each at the same time, a run is at work while others ask for things, and one reads what serves
all the while. What was seen is written to FOLDER/seen.json.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from efface.store import BusyError, Store
from helpers.store_cases import AUDITED, QUICK, asked_for, kinds, make_grown, people, task_of, wrong_after
from helpers.store_forks import ended, started
from helpers.tiny import Tiny, make_tiny


def adding(folder: Path, tiny: Tiny, processes: int, requests: int) -> dict[str, Any]:
    """Processes that add requests at the same time, and some of each other's again."""
    store = Store.create(folder / "adding", task_of(tiny), tiny.model)
    wanted = [people(pair) for pair in islice(combinations(range(300), 2), processes * requests)]
    began = folder / "go"

    def work(number: int) -> None:
        while not began.exists():
            time.sleep(0.001)
        mine = Store(store.path, task_of(tiny))
        other = (number + 1) % processes
        asked = wanted[number * requests : (number + 1) * requests] + wanted[other * requests : other * requests + 5]
        answers = [mine.add(ids) for ids in asked]
        (folder / f"made-{number}").write_text(json.dumps([a.request.number for a in answers if a.made]))

    children = [started(lambda number=number: work(number)) for number in range(processes)]  # type: ignore[misc]
    start = time.perf_counter()
    began.touch()
    codes = [ended(child) for child in children]
    seconds = time.perf_counter() - start
    made = sorted(n for number in range(processes) for n in json.loads((folder / f"made-{number}").read_text()))
    held = {frozenset(map(str, store.ids(r.number))) for r in store.requests()}
    return {
        "codes": codes,
        "seconds": seconds,
        "made": made,
        "numbers": [r.number for r in store.requests()],
        "lost": sum(frozenset(ids) not in held for ids in wanted),
        "events": kinds(store).count("requested"),
        "problems": store.verify(level=None).problems,
    }


class Gate:
    """Where one process waits until another lets it pass."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def open(self) -> None:
        """Let one pass."""
        os.write(self._write, b"x")

    def wait(self) -> None:
        """Wait to be let pass."""
        os.read(self._read, 1)


def running(folder: Path, tiny: Tiny) -> dict[str, Any]:
    """A run that is held up in the middle, while others run, wait, add, cancel and read."""
    task = task_of(tiny)
    path = make_grown(folder / "running", tiny).path
    there, onward = Gate(), Gate()

    def work() -> None:
        first = True

        def forward(model: nn.Module, inputs: Any) -> torch.Tensor:
            nonlocal first
            if first:
                there.open()
                onward.wait()
            first = False
            return task.forward(model, inputs)

        Store(path, replace(task, forward=forward)).run(QUICK)

    def waiting() -> None:
        outcome = Store(path, task).run(QUICK, wait_s=60)
        (folder / "waited").write_text(json.dumps([outcome.status, outcome.requests]))

    one = started(work)
    there.wait()
    store = Store(path, task)
    seen: dict[str, Any] = {"unfinished": store.status().unfinished is not None}
    seen["run"] = said(lambda: store.run(QUICK))
    seen["wait a little"] = said(lambda: store.run(QUICK, wait_s=0.2))
    seen["cancel"] = said(lambda: store.cancel(2))
    seen["rollback"] = said(lambda: store.rollback(2))
    seen["added"] = store.add(people([77, 78])).request.number
    two = started(waiting)
    time.sleep(0.2)
    seen["still waiting"] = not (folder / "waited").exists()
    onward.open()
    seen["codes"] = [ended(one), ended(two)]
    seen["waited"] = json.loads((folder / "waited").read_text())
    seen["versions"] = len(store.history().versions)
    seen["problems"] = store.verify(level=None).problems
    return seen


def said(call: Callable[[], object]) -> str:
    """The error that a call raises: its kind and whether it is one line."""
    try:
        call()
    except BusyError as error:
        return f"busy, {len(str(error).splitlines())} line"
    return "no error"


def watching(folder: Path, tiny: Tiny) -> dict[str, Any]:
    """One process runs, another reads what is in service and the state of the store all the while."""
    task = task_of(tiny)
    store = make_grown(folder / "watching", tiny)
    asked, path = asked_for(store), store.path
    over = folder / "over"

    def work() -> None:
        readings, wrong, states = 0, [], set()
        while not over.exists():
            target = os.readlink(path / "current.safetensors")
            try:
                held = (path / target).read_bytes()
            except FileNotFoundError:  # removed since the link was read: the link must lead elsewhere now
                if os.readlink(path / "current.safetensors") == target:
                    wrong.append(target)
                continue
            if hashlib.sha256(held).hexdigest() != Path(target).stem:
                wrong.append(target)
            overview = Store(path).status()
            if asked_for(store) != asked:
                wrong.append("requests")
            states.add(f"{overview.serving.number} {len(overview.pending)}")
            readings += 1
        (folder / "watched").write_text(json.dumps([readings, wrong, sorted(states)]))

    watcher = started(work)
    outcome = Store(path, task).run(AUDITED)
    over.touch()
    code = ended(watcher)
    readings, wrong, states = json.loads((folder / "watched").read_text())
    cleared = Store(path, task).run(QUICK).status  # a reader may have kept the log from being cleared
    assert outcome.version is not None
    wrong += wrong_after(path, task, asked, outcome.version.weights)
    return {"code": code, "readings": readings, "wrong": wrong, "states": states, "cleared": cleared}


def main(folder: Path, processes: int, requests: int) -> None:
    torch.set_num_threads(1)
    tiny = make_tiny()
    seen = {
        "adding": adding(folder, tiny, processes, requests),
        "running": running(folder, tiny),
        "watching": watching(folder, tiny),
    }
    (folder / "seen.json").write_text(json.dumps(seen), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
