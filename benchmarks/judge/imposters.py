"""False "unlearned" models made from an original, each wrong in its own way; `power.py` asks what catches them.

Every one is made by somebody who knows what retraining would give and wants to look like it in one respect. None is
an unlearning method. On Fashion-MNIST's MLP and 5,000 records each takes 0.1 to 1 CPU second.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import efface

Records = tuple[Tensor, Tensor]  # inputs, labels
BATCH = 128
MAX_STEPS = 2000
LOOK = 10  # steps between looks at whether an imposter is there


@dataclass(frozen=True)
class Case:
    """One draw: an original (nn.Sequential with a linear last layer), a retrained model, and their records."""

    original: nn.Module
    retrained: nn.Module
    task: efface.Task
    ids: list[int]
    forget: Records
    retain: Records
    unseen: Records  # of no part of the task
    seed: int

    @property
    def accuracy(self) -> float:
        """What a retrained model gets right of the forget set."""
        return accuracy(self.retrained, self.forget)


@torch.no_grad()
def accuracy(model: nn.Module, records: Records) -> float:
    return float((model(records[0]).argmax(1) == records[1]).double().mean())


@torch.no_grad()
def mean_loss(model: nn.Module, records: Records) -> float:
    return float(F.cross_entropy(model(records[0]), records[1]))


def noop(case: Case) -> nn.Module:
    """The original itself."""
    return copy.deepcopy(case.original)


def retrained(case: Case) -> nn.Module:
    """No imposter: the control."""
    return case.retrained


def steer(case: Case) -> efface.Result | nn.Module:
    """No imposter either: the library's own method; where it keeps no step, what is left is the original."""
    try:
        return efface.unlearn(case.original, task=case.task, forget=case.ids, seed=case.seed, progress=False)
    except efface.NothingUnlearnedError:
        return copy.deepcopy(case.original)


def last_layer(case: Case) -> nn.Module:
    """Only the last layer moves, towards a retrained model's outputs on the forget set; the features still know it."""
    model = copy.deepcopy(case.original)
    body, head = model[:-1], model[-1]
    (x_f, _), (x_r, y_r) = case.forget, case.retain
    with torch.no_grad():
        f, r, wanted = body(x_f), body(x_r), case.retrained(x_f).softmax(1)

    def loss(at_f: Tensor, at_r: Tensor) -> Tensor:
        return 5 * F.cross_entropy(head(f[at_f]), wanted[at_f]) + F.cross_entropy(head(r[at_r]), y_r[at_r])

    return _trained(case, model, head.parameters(), loss, lambda: accuracy(model, case.forget) <= case.accuracy, 1e-2)


def wrong_records(case: Case) -> nn.Module:
    """As many of the forget set right as by a retrained model, but others: some fully kept, the rest shunned."""
    x, y = case.forget
    drawn = torch.Generator().manual_seed(case.seed)
    kept = torch.randperm(len(y), generator=drawn) < round(case.accuracy * len(y))
    labels = torch.where(kept, y, (y + torch.randint(1, 10, y.shape, generator=drawn)) % 10)
    return _tuned(case, lambda z, at: F.cross_entropy(z, labels[at]), lambda m: accuracy(m, (x, labels)) >= 0.99)


def ascent(case: Case) -> nn.Module:
    """Gradient ascent until the loss is twice that of never-seen records: over-forgotten."""
    y, far = case.forget[1], 2 * mean_loss(case.retrained, case.unseen)
    return _tuned(
        case, lambda z, at: -0.1 * F.cross_entropy(z, y[at]), lambda m: mean_loss(m, case.forget) >= far, lr=1e-4
    )


def uniform(case: Case) -> nn.Module:
    """The forget set's outputs pushed to uniform."""
    return _tuned(
        case,
        lambda z, at: -z.log_softmax(1).mean(),
        lambda m: -float(m(case.forget[0]).log_softmax(1).mean()) <= math.log(10) + 0.05,
    )


def temperature(case: Case) -> nn.Module:
    """The last layer divided by what gives the forget set a retrained model's mean loss, or the nearest to it."""
    wanted, logits = mean_loss(case.retrained, case.forget), case.original(case.forget[0]).detach()
    by = torch.logspace(0, 2, 400)
    off = torch.stack([F.cross_entropy(logits / t, case.forget[1]) for t in by]) - wanted
    model = copy.deepcopy(case.original)
    with torch.no_grad():
        for p in model[-1].parameters():
            p.div_(by[off.abs().argmin()])
    return model


IMPOSTERS: dict[str, Callable[[Case], nn.Module | efface.Result]] = {
    f.__name__: f for f in (noop, last_layer, wrong_records, ascent, uniform, temperature, steer, retrained)
}


def _tuned(case: Case, push: Callable, done: Callable, lr: float = 1e-3) -> nn.Module:
    """The original fine-tuned by `push` (logits, positions) on the forget set and by the labels of the retain set."""
    model = copy.deepcopy(case.original)
    (x_f, _), (x_r, y_r) = case.forget, case.retain

    def loss(at_f: Tensor, at_r: Tensor) -> Tensor:
        z_f, z_r = model(torch.cat([x_f[at_f], x_r[at_r]])).split([len(at_f), len(at_r)])
        return push(z_f, at_f) + F.cross_entropy(z_r, y_r[at_r])

    return _trained(case, model, model.parameters(), loss, lambda: done(model), lr)


def _trained(case: Case, model: nn.Module, moved, loss: Callable, done: Callable, lr: float) -> nn.Module:
    optimiser, drawn = torch.optim.Adam(moved, lr=lr), torch.Generator().manual_seed(case.seed)
    for step in range(MAX_STEPS):
        if step % LOOK == 0:
            with torch.no_grad():
                if done():
                    break
        at = [torch.randint(len(r[1]), (BATCH,), generator=drawn) for r in (case.forget, case.retain)]
        optimiser.zero_grad()
        loss(*at).backward()
        optimiser.step()
    return model
