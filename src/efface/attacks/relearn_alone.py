"""How many steps a model needs to learn a single record again, each record from a fresh copy of the model."""

import torch
from torch import Tensor, nn

from efface.attacks.outputs import RecordSet
from efface.models.init import unfreeze
from efface.models.running import copy_model, device_of, forward, mode
from efface.models.training import adam
from efface.runtime.cost import Meter
from efface.runtime.seeds import seeded
from efface.task import Task

STEPS = 10
LR = 3e-4


def relearn_alone(
    task: Task, model: nn.Module, chosen: RecordSet, seed: int, meter: Meter, steps: int = STEPS
) -> Tensor:
    """Fine-tune a copy of a model on each record alone, by steps of Adam in eval mode.

    Args:
        task: How records are read and models called.
        model: The model; it is not changed.
        chosen: The records.
        seed: Seed for what the model or the data set draws itself.
        meter: Charged with the passes.
        steps: How many steps each copy takes.

    Returns:
        Steps until each record is learned, (n,), from 0 to `steps` + 1: the sum over the steps of the doubt of it
        (`Kind.doubts`), which is k for a record that is unknown for k steps and certain from then on.
    """
    learner, device = copy_model(model, share_frozen=True), device_of(model)
    if not any(p.requires_grad for p in learner.parameters()):
        unfreeze(learner)
    moved = [p for p in learner.parameters() if p.requires_grad]
    begin = [p.detach().clone() for p in moved]
    needed = []
    with seeded(seed), mode(learner, training=False), torch.enable_grad():
        for batch in chosen.records.stream(chosen.positions, 1):
            here, doubt = batch.to(device), 0.0
            with torch.no_grad():
                for p, was in zip(moved, begin, strict=True):
                    p.copy_(was)
            optimiser = adam(moved, LR)
            for step in range(steps + 1):
                optimiser.zero_grad()
                values = forward(task, learner, here)
                doubt += float(task.rules.doubts(values.detach(), here.targets))
                if step < steps:
                    task.rules.loss(values, here.targets).backward()
                    optimiser.step()
            meter.count(forward=steps + 1, backward=steps)
            needed.append(doubt)
    return torch.tensor(needed, dtype=torch.float64)
