"""Training many small models as one: their weights are stacked, and each step takes all of them forward."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from efface.data.records import Batch
from efface.ensembles.identity import structure
from efface.ensembles.members import Member, Outcome, Work, naming, one_thread, records_of
from efface.errors import DivergedError
from efface.models.init import fresh_model
from efface.models.running import all_finite, device_of, mode
from efface.models.training import one_cycle
from efface.runtime.cost import Meter, PhaseCost
from efface.runtime.seeds import seeded
from efface.task import Task

# so many at once: more need more memory, and leave more undone if the process is killed
AT_ONCE = 32


def train_stacked(work: Work, todo: Sequence[int]) -> Iterator[tuple[int, Outcome]]:
    """Train members by the default recipe, many at once, and give each; leaves out those that this cannot be done to.

    Equal to training them one by one up to rounding: Adam and the learning rate treat each weight alone.
    """
    for start in range(0, len(todo), AT_ONCE):
        part = todo[start : start + AT_ONCE]
        members = [work.members[i] for i in part]
        own = Meter()
        with one_thread(), own.phase("members"):
            models = [fresh_model(work.tasks[m.task], work.original, m.seed) for m in members]
            if not _alike(models, members) or not _train(work, members, models, own):
                continue
        cost = _share(own.cost().total, len(part))
        for i, member, model in zip(part, members, models, strict=True):
            with naming(member.name):
                if not all_finite(model):
                    raise DivergedError("training by the default recipe diverged: give a smaller learning rate")
            yield i, Outcome(model.state_dict(), None, cost)


def _alike(models: Sequence[nn.Module], members: Sequence[Member]) -> bool:
    """Whether the models differ in their weights alone, and none draws at random or keeps statistics of batches."""
    odd = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd, nn.RNNBase)
    return (
        len(members) > 1
        and len({len(m.positions) for m in members}) == 1
        and len({structure(m) for m in models}) == 1
        and len({tuple((n, p.shape, p.dtype, p.requires_grad) for n, p in m.named_parameters()) for m in models}) == 1
        and not any(isinstance(module, odd) for module in models[0].modules())
        and _untied(models[0])
    )


def _untied(model: nn.Module) -> bool:
    """Whether no two names share a parameter: stacking would part them."""
    return len(list(model.parameters())) == len(list(model.named_parameters(remove_duplicate=False)))


class _Called(nn.Module):
    """A network called by the task's own hook."""

    def __init__(self, task: Task, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._forward = task.forward

    def forward(self, inputs: Any) -> Tensor:
        return self._forward(self.model, inputs).float()


def _train(work: Work, members: Sequence[Member], models: Sequence[nn.Module], meter: Meter) -> bool:
    """Train the models in place, or leave them and say no."""
    device, recipe = device_of(work.original), work.recipe
    called = [_Called(work.tasks[m.task], model) for m, model in zip(members, models, strict=True)]
    base = copy.deepcopy(called[0])
    with seeded(members[0].seed), mode(base, training=True), torch.enable_grad():
        weights, buffers = stack_module_state(called)
        before = {name: b.clone() for name, b in buffers.items()}
        moving = [weights[name] for name, p in base.named_parameters() if p.requires_grad]

        def loss(own: dict[str, Tensor], held: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
            return F.cross_entropy(functional_call(base, (own, held), (inputs,)), targets)

        losses = torch.vmap(loss, randomness="error")
        total = recipe.steps(len(members[0].positions))
        optimiser = torch.optim.Adam(moving, lr=recipe.lr, fused=True)
        schedule = one_cycle(optimiser, recipe.lr, total)
        for batches in _batches(work, members, total):
            inputs = [b.inputs for b in batches]
            if not all(isinstance(t, Tensor) and t.shape == inputs[0].shape for t in inputs):
                return False
            optimiser.zero_grad()
            try:
                each = losses(
                    weights,
                    buffers,
                    torch.stack(inputs).to(device),
                    torch.stack([b.targets for b in batches]).to(device),
                )
                each.sum().backward()
            except Exception:  # vmap cannot follow code that branches on values, draws at random or writes in place
                return False
            optimiser.step()
            schedule.step()
            examples = sum(map(len, batches))
            meter.count(forward=examples, backward=examples)
        if any(not torch.equal(buffers[name], b) for name, b in before.items()):
            return False
    with torch.no_grad():
        for row, model in enumerate(called):
            for name, p in model.named_parameters():
                p.copy_(weights[name][row])
    return True


def _batches(work: Work, members: Sequence[Member], total: int) -> Iterator[list[Batch]]:
    """For each step every member's batch, in the order that `efface.models.training.train` takes them."""
    orders = [np.random.default_rng(m.seed) for m in members]
    records = [records_of(work, m) for m in members]
    size, done = work.recipe.batch, 0
    while done < total:
        shuffled = [o.permutation(m.positions) for o, m in zip(orders, members, strict=True)]
        for start in range(0, len(shuffled[0]), size):
            rows = [s[start : start + size] for s in shuffled]
            if len(rows[0]) < 2 <= len(shuffled[0]):
                continue
            yield [r.read(at) for r, at in zip(records, rows, strict=True)]
            done += 1
            if done == total:
                return


def _share(total: PhaseCost, n: int) -> PhaseCost:
    return PhaseCost(total.wall_s / n, total.cpu_s / n, total.forward // n, total.backward // n)
