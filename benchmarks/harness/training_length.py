"""How long to train: what a model knows of its own and of never-seen records after each epoch."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from benchmarks.harness.networks import tensors_of
from benchmarks.harness.problems import KNOWN, Problem
from efface.kinds import Kind
from efface.runtime.seeds import seeded

STILL = 5  # epochs without a new lowest training loss, after which it has stopped falling


@dataclass(frozen=True)
class Epoch:
    """What a model is after an epoch: training loss, utility on its own and on holdout records, CPU seconds so far."""

    number: int
    loss: float
    known: float
    held: float
    cpu_s: float


def train_and_watch(problem: Problem, records: int, max_epochs: int, seed: int = 0) -> Iterator[Epoch]:
    """Train one model, epoch by epoch, until it knows 98 % of its records or its training loss has stopped falling.

    What is no class is hardly ever known, or nearly always: there the loss alone says when to stop.
    """
    task = problem.task(records)
    (x, y), held = tensors_of(task.train), tensors_of(task.holdout)
    with seeded(seed):
        model = problem.build()
    fit = replace(problem.fit(records), epochs=max_epochs)
    passes, spent, lowest, since = fit.passes(model, x, y, seed), 0.0, float("inf"), 0
    for number in range(1, max_epochs + 1):
        start = time.process_time()
        with seeded(seed + number):
            loss = next(passes)
        spent += time.process_time() - start
        model.eval()
        known = utility(task.rules, model, x, y)
        yield Epoch(number, loss, known, utility(task.rules, model, *held), spent)
        lowest, since = min(lowest, loss), 0 if loss < lowest else since + 1
        if (known >= KNOWN and task.rules.has_classes) or since >= STILL:
            return


def choose(epochs: Sequence[Epoch], of_classes: bool = True) -> str:
    """The length of training that the rule gives, in words, and the epoch of the best utility on the holdout."""
    last, lowest = epochs[-1], min(epochs, key=lambda e: e.loss)
    if of_classes and last.known >= KNOWN:
        length, why = last.number, f"train for {last.number} epochs, which teach {KNOWN:.0%} of its records"
    elif last.number - lowest.number >= STILL:
        length, why = lowest.number, f"train for {lowest.number} epochs, after which the training loss falls no more"
    else:
        length, why = last.number, f"not settled after {last.number} epochs: give a larger --max-epochs"
    best = max(epochs[:length], key=lambda e: e.held)
    return f"{why}; best accuracy on the holdout after {best.number}"


def utility(rules: Kind, model: nn.Module, x: Tensor, y: Tensor) -> float:
    """The mean utility of the model's answers: of classes, the share of records whose label it predicts."""
    with torch.no_grad():
        parts = [
            rules.useful(rules.values(model(a), b), rules.labels(b))
            for a, b in zip(x.split(1024), y.split(1024), strict=True)
        ]
    return float(torch.cat(parts).double().mean())
