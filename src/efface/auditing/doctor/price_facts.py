"""Facts about the price: what a default run and its audit at level standard would take."""

import math
import time
from collections.abc import Iterator

import torch
from torch import nn

from efface.auditing.config import REFERENCES
from efface.auditing.doctor.evidence_facts import can_train_references
from efface.auditing.doctor.examination import Fact
from efface.auditing.inputs import MAX_RETAIN
from efface.data.records import Batch
from efface.data.splits import Splits
from efface.methods import Steer
from efface.models.init import unfreeze
from efface.models.running import copy_model, device_of, forward, mode
from efface.models.training import Recipe
from efface.request import Request

BATCH = 64
LEAST, MOST = 3, 30  # passes that are timed
ENOUGH = 1.0  # seconds of passes, after which no more are timed


def price_facts(original: nn.Module, request: Request, splits: Splits) -> Iterator[Fact]:
    """The price of a default run and of its audit in record-trainings, and the seconds that these take here."""
    method = Steer()
    read = len(splits.heldout_retain) + len(splits.calibration) + len(splits.stopping)
    steps = method.steps * (method.batch_forget + min(method.batch_retain, len(splits.retain)))
    # the original and the reference read the records of the targets, and the model is read once more at the end
    run = len(splits.reference) + steps + (3 * read + method.pool) / 3
    recipe = Recipe()
    scored = len(splits.audit) + MAX_RETAIN + (0 if request.test is None else len(request.test))
    audit = REFERENCES * recipe.steps(len(splits.audit_reference)) * recipe.batch + (REFERENCES + 2) * scored / 3
    each = seconds_of_one(original, request)
    prices = [("unlearning", "unlearning a small request", run)]
    if can_train_references(splits):
        prices.append(("audit", "its audit at level standard", audit))
    for name, words, price in prices:
        seconds = price * each
        text = f"{words}: about {price:,.0f} record-trainings, {about(seconds)} on this machine"
        yield Fact("price", name, {"record_trainings": round(price), "seconds": float(f"{seconds:.2g}")}, text)


def about(seconds: float) -> str:
    """Seconds in words, to the one or two digits that so short a measurement gives."""
    if seconds < 1:
        return "less than a second"
    unit, name = (1, "s") if seconds < 120 else (60, "min") if seconds < 7200 else (3600, "h")
    count = seconds / unit
    return f"about {float(f'{count:.{1 if count < 10 else 2}g}'):g} {name}"


def seconds_of_one(original: nn.Module, request: Request) -> float:
    """Seconds that one record takes forward and backward: the quickest pass, so that other work here counts little."""
    model = copy_model(original)
    if not any(p.requires_grad for p in model.parameters()):
        unfreeze(model)
    batch = request.train.read(range(min(BATCH, len(request.train)))).to(device_of(model))
    taken: list[float] = []
    with mode(model, training=False), torch.enable_grad():
        _pass(model, request, batch)  # which allocates memory and chooses kernels
        while len(taken) < LEAST or (len(taken) < MOST and math.fsum(taken) < ENOUGH):
            start = time.perf_counter()
            _pass(model, request, batch)
            taken.append(time.perf_counter() - start)
    return min(taken) / len(batch)


def _pass(model: nn.Module, request: Request, batch: Batch) -> None:
    """One pass forward and backward, until it is done: a GPU works on when the call has returned."""
    request.task.rules.loss(forward(request.task, model, batch), batch.targets).backward()
    if batch.targets.is_cuda:
        torch.cuda.synchronize(batch.targets.device)
