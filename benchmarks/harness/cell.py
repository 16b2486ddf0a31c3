"""One cell of the benchmark: a method run on some originals, its cost, and its distance to retrained models."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

import efface
from benchmarks.harness.cost import beside_retraining, time_epoch, time_retraining
from benchmarks.harness.evaluator import ACCURACIES, Evaluator, Readings, change, compare, output_distances
from benchmarks.harness.machine import provenance, watch_memory
from benchmarks.harness.networks import tensors_of
from benchmarks.harness.paired import products
from benchmarks.harness.readings import load_readings, request_of
from benchmarks.harness.requests import BenchRequest, train_originals, train_retrained
from benchmarks.harness.suite import PSEUDO, Cell, Recipe
from benchmarks.harness.versions import versions_of
from efface.data.records import subset
from efface.data.splits import make_splits
from efface.errors import EffaceError
from efface.methods import REGISTRY, Method
from efface.models.running import device_of
from efface.runtime.cost import PhaseCost
from efface.runtime.devices import threads
from efface.types import Estimate

SCHEMA = 2


@dataclass(frozen=True)
class HowRun:
    """How a cell's method is run.

    Args:
        recipe: Its recipe.
        options: The options that are given to it.
        tuning: What tuning them cost, if they were tuned: the draws' CPU seconds (`cpu_s`) and the numbers of models
            that they were judged by.
        first_outputs: Whether requests in a row are kept at what the original said, as in a store.
    """

    recipe: Recipe
    options: Mapping[str, Any]
    tuning: Mapping[str, Any] | None = None
    first_outputs: bool = True


def run_cell(cell: Cell, how: HowRun, cache: Path) -> dict[str, Any]:
    """Run a cell whose readings of original and retrained models are made.

    Args:
        cell: what to run.
        how: the method's recipe and options.
        cache: folder of trained models and of readings.

    Returns:
        The result as JSON; where the method gave no model, `failed` says why, and there is no measurement.
    """
    setting = cell.setting
    with threads(1):
        request = request_of(setting, cache)
        original, retrained = load_readings(setting, cache)
        models = train_originals(request, cell.models, cache / "models")
        original = {k: v[: cell.models] for k, v in original.items()}
        result: dict[str, Any] = {
            "schema": SCHEMA,
            "cell": cell.as_json(),
            "options": dict(how.options),
            "evidence": how.recipe.evidence,
            **versions_of(cell.method),
            "forget": len(request.forget),
            "epochs": request.problem.epochs[setting.records],
            "early": request.problem.early[setting.records],
            **provenance(device_of(models[0])),
            "tuning": how.tuning,
            "failed": None,
        }
        epoch = time_epoch(request)
        if cell.method == "retrain":
            cost, halves = time_retraining(request), [{k: v[i::2] for k, v in retrained.items()} for i in range(2)]
            count = min(len(original["auc"]) // 2, len(halves[0]["auc"]))
            original, unlearned = ({k: v[:count] for k, v in group.items()} for group in (original, halves[0]))
            retrained = halves[1]
        elif cell.method == "noop":
            cost, unlearned = {"cpu_s": 0.0, "wall_s": 0.0, "each": []}, original
        else:
            try:
                made, cost = unlearn_all(request, models, cell.method, how)
                control = train_retrained(request, 1, cache / "models")[0]
                unlearned = Evaluator(request, control).read_all(made)
            except EffaceError as error:
                return result | {"failed": why_failed(error)}
        cost = beside_retraining(request, epoch, cost)
        return result | {"cost": cost} | measured(request, original, unlearned, retrained)


def why_failed(error: EffaceError) -> str:
    """Why a method gave no model, as one line: without the advice to a user of what to do next."""
    if isinstance(error, efface.NothingUnlearnedError):
        return f"nothing was unlearned: {error.reason}"
    return " ".join(str(error).split())


def measured(request: BenchRequest, original: Readings, unlearned: Readings, retrained: Readings) -> dict[str, Any]:
    """Distances, utilities and the like of original, unlearned and retrained models, as JSON."""
    groups = {"original": original, "unlearned": unlearned, "retrained": retrained}
    found: dict[str, Any] = {"remains": {}, "d2": {}}
    for key, r in compare(original, unlearned, retrained).items():
        found["remains"][key] = {"share": interval(r.share), "informative": r.informative}
        found["d2"][key] = {w: interval(getattr(r, w)) for w in groups}
    for key in ("retain", "test"):
        found["d2"][key]["change"] = interval(change(original[key], unlearned[key], retrained[key]))
    found["pairs"] = {"margin": products(unlearned["margin"], retrained["margin"])}
    found |= {key: {w: _spread(v[key]) for w, v in groups.items()} for key in (*ACCURACIES, "auc")}
    rules = request.task.rules
    classes = rules.classes(rules.labels(tensors_of(request.task.train)[1][torch.from_numpy(request.forget)]))
    if classes is None:
        return found
    pairs = {w: output_distances(v, retrained) for w, v in groups.items()}
    found |= {key: {w: p[i] for w, p in pairs.items()} for i, key in enumerate(("variation", "divergence"))}
    label = int(classes[0])
    if bool((classes == label).all()):
        found["predicted"] = {
            w: float((v["probabilities"].argmax(2) == label).double().mean()) for w, v in groups.items()
        }
    return found


def unlearn_all(
    request: BenchRequest, models: list[nn.Module], key: str, how: HowRun, first_seed: int = 0
) -> tuple[list[nn.Module], dict[str, Any]]:
    """Unlearn the request from every model, in its parts one after the other; the models, and what it cost."""
    done, costs, phases = [], [], dict[str, PhaseCost]()
    evaluated = how.recipe.evidence or key == "steer"
    peak = watch_memory(device_of(models[0]))
    for seed, model in enumerate(models, first_seed):
        left, spent = np.arange(request.records), PhaseCost()
        in_a_row = how.first_outputs and len(request.parts) > 1
        first = efface.first_outputs(model, task=request.task) if in_a_row else None
        for number, part in enumerate(request.parts):
            task = request.task
            if len(left) < request.records:
                x, y = tensors_of(subset(task.train, left.tolist()))
                task = replace(task, train=TensorDataset(x, y), ids=left.tolist())
            method = resolve(key, how.options, request, (len(left), len(part)), seed)
            result = efface.unlearn(
                model,
                task=task,
                forget=part.tolist(),
                method=method,
                seed=seed + 1000 * number,
                options=efface.UnlearnOptions(evaluate=evaluated, first_outputs=first),
                progress=False,
            )
            spent += result.cost.total
            for name, cost in result.cost.phases.items():
                phases[name] = phases.get(name, PhaseCost()) + cost
            model, left, first = result.model, np.setdiff1d(left, part), result.first_outputs
        done.append(model)
        costs.append(spent)
    k = len(models)
    whole = sum(costs, PhaseCost())
    return done, {
        "cpu_s": whole.cpu_s / k,
        "wall_s": whole.wall_s / k,
        "forward": whole.forward / k,
        "backward": whole.backward / k,
        "each": [c.cpu_s for c in costs],
        "phases": {name: c.cpu_s / k for name, c in phases.items()},
        "price": whole.record_trainings / k,
        "price_each": [c.record_trainings for c in costs],
        "prices": {name: c.record_trainings / k for name, c in phases.items()},
        "peak_mb": peak(),
        "requests": len(request.parts),
    }


def resolve(key: str, options: Mapping[str, Any], request: BenchRequest, sizes: tuple[int, int], seed: int) -> Method:
    """The method with its options, lengths in passes made into steps: evaluated once, at the end.

    Args:
        key: of the method.
        options: for the method, and `epochs` or `forget_epochs` in place of `steps`.
        request: what is to be forgotten.
        sizes: numbers of training records and of forget records.
        seed: of the run, by which it divides the records.

    Returns:
        The method, ready for `efface.unlearn`.
    """
    records, forget = sizes
    method = REGISTRY[key](**{k: v for k, v in options.items() if k not in PSEUDO})
    for name in PSEUDO:
        if name in options:
            size = method.batch  # type: ignore[attr-defined]
            holdout = len(request.task.holdout)
            parts = make_splits(np.arange(forget), records, holdout, seed)
            over = forget if name == "forget_epochs" else len(parts.retain) - len(parts.audit_reference)
            steps = max(1, round(options[name] * -(-over // size)))
            method = replace(method, steps=steps, every=steps)  # type: ignore[call-arg]
    return method


def interval(e: Estimate) -> list[float | None]:
    """Value and ends of an interval, None for what is not a number."""
    return [v if np.isfinite(v) else None for v in (e.value, e.low, e.high)]


def _spread(values: torch.Tensor) -> list[float | None]:
    """Mean and standard deviation over models."""
    v = values.double()
    return [float(v.mean()), float(v.std()) if len(v) > 1 else None]
