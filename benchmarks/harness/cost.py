"""What retraining costs, timed beside each method, and a method's cost beside it."""

import time
from dataclasses import replace
from typing import Any

from benchmarks.harness.networks import tensors_of
from benchmarks.harness.requests import BenchRequest
from efface.data.records import subset
from efface.runtime.cost import PhaseCost
from efface.runtime.seeds import seeded

MIN_TIMED_S = 1.0  # CPU seconds of training by which an epoch is timed


def time_epoch(request: BenchRequest) -> PhaseCost:
    """Cost of an epoch of training on the retain set, in this process and now: a mean over a second or more."""
    x, y = tensors_of(subset(request.task.train, request.retain.tolist()))
    with seeded(0):
        model = request.problem.build()
        fit = request.problem.fit(request.records)
        for _ in replace(fit, epochs=1).passes(model, x[:256], y[:256], 0):  # what torch does once is not an epoch's
            pass
        passes, count = replace(fit, epochs=1000).passes(model, x, y, 0), 0
        wall, cpu = time.perf_counter(), time.process_time()
        while count == 0 or time.process_time() - cpu < MIN_TIMED_S:
            next(passes)
            count += 1
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return PhaseCost(wall / count, cpu / count, len(x), len(x))


def time_retraining(request: BenchRequest) -> dict[str, Any]:
    """Cost of one whole retraining."""
    fit = request.problem.fit(request.records)
    with seeded(1):
        model = request.problem.build()
        wall, cpu = time.perf_counter(), time.process_time()
        fit(model, subset(request.task.train, request.retain.tolist()), 1)
        cpu = time.process_time() - cpu
        price = fit.epochs * len(request.retain)
        return {"cpu_s": cpu, "wall_s": time.perf_counter() - wall, "each": [cpu], "price": price}


def beside_retraining(request: BenchRequest, epoch: PhaseCost, cost: dict[str, Any]) -> dict[str, Any]:
    """A method's cost beside that of retraining: `cheaper` is the ratio in CPU time, None for doing nothing.

    A sequence is compared with retraining once for each of its requests.
    """
    full, early = request.problem.epochs[request.records], request.problem.early[request.records]
    times = cost.get("requests", 1)
    retraining = {n: getattr(epoch, n) * full * times for n in ("cpu_s", "wall_s", "forward", "backward")}
    retraining["price"] = epoch.record_trainings * full * times

    def ratio(whole: float, part: float) -> float | None:
        return whole / part if part else None

    examples = retraining["forward"] + retraining["backward"]
    return {
        "unlearn": cost,
        "epoch_cpu_s": epoch.cpu_s,
        "retrain": retraining,
        "cheaper": ratio(retraining["cpu_s"], cost["cpu_s"]),
        "cheaper_wall": ratio(retraining["wall_s"], cost["wall_s"]),
        "cheaper_early": ratio(retraining["cpu_s"] * early / full, cost["cpu_s"]),
        "examples": ratio(examples, cost.get("forward", 0) + cost.get("backward", 0)),
    }
