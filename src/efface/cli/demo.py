"""A demo: train a model, unlearn records from it, retrain without them, and audit that and doing nothing."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from efface.auditing.api import audit
from efface.auditing.options import AuditOptions
from efface.auditing.report.build import Report
from efface.methods import Method
from efface.methods.controls import Noop
from efface.models.running import device_of
from efface.models.training import Recipe, retrain
from efface.runtime.cost import Meter, PhaseCost
from efface.runtime.devices import resolve_device, threads
from efface.runtime.progress import track
from efface.runtime.seeds import derive_seed, unchanged_globals
from efface.task import Task
from efface.unlearning.driver import unlearn
from efface.unlearning.result import Result


@dataclass(frozen=True)
class Setting:
    """What a demo runs on.

    Args:
        task: the task; it has `fit`.
        build: makes the untrained network.
        method: the unlearning method.
        kinds: ids of the records to erase, by the name of their kind.
        title: title of the report.
        retrained: how many models are trained without the records.
    """

    task: Task
    build: Callable[[], nn.Module]
    method: Method
    kinds: dict[str, list[int]]
    title: str
    retrained: int = 4


@dataclass(frozen=True)
class DemoRun:
    """What a demo did: its setting, the unlearning result, and the audits of it and of doing nothing."""

    setting: Setting
    result: Result
    report: Report
    doing_nothing: Report


def small_cnn(side: int, channels: tuple[int, int], hidden: int) -> nn.Module:
    """Make a network of two strided convolutions and two linear layers, for grey images and ten classes.

    Args:
        side: height and width of the images, in pixels.
        channels: output channels of the two convolutions.
        hidden: width of the hidden linear layer.
    """
    flat = channels[1] * ((side + 3) // 4) ** 2
    return nn.Sequential(
        nn.Conv2d(1, channels[0], 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(channels[0], channels[1], 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(flat, hidden),
        nn.ReLU(),
        nn.Linear(hidden, 10),
    )


def train_by_cross_entropy(
    model: nn.Module,
    data: Dataset[tuple[Tensor, Tensor]],
    seed: int,
    optimiser: torch.optim.Optimizer,
    epochs: int,
    batch: int,
) -> None:
    """Train by cross-entropy with a learning rate that falls linearly to 0.

    Args:
        model: the network; it is trained in place.
        data: pairs of inputs and class.
        seed: seed of the order of records.
        optimiser: optimiser of the model's weights, with the initial learning rate.
        epochs: passes over the data.
        batch: records in a batch.
    """
    shuffled = RandomSampler(data, generator=torch.Generator().manual_seed(seed))  # type: ignore[arg-type]
    # whole batches are indexed at once, since reading records one by one would inflate the cost of retraining
    loader = DataLoader(data, batch_size=None, sampler=BatchSampler(shuffled, batch, drop_last=False))
    total = epochs * len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / total)
    device = device_of(model)
    model.train()
    for _ in range(epochs):
        for x, y in loader:
            optimiser.zero_grad()
            F.cross_entropy(model(x.to(device)), y.to(device)).backward()
            optimiser.step()
            schedule.step()


def run_demo(
    make_setting: Callable[[int], Setting],
    seed: int = 0,
    device: str = "auto",
    progress: bool | None = None,
) -> DemoRun:
    """Train an original, unlearn from it, retrain controls without the records, and audit unlearning and doing nothing.

    Args:
        make_setting: makes the setting from a seed.
        seed: seed of all random draws.
        device: auto, cpu, cuda or cuda:N.
        progress: whether to show progress bars; by default on a terminal.
    """
    with unchanged_globals(), threads(1):
        setting = make_setting(seed)
        task, forget = setting.task, [i for ids in setting.kinds.values() for i in ids]
        everything = np.arange(len(task.train))
        keep = np.setdiff1d(everything, forget)
        models, meter = [], Meter()
        template = setting.build().to(resolve_device(device))
        words = f"training the original and {setting.retrained} without the records"
        with track(words, 1 + setting.retrained, progress) as advance:
            for k, records in enumerate([everything, *[keep] * setting.retrained]):
                with meter.phase("original" if k == 0 else "retrain"):
                    models.append(retrain(task, template, records, derive_seed(seed, "demo", str(k)), meter, Recipe()))
                advance()
        spent = meter.cost().phases["retrain"]
        options = AuditOptions(
            retrain_cost=PhaseCost(spent.wall_s / setting.retrained, spent.cpu_s / setting.retrained),
            kinds=setting.kinds if len(setting.kinds) > 1 else {},
            title=setting.title,
            progress=progress,
        )
        result = unlearn(models[0], task=task, forget=forget, method=setting.method, seed=seed, progress=progress)
        report = audit(result, retrained=models[1:], options=options)
        # the same records and reference models, and the weights as they were
        nothing = unlearn(models[0], task=task, forget=forget, method=Noop(), seed=seed, progress=progress)
        doing_nothing = audit(nothing, retrained=models[1:], options=options)
    return DemoRun(setting, result, report, doing_nothing)
