"""One cell of the benchmark: a method run on some originals, its cost, and its distance to retrained models."""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import Subset, TensorDataset

import efface
from efface.bench.ground import ACCURACIES, Ground, Readings, apart, change, judged
from efface.bench.machine import provenance, watch_memory
from efface.bench.networks import tensors_of
from efface.bench.problems import problem
from efface.bench.requests import Asked, ask, originals, retrained
from efface.bench.sources import digest_of
from efface.bench.suite import PSEUDO, Cell, Recipe, Setting
from efface.data.splits import make_splits
from efface.errors import EffaceError
from efface.methods import REGISTRY, Method
from efface.models import device_of
from efface.runtime import seeded, threads
from efface.types import Estimate, PhaseCost

SCHEMA = 1
TIMED_S = 1.0  # CPU seconds of training, at the least, by which an epoch is timed
JUDGE = ("bench.cell", "bench.ground", "unlearning", "metrics.distance")
GROUND = ("bench.ground", "bench.requests", "bench.problems", "models")


def ground_key(setting: Setting) -> str:
    """What the readings of a setting's original and retrained models depend on."""
    return _hash({"setting": asdict(setting), "source": digest_of(GROUND), "torch": str(torch.__version__)})


def cell_key(cell: Cell, options: Mapping[str, Any]) -> str:
    """What a cell's result depends on: it is made anew where this has changed."""
    source = digest_of([REGISTRY[cell.method].__module__.removeprefix("efface."), *JUDGE])
    return _hash({"cell": asdict(cell), "options": dict(options), "source": source, "ground": ground_key(cell.setting)})


def make_ground(setting: Setting, cache: Path) -> float:
    """Train a setting's original and retrained models and read them all, unless it is done; gives CPU seconds."""
    start = time.process_time()
    place = ground_place(setting, cache)
    if not place.is_file():
        with threads(1):
            asked = _asked(setting, cache)
            again = retrained(asked, setting.retrained, cache / "models")
            ground = Ground(asked, again[0])
            first = originals(asked, setting.originals, cache / "models")
            told = {f"original/{k}": v for k, v in ground.reads(first).items()}
            told |= {f"retrained/{k}": v for k, v in ground.reads(again).items()}
            place.parent.mkdir(parents=True, exist_ok=True)
            unfinished = place.with_suffix(".tmp")
            save_file({k: v.contiguous() for k, v in told.items()}, unfinished)
            unfinished.replace(place)
    return time.process_time() - start


