"""The reference model: a network like the original, briefly trained without the forget records."""

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

# The start is a share of the original's weights plus untrained ones. The less is kept, the less it holds of single
# records, and the more of what all records taught must be learned again from few. A model that is nearly as accurate on
# records that it never saw has memorised little, so that more may be kept.
KEPT, KEPT_MOST = 0.6, 0.8
# of accuracy, between members and nonmembers: up to the first the most is kept, from the second on the least
GAPS = (0.02, 0.04)
UNTRAINED = 0.7  # untrained weights make up this part of what is not kept

NONE_STAYS = "the holdout has no records of the classes that stay: give some"

# The second is tried where the first teaches a network nothing: at its rate a transformer 768 wide learns nothing.
RECIPES = (Recipe(epochs=1, lr=4e-3, batch=48, least_steps=1), Recipe(epochs=2, lr=3e-4, batch=16, least_steps=1))


def check_reference(request: Request, nonmembers: Indices, reference: nn.Module, meter: Meter) -> str | None:
    """Check that a reference model is better than the best constant answer, for classes the commonest of the holdout.

    Args:
        request: The request, with its holdout and classes.
        nonmembers: Holdout positions on which its utility, such as accuracy, is measured.
        reference: The model.
        meter: Charged with the work.

    Returns:
        None if its utility is more than two standard errors above that of the answer; else the problem.
    """
    rules = request.task.rules
    targets = request.holdout.targets(nonmembers)
    stay = ~rules.is_erased(targets, request.forget_classes)
    if not bool(stay.any()):
        return NONE_STAYS
    nonmembers, targets = nonmembers[stay.numpy()], targets[stay]
    useful = rules.useful(logits_of(request.task, reference, request.holdout, nonmembers, meter), targets)
    guessed = rules.guessed(targets)
    # of right answers the spread of guesses, since few of a poor reference may all be right, or wrong, by chance; of
    # others that of the gain, record by record
    spread = guessed if rules.has_classes else useful - guessed
    error = float(spread.std(correction=0)) / len(targets) ** 0.5
    if float(useful.mean()) > float(guessed.mean()) + 2 * error:
        return None
    return (
        f"the reference model is no better than chance on the holdout ({rules.measure} "
        f"{float(useful.mean()):.3f}, the best constant answer {float(guessed.mean()):.3f}): give Task.build_model, or "
        "a longer recipe for the reference"
    )


def kept_share(gap: float) -> float:
    """How much of the original's weights the reference starts with.

    Args:
        gap: By how much the original's utility, such as accuracy, is higher on members than on nonmembers.
    """
    return float(np.interp(gap, GAPS, (KEPT_MOST, KEPT)))


def reference_model(
    task: Task, start: nn.Module, records: Records, positions: Indices, recipe: Recipe, seed: int, meter: Meter
) -> nn.Module:
    """Train a reference model from a start between the original's weights and untrained ones.

    A short training makes it nearly as good as the original. It reads no forget record, but it inherits a part of the
    weights that knew them. For a random request it remembers as much of other training records that it was not trained
    on, so its memory can be measured on these: see `efface.calibration.counterfactual`.

    Args:
        task: The task, for running networks.
        start: A network by `half_way_model`; it is changed in place.
        records: The training records.
        positions: Which of them to train on.
        recipe: How to train.
        seed: Seed of the order of records.
        meter: Charged with the work.

    Raises:
        DivergedError: The training diverged.
    """
    try:
        return train(task, start, records, positions, recipe, derive_seed(seed, "reference"), meter)
    except DivergedError as error:
        raise DivergedError("the reference model diverged: give it a smaller learning rate (reference=)") from error


def half_way_model(task: Task, original: nn.Module, seed: int, kept: float = KEPT) -> nn.Module:
    """Make a network whose weights mix the original's with untrained ones; its buffers are the original's.

    Parameters that the original lacks stay untrained, if `Task.build_model` makes another network.

    Args:
        task: The task.
        original: The original model; it is not changed.
        seed: Seed of the run, from which that of the untrained weights is derived.
        kept: Share of the original's weights, from 0 to 1.

    Raises:
        RequestError: No untrained network can be made.
    """
    model = fresh_model(task, original, derive_seed(seed, "reference"))
    known = {**dict(original.named_parameters()), **dict(original.named_buffers())}
    # for a fine-tuned model, build_model gives the pretrained weights, so both shares add up to 1
    share = (1.0 if task.fine_tuned else UNTRAINED) * (1 - kept)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.is_floating_point() or not _alike(parameter, known.get(name)):
                continue
            if parameter.requires_grad:
                parameter.mul_(share).add_(known[name].detach(), alpha=kept)
            else:  # for example fixed features, which training would not restore
                parameter.data = known[name].detach()  # shared, since nothing moves it
        for name, buffer in model.named_buffers():
            if _alike(buffer, known.get(name)):
                buffer.copy_(known[name])
    return model


def _alike(one: Tensor, other: Tensor | None) -> bool:
    return other is not None and one.shape == other.shape
