"""`efface.unlearn` and `efface.audit` by several processes."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from efface.auditing.api import audit as run_audit
from efface.auditing.report.build import Report
from efface.errors import EffaceError, RequestError
from efface.models.checkpoint import weights_digest
from efface.models.running import device_of
from efface.parallel.processes import collect, device, is_main, on_main, start
from efface.parallel.spread import Spread
from efface.runtime.cost import Cost, PhaseCost
from efface.task import Task
from efface.types import RecordId
from efface.unlearning.driver import unlearn as run_unlearn
from efface.unlearning.result import Result

ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # where an object lies, which says nothing of what it is


def unlearn(
    model: nn.Module,
    *,
    forget: Sequence[RecordId],
    task: Task | None = None,
    progress: bool | None = None,
    **given: Any,
) -> Result:
    """`efface.unlearn`, the work of each forward and backward pass divided among the processes (see `Spread`).

    Every process makes the same call, with the same task and the model on its own `device()`, and gets the same
    result, bit for bit; it is that of one process but for rounding. With one process it is `efface.unlearn` itself.
    The result's cost has the CPU seconds of all processes, and the seconds of the slowest.

    Raises what `efface.unlearn` raises; RequestError where the processes were given different requests or the model is
    on another device; EffaceError where they read different records, or end at different weights.
    """
    if start() is None:
        return run_unlearn(model, forget=forget, task=task, progress=progress, **given)
    _check(model, forget, given)
    spread, own = Spread(), task
    if isinstance(task, Task) and task.build_model is not None:
        own = dataclasses.replace(task, build_model=_spreading(task.build_model, spread))
    try:
        if isinstance(model, nn.Module):
            spread.add(model)
        result = run_unlearn(model, forget=forget, task=own, progress=progress if is_main() else False, **given)
        spread.remove(result.model)
    finally:
        spread.close()
    if len(set(collect((weights_digest(result.model), result.evidence.chosen_step)))) > 1:
        raise EffaceError("the processes ended at different weights, so none of them is kept: use one process")
    return dataclasses.replace(
        result, original=model, task=result.task if task is None else task, cost=_joined(collect(result.cost))
    )


def audit(*args: Any, **given: Any) -> Report | None:
    """`efface.audit` by the main process alone; None in the others, which wait for it.

    What it raises is raised in every process: see `on_main`.
    """
    return on_main(run_audit, *args, **given)


def _spreading(build: Callable[[], nn.Module], spread: Spread) -> Callable[[], nn.Module]:
    def built() -> nn.Module:
        model = build()
        if isinstance(model, nn.Module):
            spread.add(model)
        return model

    return built


def _check(model: nn.Module, forget: Sequence[RecordId], given: dict[str, Any]) -> None:
    """Whether all were asked for the same thing, of a model that can be talked about between their devices."""
    problems = []
    try:
        place, weights = device_of(model), weights_digest(model)
        request = ADDRESS.sub("", repr((list(forget), [(name, given[name]) for name in sorted(given)])))
    except Exception:  # not a request at all, which efface.unlearn refuses in its own words
        place, weights, request = None, "", ""
    if place is not None and place != device():
        problems.append(
            f"the model is on {place}, and this process works on {device()}: move it to "
            "efface.parallel.device(), or set ACCELERATE_USE_CPU=true to stay on CPUs"
        )
    if place is not None:
        problems += [
            f"{name} divides or shards the model itself: give the network within it"
            for name in sorted({type(m).__name__ for m in model.modules() if _wraps(m)})
        ]
    told = collect((problems, weights, request))
    if any(weights != told[0][1] for _, weights, _ in told):
        problems.append("the processes hold different models: load the same weights in each")
    if any(request != told[0][2] for _, _, request in told):
        problems.append(
            "the processes were given different ids to forget or options: ids that are piped in reach one of them "
            "only, so give a file"
        )
    if problems or any(found for found, _, _ in told):
        raise RequestError(problems or next(found for found, _, _ in told if found))


def _wraps(module: nn.Module) -> bool:
    """Whether a module is of a kind of torch that divides itself: its gradients are averaged already, or shards."""
    return any(c.__module__.startswith(("torch.distributed.fsdp", "torch.nn.parallel")) for c in type(module).__mro__)


def _joined(costs: Sequence[Cost]) -> Cost:
    """The cost of all: CPU seconds add up, the slowest is waited for, and records were counted as of one process."""
    phases = {}
    for name in dict.fromkeys(name for cost in costs for name in cost.phases):
        each = [cost.phases.get(name, PhaseCost()) for cost in costs]
        phases[name] = PhaseCost(
            wall_s=max(p.wall_s for p in each),
            cpu_s=sum(p.cpu_s for p in each),
            forward=max(p.forward for p in each),
            backward=max(p.backward for p in each),
        )
    return Cost(phases)