def run_cell(cell: Cell, recipe: Recipe, options: Mapping[str, Any], cache: Path, tuning: Any = None) -> dict[str, Any]:
    """Run a cell, whose ground is made; gives its result as JSON, `failed` in it where the method gave no model."""
    setting = cell.setting
    with threads(1):
        asked = _asked(setting, cache)
        first, gold = _readings(setting, cache)
        models = originals(asked, cell.models, cache / "models")
        first = {k: v[: cell.models] for k, v in first.items()}
        result: dict[str, Any] = {
            "schema": SCHEMA,
            "key": cell_key(cell, options),
            "cell": asdict(cell),
            "options": dict(options),
            "forget": len(asked.forget),
            "epochs": asked.problem.epochs[setting.records],
            "early": asked.problem.early[setting.records],
            **provenance(device_of(models[0])),
            "tuning": tuning,
            "failed": None,
        }
        epoch = time_epoch(asked)
        if cell.method == "retrain":
            cost, ours = _retraining(asked), {k: v[::2] for k, v in gold.items()}
            first, gold = {k: v[: len(v) // 2] for k, v in first.items()}, {k: v[1::2] for k, v in gold.items()}
            ours = {k: v[: len(first["auc"])] for k, v in ours.items()}
        elif cell.method == "noop":
            cost, ours = {"cpu_s": 0.0, "wall_s": 0.0, "each": []}, first
        else:
            try:
                unlearned, cost = unlearn_all(asked, models, cell.method, recipe, options)
            except EffaceError as error:
                return result | {"failed": str(error)}
            judge = retrained(asked, 1, cache / "models")[0]
            ours = Ground(asked, judge).reads(unlearned)
        return result | {"cost": _cost(asked, epoch, cost)} | told(asked, first, ours, gold)


def told(asked: Asked, first: Readings, ours: Readings, gold: Readings) -> dict[str, Any]:
    """Distances and plain numbers of original, unlearned and retrained models, as JSON."""
    groups = {"original": first, "unlearned": ours, "retrained": gold}
    found: dict[str, Any] = {"remains": {}, "d2": {}}
    for key, r in judged(first, ours, gold).items():
        found["remains"][key] = {"share": interval(r.share), "informative": r.informative}
        found["d2"][key] = {w: interval(getattr(r, w)) for w in groups}
    for key in ("retain", "test"):
        found["d2"][key]["change"] = interval(change(first[key], ours[key], gold[key]))
    found |= {key: {w: _spread(v[key]) for w, v in groups.items()} for key in (*ACCURACIES, "auc")}
    pairs = {w: apart(v, gold) for w, v in groups.items()}
    found |= {key: {w: p[i] for w, p in pairs.items()} for i, key in enumerate(("variation", "divergence"))}
    targets = asked.task.train.tensors[1][torch.from_numpy(asked.forget)]  # type: ignore[attr-defined]
    gone = int(targets[0])
    if bool((targets == gone).all()):
        found["predicted"] = {
            w: float((v["probabilities"].argmax(2) == gone).double().mean()) for w, v in groups.items()
        }
    return found


def unlearn_all(
    asked: Asked, models: list[nn.Module], key: str, recipe: Recipe, options: Mapping[str, Any]
) -> tuple[list[nn.Module], dict[str, Any]]:
    """Unlearn the request from every model, in its parts one after the other; the models, and what it cost."""
    done, costs, phases = [], [], dict[str, PhaseCost]()
    looks = recipe.evidence or key == "steer"
    peak = watch_memory(device_of(models[0]))
    for seed, model in enumerate(models):
        left, spent = np.arange(asked.records), PhaseCost()
        for number, part in enumerate(asked.parts):
            task = asked.task
            if len(left) < asked.records:
                x, y = tensors_of(Subset(task.train, left.tolist()))
                task = replace(task, train=TensorDataset(x, y), ids=left.tolist())
            method = resolve(key, options, asked, len(left), len(part), seed)
            result = efface.unlearn(
                model,
                task=task,
                forget=part.tolist(),
                method=method,
                seed=seed + 1000 * number,
                looks=looks,
                progress=False,
            )
            spent += result.cost.total
            for name, cost in result.cost.phases.items():
                phases[name] = phases.get(name, PhaseCost()) + cost
            model, left = result.model, np.setdiff1d(left, part)
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
        "peak_mb": peak(),
        "requests": len(asked.parts),
    }


def resolve(key: str, options: Mapping[str, Any], asked: Asked, records: int, forget: int, seed: int) -> Method:
    """The method with its options, lengths in passes made into steps: looked at once, at the end."""
    plain = {k: v for k, v in options.items() if k not in PSEUDO}
    method = REGISTRY[key](**plain)
    for name in PSEUDO:
        if name in options:
            size = method.batch  # type: ignore[attr-defined]
            holdout = len(asked.task.holdout)  # type: ignore[arg-type]
            parts = make_splits(np.arange(forget), records, holdout, seed)
            over = forget if name == "forget_epochs" else len(parts.retain) - len(parts.audit_reference)
            steps = max(1, round(options[name] * -(-over // size)))
            method = replace(method, steps=steps, every=steps)  # type: ignore[call-arg]
    return method


def time_epoch(asked: Asked) -> PhaseCost:
    """Cost of an epoch of training on the retain set, in this process and now: a mean over a second or more."""
    x, y = tensors_of(Subset(asked.task.train, asked.kept.tolist()))
    with seeded(0):
        model = asked.problem.build()
        fit = asked.problem.fit(asked.records)
        for _ in replace(fit, epochs=1).passes(model, x[:256], y[:256], 0):  # what torch does once is not an epoch's
            pass
        passes, count = replace(fit, epochs=1000).passes(model, x, y, 0), 0
        wall, cpu = time.perf_counter(), time.process_time()
        while count == 0 or time.process_time() - cpu < TIMED_S:
            next(passes)
            count += 1
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return PhaseCost(wall / count, cpu / count, len(x), len(x))


def _retraining(asked: Asked) -> dict[str, Any]:
    """A whole retraining, timed."""
    fit = asked.problem.fit(asked.records)
    with seeded(1):
        model = asked.problem.build()
        wall, cpu = time.perf_counter(), time.process_time()
        fit(model, Subset(asked.task.train, asked.kept.tolist()), 1)
        cpu = time.process_time() - cpu
        return {"cpu_s": cpu, "wall_s": time.perf_counter() - wall, "each": [cpu]}


def _cost(asked: Asked, epoch: PhaseCost, cost: dict[str, Any]) -> dict[str, Any]:
    """A method's cost beside that of retraining: `cheaper` is the ratio in CPU time, None for doing nothing.

    A sequence is compared with retraining once for each of its requests.
    """
    full, early = asked.problem.epochs[asked.records], asked.problem.early[asked.records]
    times = cost.get("requests", 1)
    again = {n: getattr(epoch, n) * full * times for n in ("cpu_s", "wall_s", "forward", "backward")}

    def ratio(whole: float, part: float) -> float | None:
        return whole / part if part else None

    return {
        "unlearn": cost,
        "epoch_cpu_s": epoch.cpu_s,
        "retrain": again,
        "cheaper": ratio(again["cpu_s"], cost["cpu_s"]),
        "cheaper_wall": ratio(again["wall_s"], cost["wall_s"]),
        "cheaper_early": ratio(again["cpu_s"] * early / full, cost["cpu_s"]),
        "examples": ratio(again["forward"] + again["backward"], cost.get("forward", 0) + cost.get("backward", 0)),
    }


def interval(e: Estimate) -> list[float | None]:
    """Value and ends of an interval, None for what is not a number."""
    return [v if np.isfinite(v) else None for v in (e.value, e.low, e.high)]


def _spread(values: torch.Tensor) -> list[float | None]:
    """Mean and standard deviation over models."""
    v = values.double()
    return [float(v.mean()), float(v.std()) if len(v) > 1 else None]


def _asked(setting: Setting, cache: Path) -> Asked:
    s = setting
    return ask(problem(s.problem), s.records, s.request, s.share, s.draw, cache / "models")


def ground_place(setting: Setting, cache: Path) -> Path:
    """File of the readings of a setting's original and retrained models."""
    return cache / "readings" / f"{ground_key(setting)}.safetensors"


def _readings(setting: Setting, cache: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    found = load_file(ground_place(setting, cache))
    first, gold = (
        {k.removeprefix(f"{w}/"): v for k, v in found.items() if k.startswith(f"{w}/")}
        for w in ("original", "retrained")
    )
    return first, gold


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
