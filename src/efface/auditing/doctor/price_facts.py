"""Facts about the price: what a default run and its audit at level standard would take."""

import copy
import time
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from efface.auditing.config import REFERENCES
from efface.auditing.doctor.examination import Fact
from efface.auditing.inputs import MAX_RETAIN
from efface.data.splits import Splits
from efface.methods import Steer
from efface.models.init import unfreeze
from efface.models.running import device_of, forward, mode
from efface.models.training import Recipe
from efface.request import Request
from efface.runtime.printing import duration

BATCH, TIMES = 64, 5


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
    for name, words, price in (
        ("unlearning", "unlearning a small request", run),
        ("audit", "its audit at level standard", audit),
    ):
        text = f"{words}: about {price:,.0f} record-trainings, some {duration(price * each)} on this machine"
        yield Fact("price", name, {"record_trainings": round(price), "seconds": price * each}, text)


def seconds_of_one(original: nn.Module, request: Request) -> float:
    """Seconds that one record takes forward and backward, from a few passes of a copy of the model."""
    model = copy.deepcopy(original)
    unfreeze(model)
    batch = request.train.read(range(min(BATCH, len(request.train)))).to(device_of(model))
    with mode(model, training=False), torch.enable_grad():
        best = float("inf")
        for _ in range(TIMES):
            start = time.perf_counter()
            F.cross_entropy(forward(request.task, model, batch.inputs), batch.targets).backward()
            if batch.targets.is_cuda:
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - start)
    return best / len(batch)
