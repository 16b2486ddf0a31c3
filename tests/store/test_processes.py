"""Several processes and threads at one store: requests are there once, in order, and one run at a time is at work."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import pytest

from efface.store import Stage, Store
from helpers.store_cases import LONG, QUICK, child_environment, kinds, people, task_of
from helpers.tiny import Tiny

CROWD = Path(__file__).parents[1] / "helpers/store_crowd.py"
PROCESSES, REQUESTS = 8, 125 if LONG else 25


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the processes of store_crowd.py saw."""
    folder = tmp_path_factory.mktemp("crowd")
    command = [sys.executable, CROWD, folder, str(PROCESSES), str(REQUESTS)]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((folder / "seen.json").read_text(encoding="utf-8"))
    return dict(found)


def test_processes_that_add_at_the_same_time(seen: dict[str, Any]) -> None:
    found, total = seen["adding"], PROCESSES * REQUESTS
    print(f"{total} requests of {PROCESSES} processes in {found['seconds']:.1f} s")
    assert found["codes"] == [0] * PROCESSES
    assert found["lost"] == 0
    assert found["made"] == found["numbers"] == list(range(1, total + 1))
    assert found["events"] == total
    assert found["problems"] == []


def test_one_run_at_a_time(seen: dict[str, Any]) -> None:
    found = seen["running"]
    assert found["unfinished"]
    assert [found[call] for call in ("run", "wait a little", "cancel", "rollback")] == ["busy, 1 line"] * 4
    assert found["still waiting"] and found["codes"] == [0, 0]
    assert found["waited"] == ["not_audited", [4]] and found["added"] == 4  # what was added meanwhile was left for it
    assert found["versions"] == 4
    assert found["problems"] == []


def test_what_serves_is_whole_all_the_while(seen: dict[str, Any]) -> None:
    found = seen["watching"]
    assert found["code"] == 0 and found["readings"] > 3
    assert not found["wrong"]
    assert set(found["states"]) <= {"2 2", "3 0"}
    assert found["cleared"] == "nothing"


def test_threads_on_one_store(tiny: Tiny, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model)
    wanted = [people(pair) for pair in islice(combinations(range(100, 140), 2), 80)]

    def work(number: int) -> list[int]:
        made = []
        for ids in (*wanted[number * 10 : number * 10 + 10], wanted[0]):
            answer = store.add(ids)
            if answer.made:
                made.append(answer.request.number)
            assert store.requests()[answer.request.number - 1].digest == answer.request.digest
            assert len(store.status().pending) >= len(made)
            assert sorted(map(str, store.ids(answer.request.number))) == ids
        return made

    with ThreadPoolExecutor(8) as pool:
        made = sorted(n for numbers in pool.map(work, range(8)) for n in numbers)
    assert made == list(range(1, 81)) == [r.number for r in store.requests()]
    assert kinds(store).count("requested") == 80
    assert store.verify(level=None).problems == ()
    assert len(Store(store.path, task_of(tiny)).run(QUICK).requests) == 80
    assert {r.stage for r in store.requests()} == {Stage.HONOURED}
