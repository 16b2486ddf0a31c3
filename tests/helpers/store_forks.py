"""One process that makes stores and forks a child for each kill, since a start of Python and torch takes seconds.

`python store_forks.py FOLDER CASES`: CASES is a JSON list of [scenario, [point, ...]]; each point's child dies there
and the next one goes on. What was seen of each case is written to FOLDER/seen.json.
"""

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from efface.store import Store, failpoints
from helpers.hasty import brief_audits, undrawn
from helpers.store_cases import (
    ANEW,
    QUICKLY_AUDITED,
    asked_for,
    copied,
    make_grown,
    make_young,
    served,
    task_of,
    wrong_after,
)
from helpers.store_cases import wrong_before as wrong_at
from helpers.tiny import make_tiny

SCENARIOS = {"audited": (make_grown, QUICKLY_AUDITED), "retrained": (make_young, ANEW)}


def started(work: Callable[[], object]) -> int:
    """Do something in a child, whose number is given."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return child


def ended(child: int) -> int:
    """How a child ended, negative for the signal that killed it; waits for it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(folder: Path, cases: list[tuple[str, list[str]]]) -> None:
    torch.set_num_threads(1)
    undrawn(patch := pytest.MonkeyPatch())
    brief_audits(patch)
    tiny = make_tiny()
    task = task_of(tiny)
    made, asked, weights = {}, {}, {}
    for name, (make, plan) in SCENARIOS.items():
        made[name] = folder / name / "store"
        made[name].parent.mkdir()
        asked[name] = asked_for(make(made[name], tiny))
        undisturbed = copied(made[name], folder / f"{name}-undisturbed")
        Store(undisturbed, task).run(plan)
        weights[name] = served(undisturbed)
        assert not wrong_after(undisturbed, task, asked[name], weights[name])

    def died(path: Path, name: str, point: str) -> int:
        def work() -> None:
            failpoints.arm(point)
            Store(path, task).run(SCENARIOS[name][1])

        return ended(started(work))

    seen = []
    for number, (name, points) in enumerate(cases):
        path = copied(made[name], folder / f"case-{number}")
        began = time.perf_counter()
        codes, wrong, again = [], [], None
        for point in points:
            codes.append(died(path, name, point))
            try:
                wrong += [f"after the kill: {line}" for line in wrong_at(path, task, asked[name])]
            except Exception as error:
                wrong.append(f"after the kill: {error!r}")
        try:
            store = Store(path, task)
            unfinished = store.status().unfinished
            outcome = store.run(SCENARIOS[name][1])
            again = outcome.resumed
            if outcome.resumed != (unfinished is not None):
                wrong.append(f"unfinished was {unfinished}, but resumed is {outcome.resumed}")
            wrong += wrong_after(path, task, asked[name], weights[name])
        except Exception as error:
            wrong.append(f"the run after the kill: {error!r}")
        seen.append(
            {"killed": [code == -signal.SIGKILL for code in codes], "codes": codes, "resumed": again, "wrong": wrong}
            | {"seconds": round(time.perf_counter() - began, 2)}
        )
    (folder / "seen.json").write_text(json.dumps(seen), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
