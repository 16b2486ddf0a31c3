"""Peak memory of every method on one request, each in a process of its own.

    python -m benchmarks.memory fashion --cache .cache/bench    # about four minutes once the original is trained

By how many MB resident memory rose above what it was with data and model loaded, at its published options. Linux only.
"""

import argparse
import ctypes
import multiprocessing
from pathlib import Path

from benchmarks.harness.cell import HowRun, unlearn_all
from benchmarks.harness.machine import watch_memory
from benchmarks.harness.problems import PROBLEMS
from benchmarks.harness.requests import make_request, train_originals
from benchmarks.harness.suite import CONTROLS, Recipe, read_suite
from efface.errors import EffaceError
from efface.methods import REGISTRY
from efface.models.running import device_of
from efface.runtime.devices import threads


def rise(key, problem, recipe, cache, queue):
    with threads(1):
        request = make_request(problem, problem.usual, "random", 0.01, 1, cache)
        models = train_originals(request, 1, cache)
        ctypes.CDLL(None).malloc_trim(0)  # else what loading has freed would be used first, and seen by nobody
        peak = watch_memory(device_of(models[0]))
        try:
            unlearn_all(request, models, key, HowRun(recipe, recipe.published))
            queue.put(peak())
        except EffaceError as error:
            queue.put(str(error))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem", choices=PROBLEMS)
    parser.add_argument("--only", nargs="*", choices=REGISTRY)
    parser.add_argument("--cache", type=Path, default=Path(".cache/bench"))
    args = parser.parse_args()
    recipes = read_suite(Path(__file__).parent / "suites" / "tier2.toml").recipes
    context = multiprocessing.get_context("spawn")
    for key in args.only or [k for k in REGISTRY if k not in CONTROLS]:
        queue = context.Queue()
        arguments = (key, PROBLEMS[args.problem], recipes.get(key, Recipe()), args.cache / "models", queue)
        process = context.Process(target=rise, args=arguments)
        process.start()
        found = queue.get()
        process.join()
        print(f"{key:16s} {found if isinstance(found, str) else f'{found:.0f} MB'}", flush=True)


if __name__ == "__main__":
    main()
