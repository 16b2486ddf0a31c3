"""The reference model: one like the original that does not know the forget records, for a fraction of its training."""

import numpy as np
import torch
from torch import Tensor, nn

from efface.data.records import Records
from efface.errors import DivergedError
from efface.models import Recipe, all_finite, device_of, fresh_model, mode, one_cycle
from efface.numerics.logits import centre, without
from efface.runtime import Meter, derive_seed, seeded
from efface.task import Task
from efface.types import Indices

# What the start keeps of the original's weights, and what it takes of untrained ones. At half the weights little is
# left of single records, but much of what all of them taught.
KEPT, UNTRAINED = 0.5, 0.3
RECIPE = Recipe(epochs=1, lr=8e-3, batch=128, least_steps=60)


def distilled(
    task: Task,
    original: nn.Module,
    train: Records,
    positions: Indices,
    gone: tuple[int, ...],
    recipe: Recipe,
    seed: int,
    meter: Meter,
) -> nn.Module:
    """A network that starts half-way back to untrained weights and learns the original's logits on some records.

    It never reads the forget records, and soon says of others what the original says, since logits teach more than
    labels. What it still knows of forget records it knows as well of other training records that it was not taught:
    see `efface.expected`. `gone` are classes that it must not know. Raises DivergedError.
    """
    model = _half_way(task, original, derive_seed(seed, "reference"))
    device, order = device_of(model), np.random.default_rng(derive_seed(seed, "reference", "order"))
    total = recipe.steps(len(positions))
    moving = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(moving, lr=recipe.lr, fused=True)
    schedule = one_cycle(optimiser, recipe.lr, total)
    draws = seeded(derive_seed(seed, "reference", "draws"))
    with draws, mode(original, training=False), mode(model, training=True), torch.enable_grad():
        done = 0
        while done < total:
            shuffled = order.permutation(positions)
            # equal parts: a batch of one record breaks BatchNorm
            for rows in np.array_split(shuffled, -(-len(shuffled) // recipe.batch))[: total - done]:
                inputs = train.read(rows).to(device).inputs
                with torch.no_grad():
                    taught = without(task.forward(original, inputs).float(), gone)
                optimiser.zero_grad()
                (centre(task.forward(model, inputs).float(), gone) - taught).square().mean().backward()
                optimiser.step()
                schedule.step()
                meter.count(forward=2 * len(rows), backward=len(rows))
                done += 1
    if not all_finite(model):
        raise DivergedError("training the reference model diverged: give it a smaller learning rate (reference=)")
    return model


def _half_way(task: Task, original: nn.Module, seed: int) -> nn.Module:
    """The weights of the original, moved towards those of an untrained network; buffers are the original's.

    What the original has no like of, where `Task.build_model` makes another network, stays as it was made.
    """
    model = fresh_model(task, original, seed)
    theirs = {**dict(original.named_parameters()), **dict(original.named_buffers())}
    # pretrained weights are where such a training began, so that nothing of them is to be lost
    share = 1 - KEPT if task.fine_tuned else UNTRAINED
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.is_floating_point() and _alike(parameter, theirs.get(name)):
                parameter.mul_(share).add_(theirs[name].detach(), alpha=KEPT)
        for name, buffer in model.named_buffers():
            if _alike(buffer, theirs.get(name)):
                buffer.copy_(theirs[name])
    return model


def _alike(one: Tensor, other: Tensor | None) -> bool:
    return other is not None and one.shape == other.shape
