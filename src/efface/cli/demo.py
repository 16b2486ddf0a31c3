"""The demo: train a model, unlearn records from it, retrain without them and audit, on data that comes with efface."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, TensorDataset

from efface.auditing.api import audit
from efface.auditing.options import AuditOptions
from efface.auditing.report.build import Report
from efface.data.sets import digits, plant_label_noise
from efface.methods import Method, Steer
from efface.models.running import device_of
from efface.models.training import Recipe, retrain
from efface.runtime.cost import Meter, PhaseCost
from efface.runtime.devices import resolve_device, threads
from efface.runtime.progress import track
from efface.runtime.seeds import derive_seed, unchanged_globals
from efface.task import Task
from efface.unlearning.driver import unlearn
from efface.unlearning.result import Result

RETRAINED = 4
NOISE = 0.15  # share of wrong labels planted in training and holdout alike


@dataclass(frozen=True)
class Setting:
    """What a demo runs on.

    Args:
        task: the task; it has `fit`.
        build: makes the untrained network.
        method: the unlearning method.
        kinds: ids of the records to erase, by the name of their kind.
        title: title of the report.
    """

    task: Task
    build: Callable[[], nn.Module]
    method: Method
    kinds: dict[str, list[int]]
    title: str


@dataclass(frozen=True)
class DemoRun:
    """The unlearning result and the audit's report of a demo."""

    result: Result
    report: Report


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


def digits_cnn() -> nn.Module:
    """Make the network of the digits demo, with about 60,000 weights."""
    return small_cnn(8, (32, 64), 128)


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


def fit_digits(model: nn.Module, data: Dataset[tuple[Tensor, Tensor]], seed: int) -> None:
    """Train by 60 epochs of SGD with momentum and weight decay, enough to memorise all labels, wrong ones included.

    Args:
        model: the network; it is trained in place.
        data: pairs of an image and its class.
        seed: seed of the order of records.
    """
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    train_by_cross_entropy(model, data, seed, optimiser, epochs=60, batch=32)


def digits_setting(seed: int) -> Setting:
    """Make the digits demo: 1,000 training records with some wrong labels; 48 to forget, half of them mislabelled."""
    x, y = digits()
    y, wrong = plant_label_noise(y, 10, NOISE, derive_seed(seed, "demo", "noise"))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(derive_seed(seed, "demo", "split")))
    train, holdout, test = order[:1000], order[1000:1480], order[1480:]
    task = Task(
        train=TensorDataset(x[train], y[train]),
        holdout=TensorDataset(x[holdout], y[holdout]),
        test=TensorDataset(x[test], y[test]),
        build_model=digits_cnn,
        fit=fit_digits,
    )
    odd = wrong[train]
    kinds = {
        "ordinary": (~odd).nonzero().flatten()[:24].tolist(),
        "wrongly labelled": odd.nonzero().flatten()[:24].tolist(),
    }
    return Setting(task, digits_cnn, Steer(), kinds, "Demo: handwritten digits, 15 % of the labels wrong")


def run_demo(
    make_setting: Callable[[int], Setting] = digits_setting,
    seed: int = 0,
    device: str = "auto",
    progress: bool | None = None,
) -> DemoRun:
    """Train an original, unlearn from it, retrain controls without the records, and audit the result.

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
        with track("training the original and the retrained controls", 1 + RETRAINED, progress) as advance:
            for k, records in enumerate([everything, *[keep] * RETRAINED]):
                with meter.phase("original" if k == 0 else "retrain"):
                    models.append(retrain(task, template, records, derive_seed(seed, "demo", str(k)), meter, Recipe()))
                advance()
        result = unlearn(models[0], task=task, forget=forget, method=setting.method, seed=seed, progress=progress)
        spent = meter.cost().phases["retrain"]
        report = audit(
            result,
            retrained=models[1:],
            options=AuditOptions(
                retrain_cost=PhaseCost(spent.wall_s / RETRAINED, spent.cpu_s / RETRAINED),
                kinds=setting.kinds if len(setting.kinds) > 1 else {},
                title=setting.title,
                progress=progress,
            ),
        )
    return DemoRun(result, report)
