"""gnndelete: train an operator after each layer that moves what stands near the deletion, and leave all weights."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efface.data.records import Batch
from efface.errors import DivergedError, RequestError
from efface.methods.base import Method, Problem, Step
from efface.models.running import call_forward, device_of, mode, own_weights
from efface.runtime.options import option
from efface.runtime.seeds import derive_seed
from efface.task import Task
from efface.types import Indices

SMALL = 1e-3  # every number of an operator at the published start


class DeletionOperator(nn.Module):
    """A linear map of some rows of a layer's outputs; of none until `gnndelete` chooses them.

    Args:
        width: Numbers in a row.
        rows: Rows of the layer's outputs, such as the nodes of a graph.
    """

    moved: Tensor

    def __init__(self, width: int, rows: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, width), requires_grad=False)
        self.register_buffer("moved", torch.zeros(rows, dtype=torch.bool))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Make it the identity, of no rows."""
        with torch.no_grad():
            nn.init.eye_(self.weight)
            self.moved.zero_()

    def forward(self, h: Tensor) -> Tensor:
        """The outputs of the layer, some of them moved."""
        if not bool(self.moved.any()):
            return h
        return torch.where(self.moved[:, None], h @ self.weight, h)


class Followed(nn.Module):
    """A layer and the operator after it.

    Args:
        layer: The layer.
        operator: The operator.
    """

    def __init__(self, layer: nn.Module, operator: DeletionOperator) -> None:
        super().__init__()
        self.layer, self.operator = layer, operator

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """What the operator makes of the outputs of the layer."""
        outputs: Tensor = self.operator(self.layer(*args, **kwargs))
        return outputs


@dataclass(frozen=True)
class GNNDelete(Method):
    """Train an operator D after each layer, h <- h D for rows near the deletion; all other weights stay.

    For layer k the rows are those within k hops of what leaves. With h the original's outputs of the layer before the
    deletion, the operator of each layer descends by Adam on

        loss = alpha mean over the ends of |h D - h_r|^2 + (1 - alpha) mean over the other rows of |h D - h|^2

    where r is a random row for each end, drawn once: the ends of what leaves are to look like any two rows, and rows
    around them as before. The ends are left out of the second part. By default operators start at 1 / 1000 throughout,
    as in public code; the paper's operator would start at the identity, which `identity` does. The public code
    applies the sigmoid twice in one variant of its loss, chooses the checkpoint by a score that over-forgetting
    maximises, and trains with the deleted links in the graph; none of that is done here.

    A model has operators if `efface.integrations.graphs.with_operators` gave it some.
    """

    key = "gnndelete"
    summary = "train an operator after each layer for what stands near the deletion; no weight of the network moves"
    source = "Cheng et al. (GNNDelete), arXiv 2302.13406"
    needs_structure = True

    steps: int = option(1500, "steps; 1,500 to 3,000 were published", 1, 100_000)
    lr: float = option(1e-3, "learning rate of Adam", 1e-8, 10.0)
    alpha: float = option(0.5, "weight of the ends of what leaves", 0.0, 1.0)
    identity: bool = option(False, "start at the identity instead of 1 / 1000 throughout")

    @property
    def length(self) -> int:
        return self.steps

    @property
    def max_evaluations(self) -> int:
        return 1

    def unfit(self, model: nn.Module) -> str | None:
        if any(isinstance(module, DeletionOperator) for module in model.modules()):
            return None
        return (
            "gnndelete trains an operator after each layer, and the model has none: give it some by "
            "efface.integrations.graphs.with_operators, before it is trained or after"
        )

    def unfit_task(self, task: Task) -> str | None:
        one = np.zeros(1, dtype=np.int64)
        if task.structure is not None and task.structure.rows(one, 1) is None:
            return "gnndelete needs to know which rows of a layer stand near a deletion: give Structure.rows"
        return super().unfit_task(task)

    def run(self, problem: Problem) -> Iterator[Step]:
        own_weights(problem.model, problem.original)  # operators are frozen in the original, and so shared with it
        operators = _operators(problem.model)
        batch = problem.train.read(problem.forget).to(device_of(problem.model))
        rng = np.random.default_rng(derive_seed(problem.seed, "gnndelete", "ends"))
        with mode(problem.model, training=False):
            with torch.no_grad():
                before = _outputs(problem, problem.given, problem.original, batch)
            aims = [self._aim(problem, k, h, rng) for k, h in enumerate(before, 1)]
            for operator, aim in zip(operators, aims, strict=True):
                operator.moved[aim.rows] = True
                operator.weight.requires_grad_(True)
                if not self.identity:
                    nn.init.constant_(operator.weight, SMALL)
            optimisers = [torch.optim.Adam([operator.weight], lr=self.lr) for operator in operators]
            for index in range(1, self.steps + 1):
                with torch.enable_grad():
                    outputs = _outputs(problem, problem.task, problem.model, batch)
                    losses = [aim.loss(h, self.alpha) for aim, h in zip(aims, outputs, strict=True)]
                    slopes = [
                        torch.autograd.grad(loss, operator.weight, retain_graph=True)[0]
                        for loss, operator in zip(losses, operators, strict=True)
                    ]
                total = float(sum(loss.item() for loss in losses))
                if not np.isfinite(total):
                    raise DivergedError(f"the loss became {total}: try a smaller learning rate")
                for operator, slope, optimiser in zip(operators, slopes, optimisers, strict=True):
                    operator.weight.grad = slope
                    optimiser.step()
                yield Step(index, total, is_eval_point=index == self.steps)

    def _aim(self, problem: Problem, hops: int, before: Tensor, rng: np.random.Generator) -> "_Aim":
        ends, rows = _rows(problem, 0), _rows(problem, hops)
        others = np.setdiff1d(rows, ends)
        drawn = rng.integers(0, len(before), len(ends))
        on = (torch.from_numpy(at).to(before.device) for at in (rows, ends, others))
        return _Aim(next(on), next(on), next(on), before, before[drawn])


