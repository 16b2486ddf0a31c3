"""Makes the stores that `benchmarks.store_operations` measures, each in a process of its own; prints what it took.

    python -m benchmarks.store_making requests FOLDER 10000     # KIND, where the store goes, how large

A kind is a function below. They are processes of their own since the peak memory of a command is seen from outside, and
a large parent would count as its child's.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.store_task import make_task, person, trained
from efface.runtime.devices import threads
from efface.store import RunPlan, Store, StoreSettings

# cheap, and judged by nobody: what a run of the store costs beside the work of a method is in store_overhead
# whatever its accuracy: what is measured is the store, not the method
PLAN = RunPlan(method="finetune", level=None, accept="any")
SPARE = 6  # records for each that is asked for, since a batch of more than a fifth of them is refused


class Timer:
    """Wall and CPU seconds since it was made, or since they were last read."""

    def __init__(self) -> None:
        self.start = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """The seconds, and starts anew."""
        spent = time.perf_counter() - self.start[0], time.process_time() - self.start[1]
        self.start = time.perf_counter(), time.process_time()
        return {"wall": spent[0], "cpu": spent[1]}


def new_store(folder: Path, records: int) -> tuple[Store, dict[str, float]]:
    """A store of one version, and what making it took beside training."""
    task = make_task(records)
    model, timer = trained(task), Timer()
    settings = StoreSettings(task_path=f"benchmarks.store_task:records_{records}")
    return Store.create(folder, task, model, settings=settings, device="cpu"), timer.read()


def requests(folder: Path, count: int) -> dict[str, Any]:
    """A store in which so many requests wait, of one record each."""
    store, _ = new_store(folder, SPARE * count)
    tenth, timer, spent = max(count // 10, 1), Timer(), []
    for number in range(count):
        store.add([person(number)], note=f"ticket {number}", due="2999-12-31" if number % 2 else None)
        if (number + 1) % tenth == 0:
            spent.append(timer.read())
    return {
        f"one add in an open process, {'first' if part is spent[0] else 'last'} {tenth}": {
            key: value / tenth for key, value in part.items()
        }
        for part in (spent[0], spent[-1])
    }


def empty(folder: Path, count: int) -> dict[str, Any]:
    """A store in which nobody asked for anything yet, large enough for a request of so many records."""
    return {f"create, {SPARE * count:,} records": new_store(folder, SPARE * count)[1]}


def honoured(folder: Path, count: int) -> dict[str, Any]:
    """What waits in a store, honoured by one run."""
    task = make_task(int(str(Store(folder).task_path).rpartition("_")[2]))
    timer = Timer()
    Store(folder, task, device="cpu").run(PLAN, progress=False)
    return {"a run that honours it all, in an open process": timer.read()}


def versions(folder: Path, count: int) -> dict[str, Any]:
    """A store of so many versions, each after the first for a request of two records; all are kept."""
    store, _ = new_store(folder, 1000)
    timer, first, last = Timer(), {}, {}
    for number in range(1, count):
        store.add([person(2 * number), person(2 * number + 1)], note=f"ticket {number}")
        store.run(PLAN, progress=False)
        last = timer.read()
        first = first or last
    return {"the first request and run, in an open process": first, "the last": last}


def fingerprints(folder: Path, count: int) -> dict[str, Any]:
    """A store for so many records, a request and a run."""
    store, create = new_store(folder, count)
    seen, timer = {"create": create}, Timer()
    store.add([person(at) for at in range(100)])
    seen["add 100 ids"] = timer.read()
    store.run(PLAN, progress=False)
    seen["run for 100 ids"] = timer.read()
    store.run(PLAN, progress=False)
    seen["run, nothing pending"] = timer.read()
    store.verify(level=None)
    seen["verify without an audit"] = timer.read()
    return seen


KINDS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    made.__name__: made for made in (requests, empty, honoured, versions, fingerprints)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("count", type=int)
    args = parser.parse_args()
    with threads(1):
        print(json.dumps(KINDS[args.kind](args.folder, args.count)))


if __name__ == "__main__":
    main()
