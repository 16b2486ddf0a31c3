"""The ensembles of a strong audit: originals, the same models unlearned, and models trained without the forget set."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from efface.auditing.inputs import AuditInputs
from efface.data.splits import Splits
from efface.models.ensembles import ModelSpec, TrainedEnsemble, train_ensemble
from efface.models.running import copy_model
from efface.runtime.cost import Meter, PhaseCost
from efface.runtime.notices import quietly
from efface.runtime.printing import Brief
from efface.runtime.progress import track
from efface.runtime.seeds import derive_seed
from efface.task import Task
from efface.types import Indices, RecordId
from efface.unlearning.driver import unlearn
from efface.unlearning.nothing import NothingUnlearnedError


@dataclass(frozen=True, repr=False)
class Ensembles(Brief):
    """Three ensembles of models.

    Args:
        originals: Models trained as the original was.
        unlearned: `unlearned[i]` is `originals[i]` after the audited method unlearned the request.
        retrained: Models trained without the forget set.
        of_method: Whether originals and unlearned models were made here. If not, they are the one pair that is judged,
            since the method is not known.
        found: How many models came from the cache.
        cost_each: Cost of training one model; None if all came from the cache.
        notes: What was said of the training.
    """

    originals: Sequence[nn.Module]
    unlearned: Sequence[nn.Module]
    retrained: Sequence[nn.Module]
    of_method: bool
    found: int
    cost_each: PhaseCost | None
    notes: Sequence[str] = ()


def make_ensembles(inputs: AuditInputs, meter: Meter) -> Ensembles:
    """Train models without the forget set and, if the method is known, as many originals, which it unlearns.

    Args:
        inputs: The checked audit.
        meter: Charged with what is trained.
    """
    request, count = inputs.request, inputs.options.models
    everything = np.arange(len(request.train), dtype=np.int64)
    retrained = _train_alike(inputs, inputs.splits.retain, "retrained", meter)
    if inputs.method is None:
        pair = [inputs.original], [inputs.unlearned]
        return Ensembles(*pair, retrained.models, False, retrained.found, retrained.cost, retrained.notes)
    originals = _train_alike(inputs, everything, "original", meter)
    unlearned = []
    title = f"unlearning {count} originals by {inputs.method.key}"
    with track(title, count, inputs.options.progress) as advance:
        for k, model in enumerate(originals.models):
            seed = derive_seed(inputs.seed, "shadow", str(k))
            unlearned.append(forget_by_method(inputs, request.given, model, request.ids, seed, inputs.splits, meter))
            advance()
    found = retrained.found + originals.found
    cost, notes = retrained.cost or originals.cost, dict.fromkeys([*retrained.notes, *originals.notes])
    return Ensembles(originals.models, unlearned, retrained.models, True, found, cost, list(notes))


def _train_alike(inputs: AuditInputs, positions: Indices, kind: str, meter: Meter) -> TrainedEnsemble:
    """Train an ensemble on the same records, each model with a different seed."""
    seeds = [derive_seed(inputs.seed, "ensemble", kind, str(k)) for k in range(inputs.options.models)]
    return train_shadows(inputs, [ModelSpec(None, positions, seed) for seed in seeds], kind, meter)


def train_shadows(inputs: AuditInputs, specs: Sequence[ModelSpec], kind: str, meter: Meter) -> TrainedEnsemble:
    """Train the specified models.

    Args:
        inputs: The checked audit.
        specs: Records and seed of each model.
        kind: Name of the ensemble in the cost and on the progress bar.
        meter: Charged with what is trained.
    """
    title = f"training {len(specs)} models ({kind})"
    with meter.phase(f"ensemble, {kind}"), quietly():  # its notes are in the report, whose notes are warnings
        return train_ensemble(inputs.request.given, inputs.original, specs, inputs.options.training, meter, title)


def forget_by_method(
    inputs: AuditInputs,
    task: Task,
    model: nn.Module,
    ids: Sequence[RecordId],
    seed: int,
    splits: Splits | None,
    meter: Meter,
) -> nn.Module:
    """Unlearn one shadow by the audited method.

    Args:
        inputs: The checked audit, with the method and its settings.
        task: The problem, with the shadow's training set.
        model: The shadow.
        ids: Ids of the records that it is to forget.
        seed: Seed of the run.
        splits: The splits of the run that is judged, so that the shadow does not use the audit's records either; None
            draws new ones by the seed.
        meter: Charged with the run.

    Returns:
        The unlearned shadow; where the method could change nothing, a copy of the shadow, since that is what it does.
    """
    if inputs.method is None:
        raise ValueError("the audited method is not known")
    options = replace(inputs.run_options, splits=splits, checks=False, twins="refuse", confirmed=(), first_outputs=None)
    # what a run says of a shadow is nothing that the caller could mend
    with meter.phase("ensemble, unlearning"), quietly():
        try:
            result = unlearn(
                model,
                task=replace(task, describe=None),  # which only people read
                forget=ids,
                method=inputs.method,
                options=options,
                seed=seed,
                progress=False,
            )
            made, cost = result.model, result.cost
        except NothingUnlearnedError as error:
            made, cost = copy_model(model), error.cost
        meter.count(cost.total.forward, cost.total.backward)
    return made
