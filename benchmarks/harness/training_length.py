"""How long to train: what a model knows of its own and of never-seen records after each epoch."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from efface.bench.networks import tensors_of
from efface.bench.problems import KNOWN, Problem
from efface.runtime import seeded

STILL = 5  # epochs without a new lowest training loss, after which it has stopped falling


@dataclass(frozen=True)
class Epoch:
    """What a model is after an epoch: training loss, accuracy on its own and on holdout records, CPU seconds so far."""

    number: int
    loss: float
    known: float
    held: float
    cpu_s: float


def lengths(problem: Problem, records: int, most: int, seed: int = 0) -> Iterator[Epoch]:
    """Train one model, epoch by epoch, until it knows 98 % of its records or its training loss has stopped falling."""
    task = problem.task(records)
    (x, y), held = tensors_of(task.train), tensors_of(task.holdout)
    with seeded(seed):
        model = problem.build()
    fit = replace(problem.fit(records), epochs=most)
    passes, spent, lowest, since = fit.passes(model, x, y, seed), 0.0, float("inf"), 0
    for number in range(1, most + 1):
        start = time.process_time()
        with seeded(seed + number):
            loss = next(passes)
        spent += time.process_time() - start
        model.eval()
        known = _right(model, x, y)
        yield Epoch(number, loss, known, _right(model, *held), spent)
        lowest, since = min(lowest, loss), 0 if loss < lowest else since + 1
        if known >= KNOWN or since >= STILL:
            return


def _right(model: nn.Module, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return float(torch.cat([model(part).argmax(1) for part in x.split(1024)]).eq(y).double().mean())
