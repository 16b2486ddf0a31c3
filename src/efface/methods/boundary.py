"""boundary: move the boundary of the forget records' class, by their nearest other class or by a class of their own."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efface.data.nesting import map_tensors, tensors_in
from efface.data.records import Batch
from efface.errors import RequestError
from efface.methods.base import Problem, Step
from efface.methods.descent import Descent, Source
from efface.models.running import device_of, forward, mode
from efface.runtime.options import option
from efface.runtime.seeds import derive_seed


@dataclass(frozen=True)
class Boundary(Descent):
    """w <- w - lr grad CE(forget records, as of another class than their own), and nothing on the retain set.

    Shrink, the default, takes the nearest other class: with x' = x + epsilon sign(grad_x CE(x, y)), a step of FGSM on
    the original, it is argmax over c != y of the original's logit of c at x'. Expand takes a class that does not exist:
    a row appended to the last linear layer learns with the model, and is dropped at the end.

    Chen et al. (CVPR 2023, arXiv 2303.11570), for one whole class of CIFAR-10: epsilon 0.1 for pixels in [0, 1] and 10
    epochs of SGD at 1e-5 with momentum 0.9, which does little to a few records. We depart from the public code where
    the step does not cross the boundary, which leaves a record its own label there; do not clip x', since records need
    not be images; and give no record a class that is wholly forgotten. Where no input is a float (words, ids), there is
    no gradient to step along, and x' = x.
    """

    key = "boundary"
    summary = "train forget records on their nearest other class, or on a shadow class"
    source = "Chen et al., arXiv 2303.11570"
    needs_classes = True

    lr: float = option(1e-5, "learning rate of SGD", 1e-8, 10.0)
    epsilon: float = option(0.1, "size of the step on the inputs that finds the nearest other class", 0.0, 1e6)
    expand: bool = option(False, "train on a shadow class instead, which is dropped at the end")

    def run(self, problem: Problem) -> Iterator[Step]:
        if self.expand:
            return self._expand(problem)

        def loss(forget: Batch) -> Tensor:
            return F.cross_entropy(problem.logits(forget)[0], nearest_other(problem, forget, self.epsilon))

        return self.sgd(problem, loss, [Source("forget", problem.forget)])

    def _expand(self, problem: Problem) -> Iterator[Step]:
        head = head_of(problem)
        # drawn on the CPU, so that a seed gives the same row on every device
        generator = torch.Generator().manual_seed(derive_seed(problem.seed, "boundary", "shadow"))
        spread = math.sqrt(2 / (head.in_features + head.out_features + 1))
        drawn = spread * torch.randn(1, head.in_features, generator=generator, dtype=torch.float32)
        row = drawn.to(device_of(head)).requires_grad_()
        bias = torch.zeros_like(row[0, :1]).requires_grad_()
        optimiser = self.make_optimiser(problem)
        optimiser.add_param_group({"params": [row, bias]})

        def loss(forget: Batch) -> Tensor:
            with reading(head) as features:
                z = problem.logits(forget)[0]
            wide = torch.cat([z, F.linear(features[-1].float(), row, bias)], 1)
            return F.cross_entropy(wide, torch.full_like(problem.labels(forget), z.shape[1]))

        return self.sgd(problem, loss, [Source("forget", problem.forget)], optimiser=optimiser)


def nearest_other(problem: Problem, batch: Batch, epsilon: float) -> Tensor:
    """Find the nearest other class of each record, by the original's logits after an FGSM step against its label.

    Args:
        problem: The problem.
        batch: The records.
        epsilon: Size of the step on the inputs.

    Returns:
        Classes, (records,), never the label and never a class that is wholly forgotten, unless no other is left.
    """
    original, task, labels = problem.original, problem.task, problem.labels(batch)
    with mode(original, training=False):
        with torch.enable_grad():
            start = map_tensors(
                batch.inputs, lambda t: t.detach().clone().requires_grad_() if t.is_floating_point() else t
            )
            movable = [t for t in tensors_in(start) if t.is_floating_point()]
            loss = F.cross_entropy(forward(task, original, Batch(start, batch.targets)), labels, reduction="sum")
            # not backward(), which would set gradients of the original's weights
            follows = bool(movable) and loss.requires_grad
            slopes = torch.autograd.grad(loss, movable, allow_unused=True) if follows else ()
        steps = {id(t): epsilon * g.sign() for t, g in zip(movable, slopes, strict=follows) if g is not None}
        with torch.no_grad():
            moved = map_tensors(start, lambda t: t + steps[id(t)] if id(t) in steps else t)
            z = forward(task, original, Batch(moved, batch.targets))
    problem.meter.count(forward=2 * len(batch), backward=len(batch) if follows else 0)
    if problem.forget_classes:
        z[:, list(problem.forget_classes)] = torch.finfo(
            z.dtype
        ).min  # finite, so that a record's own class stays the last
    return z.scatter(1, labels[:, None], -torch.inf).argmax(1)


@contextmanager
def reading(*layers: nn.Module) -> Iterator[list[Any]]:
    """Record the inputs of layers within the block, in a list with one entry for each call."""
    found: list[Any] = []

    def keep(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.append(args[0] if args else kwargs["input"])

    hooks = [layer.register_forward_pre_hook(keep, with_kwargs=True) for layer in layers]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def head_of(problem: Problem) -> nn.Linear:
    """The linear layer of the working copy whose outputs are the logits; RequestError if there is none."""
    model = problem.model
    outputs: list[tuple[nn.Linear, Tensor]] = []

    def keep(layer: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        assert isinstance(layer, nn.Linear)
        outputs.append((layer, output))

    hooks = [m.register_forward_hook(keep) for m in model.modules() if isinstance(m, nn.Linear)]
    try:
        with mode(model, training=False), torch.no_grad():
            z = forward(problem.task, model, problem.train.read(problem.forget[:1]).to(device_of(model)))
    finally:
        for hook in hooks:
            hook.remove()
    problem.meter.count(forward=1)
    for layer, output in reversed(outputs):
        if output.shape == z.shape and torch.equal(output, z):
            return layer
    raise RequestError("boundary cannot append a class: no linear layer of the model gives its logits: expand=false")
