"""The ensembles of a strong audit: originals, the same unlearned, and models trained without the forget set."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from efface.auditing.inputs import AuditInputs
from efface.data.splits import Splits
from efface.ensembles import ModelSpec, TrainedEnsemble, Training, train_ensemble
from efface.methods.base import Method
from efface.runtime.cost import Meter, PhaseCost
from efface.runtime.progress import track
from efface.runtime.seeds import derive_seed
from efface.task import Task
from efface.types import Indices, RecordId
from efface.unlearning.driver import unlearn
from efface.unlearning.result import Settings


@dataclass(frozen=True)
class MethodSpec:
    """How the unlearned model was made, so that others can be made of other originals."""

    method: Method
    settings: Settings


@dataclass(frozen=True)
class Ensembles:
    """originals[i] became unlearned[i]; with `remade` false these are the one pair that was handed in.

    `found` models came from the cache; `each` is what training one model cost, None where all were found.
    """

    originals: Sequence[nn.Module]
    unlearned: Sequence[nn.Module]
    retrained: Sequence[nn.Module]
    remade: bool
    found: int
    each: PhaseCost | None


def make_ensembles(
    subject: AuditInputs, remake: MethodSpec | None, models: int, training: Training, seed: int, meter: Meter
) -> Ensembles:
    """Train `models` without the forget set and, where the method can be run again, as many originals to unlearn."""
    request, splits = subject.request, subject.splits
    everything = np.arange(len(request.train), dtype=np.int64)
    retrained = fit(subject, splits.retain, models, "retrained", training, seed, meter)
    if remake is None:
        pair = [subject.original], [subject.unlearned]
        return Ensembles(*pair, retrained.models, False, retrained.found, retrained.cost)
    originals = fit(subject, everything, models, "original", training, seed, meter)
    unlearned = []
    with track(f"unlearning {models} originals by {remake.method.key}", models, training.progress) as advance:
        for k, model in enumerate(originals.models):
            own = derive_seed(seed, "shadow", str(k))
            unlearned.append(forgotten(request.task, model, request.ids, remake, own, splits, meter))
            advance()
    found = retrained.found + originals.found
    return Ensembles(originals.models, unlearned, retrained.models, True, found, retrained.cost or originals.cost)


def fit(
    subject: AuditInputs, positions: Indices, count: int, what: str, training: Training, seed: int, meter: Meter
) -> TrainedEnsemble:
    """So many models trained on the same records, each with a seed of its own."""
    specs = [ModelSpec(None, positions, derive_seed(seed, "ensemble", what, str(k))) for k in range(count)]
    return train_all(subject, specs, what, training, meter)


def train_all(
    subject: AuditInputs, specs: Sequence[ModelSpec], what: str, training: Training, meter: Meter
) -> TrainedEnsemble:
    """The models that are specified, charged to a phase of their own."""
    with meter.phase(f"ensemble, {what}"):
        title = f"training {len(specs)} models ({what})"
        return train_ensemble(subject.request.task, subject.original, specs, training, meter, title)


def forgotten(
    task: Task,
    model: nn.Module,
    ids: Sequence[RecordId],
    remake: MethodSpec,
    seed: int,
    splits: Splits | None,
    meter: Meter,
) -> nn.Module:
    """One shadow unlearned; with the parts of the run that is judged, so that it too stays off the audit's records."""
    with meter.phase("ensemble, unlearning"):
        result = unlearn(
            model,
            task=task,
            forget=ids,
            method=remake.method,
            stop=remake.settings.stop,
            evaluate=remake.settings.evaluate,
            reference=remake.settings.reference,
            seed=seed,
            splits=splits,
            checks=False,
            progress=False,
        )
        spent = result.cost.total
        meter.count(spent.forward, spent.backward)
    return result.model
