"""The reference model: like the original but without the forget records, for a fraction of its training."""

import numpy as np
import torch
from torch import Tensor, nn

from efface.data.records import Records
from efface.errors import DivergedError
from efface.models.init import fresh_model
from efface.models.running import logits_of
from efface.models.training import Recipe, train
from efface.request import Request
from efface.runtime.cost import Meter
from efface.runtime.seeds import derive_seed
from efface.task import Task
from efface.types import Indices

# What the start keeps of the original's weights, and what it takes of untrained ones. At half the weights little is
# left of single records, but much of what all of them taught.
ORIGINAL_SHARE, UNTRAINED_SHARE = 0.5, 0.3

RECIPE = Recipe(epochs=1, lr=8e-3, batch=128, least_steps=60)


def check_reference(request: Request, nonmembers: Indices, reference: nn.Module, meter: Meter) -> str | None:
    """Whether the reference learned anything: it must be better than guessing the commonest class of the holdout.

    Args:
        request: Whose holdout and classes to use.
        nonmembers: Holdout positions to measure the accuracy on.
        reference: The model.
        meter: Counts the work.

    Returns:
        None, or the reason why it cannot serve: its accuracy is not two standard errors above that of the guess.
    """
    targets = request.holdout.targets(nonmembers)
    stay = ~np.isin(targets.numpy(), request.forget_classes)
    if not stay.any():
        return "the holdout has no records of the classes that stay: give some"
    nonmembers, targets = nonmembers[stay], targets[torch.from_numpy(stay)]
    z = logits_of(request.task, reference, request.holdout, nonmembers, meter)
    right = float((z.argmax(1) == targets).double().mean())
    chance = float(torch.bincount(targets).max()) / len(targets)
    if right > chance + 2 * (chance * (1 - chance) / len(targets)) ** 0.5:
        return None
    return (
        f"the reference model is no better than chance on the holdout (accuracy {right:.3f}, commonest class "
        f"{chance:.3f}): give Task.build_model, or a longer recipe for the reference"
    )


def reference_model(
    task: Task, original: nn.Module, records: Records, positions: Indices, recipe: Recipe, seed: int, meter: Meter
) -> nn.Module:
    """A network that starts half-way back from the original to untrained weights and is trained on some records.

    A short training makes it nearly as good as the original. It reads no forget record, but it inherits half of weights
    that knew them. What it so remembers of a random request it also remembers of other training records that it was not
    trained on, which is how that memory is measured: see `efface.calibration.counterfactual`.

    Args:
        task: How to make and run networks.
        original: The model to start from; left as it is.
        records: Training records.
        positions: Those to train on.
        recipe: How to train.
        seed: Draws the untrained weights and the order of records.
        meter: Counts the work.

    Raises:
        RequestError: No untrained network can be made.
        DivergedError: The training diverged.
    """
    own = derive_seed(seed, "reference")
    try:
        return train(task, half_way_model(task, original, own), records, positions, recipe, own, meter)
    except DivergedError as error:
        raise DivergedError("the reference model diverged: give it a smaller learning rate (reference=)") from error


def half_way_model(task: Task, original: nn.Module, seed: int) -> nn.Module:
    """The weights of the original, moved towards those of an untrained network; buffers are the original's.

    Parameters that the original lacks, where `Task.build_model` makes another network, stay as they were made.
    """
    model = fresh_model(task, original, seed)
    known = {**dict(original.named_parameters()), **dict(original.named_buffers())}
    # pretrained weights are where such a training began, so that nothing of them is to be lost
    share = 1 - ORIGINAL_SHARE if task.fine_tuned else UNTRAINED_SHARE
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.is_floating_point() or not _alike(parameter, known.get(name)):
                continue
            if parameter.requires_grad:
                parameter.mul_(share).add_(known[name].detach(), alpha=ORIGINAL_SHARE)
            else:  # such as fixed features, which no training would bring back
                parameter.copy_(known[name])
        for name, buffer in model.named_buffers():
            if _alike(buffer, known.get(name)):
                buffer.copy_(known[name])
    return model


def _alike(one: Tensor, other: Tensor | None) -> bool:
    return other is not None and one.shape == other.shape