@dataclass(frozen=True)
class _Aim:
    """What the outputs of a layer are to be: at the ends those of random rows, at other rows what they were."""

    rows: Tensor
    ends: Tensor
    others: Tensor
    before: Tensor
    random: Tensor

    def loss(self, h: Tensor, alpha: float) -> Tensor:
        ends = F.mse_loss(h[self.ends], self.random)
        if not len(self.others):
            return alpha * ends
        return alpha * ends + (1 - alpha) * F.mse_loss(h[self.others], self.before[self.others])


def add_operators(model: nn.Module, layers: Sequence[nn.Module], widths: Sequence[int], rows: int) -> None:
    """Put an operator after each of some layers of a model, in place.

    Args:
        model: The model.
        layers: Layers within it.
        widths: The numbers in a row of each layer's outputs.
        rows: The number of rows.
    """
    names = {id(module): name for name, module in model.named_modules()}
    for layer, width in zip(layers, widths, strict=True):
        parent, _, name = names[id(layer)].rpartition(".")
        operator = DeletionOperator(width, rows).to(device_of(layer))
        setattr(model.get_submodule(parent), name, Followed(layer, operator))


def _operators(model: nn.Module) -> list[DeletionOperator]:
    return [module for module in model.modules() if isinstance(module, DeletionOperator)]


def _rows(problem: Problem, hops: int) -> Indices:
    structure = problem.given.structure
    rows = None if structure is None else structure.rows(problem.forget, hops)
    if rows is None:
        raise RequestError("gnndelete needs Structure.rows")
    return rows


def _outputs(problem: Problem, task: Task, model: nn.Module, batch: Batch) -> list[Tensor]:
    """The outputs of each operator in one pass, which computes all rows."""
    outputs: list[Tensor] = []
    with ExitStack() as stack:
        for operator in _operators(model):
            hook = operator.register_forward_hook(lambda _module, _inputs, h: outputs.append(h))
            stack.callback(hook.remove)
        call_forward(task, model, batch.inputs)
    learns = torch.is_grad_enabled()
    problem.meter.count(forward=len(batch), backward=len(batch) if learns else 0)
    return outputs
