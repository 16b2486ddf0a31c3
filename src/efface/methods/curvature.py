"""Gradients and curvature of the working copy's loss as flat vectors, and a solver of linear equations with them."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from efface.data.records import Batch
from efface.errors import RequestError
from efface.methods.base import Problem
from efface.models.running import device_of, mode
from efface.types import Indices

BATCH = 128  # records in one pass, which needs more memory here than an evaluation does
TOLERANCE = 1e-5  # share of the right-hand side that conjugate gradients may leave


def batch_size(problem: Problem, positions: Indices) -> int:
    """Records in one pass: all where they are parts of a structure, of which every pass computes the whole."""
    return BATCH if problem.task.structure is None else max(1, len(positions))


def batches(problem: Problem, positions: Indices, size: int | None = None) -> Iterator[Batch]:
    """Training records at `positions` on the model's device, in order, in batches of at most `size`."""
    device, size = device_of(problem.model), size or batch_size(problem, positions)
    return (b.to(device) for b in problem.train.stream(positions, size))


def flat(parts: Sequence[Tensor]) -> Tensor:
    """Concatenate tensors to one vector, in float32, or in float64 if one of them is."""
    return torch.cat([p.reshape(-1).to(torch.promote_types(p.dtype, torch.float32)) for p in parts])


def split(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Divide a flat vector into one flat part for each of the tensors `like`."""
    return list(vector.split([t.numel() for t in like]))


def gradient(problem: Problem, batch: Batch) -> Tensor:
    """Gradient of the summed loss of a batch with respect to the trainable weights, as a flat vector."""
    loss = problem.task.rules.losses(problem.logits(batch)[0], batch.targets).sum()
    return flat(torch.autograd.grad(loss, problem.trainable(), materialize_grads=True))


def mean_square(problem: Problem, positions: Indices, group: int = 1) -> Tensor:
    """Mean over groups of records of the squared gradient of their mean loss, in eval mode.

    Args:
        problem: The problem.
        positions: Training positions of the records.
        group: Number of records in a group.

    Returns:
        One number, 0 or more, for each trainable weight, as a flat vector.
    """
    total, groups = None, 0
    with mode(problem.model, training=False), torch.enable_grad():
        for batch in batches(problem, positions, group):
            square = (gradient(problem, batch) / len(batch)).square_()
            total = square if total is None else total.add_(square)
            groups += 1
    assert total is not None, "there is always a record"
    return total.div_(groups)


def curvature_product(problem: Problem, batch: Batch, vector: Tensor) -> Tensor:
    """Multiply the Gauss-Newton matrix of the summed loss of a batch by a flat vector.

    Args:
        problem: The problem.
        batch: The records.
        vector: One number for each trainable weight.

    Raises:
        RequestError: A layer cannot be differentiated twice.
    """
    weights = problem.trainable()
    with sdpa_kernel(SDPBackend.MATH):  # the only attention that can be differentiated twice
        z = problem.logits(batch)[0]
        # J v, as the derivative of J' u by u
        dual = torch.zeros_like(z, requires_grad=True)
        try:
            pulled = flat(torch.autograd.grad(z, weights, dual, create_graph=True, materialize_grads=True))
            (pushed,) = torch.autograd.grad(pulled @ vector, dual, retain_graph=True)
        except RuntimeError as error:
            if "derivative" not in str(error) and "differentiate" not in str(error):
                raise
            raise RequestError(
                f"influence differentiates the model twice, and a layer of it does not allow that ({error}): "
                "use woodfisher"
            ) from error
        bent = problem.task.rules.bend(z.detach(), batch.targets, pushed)
        problem.meter.count(backward=2 * len(batch))
        return flat(torch.autograd.grad(z, weights, bent, materialize_grads=True))


def conjugate_gradients(product: Callable[[Tensor], Tensor], wanted: Tensor, iterations: int) -> Tensor:
    """Solve `product(x) = wanted` approximately by conjugate gradients.

    Args:
        product: Multiplies a vector by a positive definite matrix.
        wanted: The right-hand side, flat.
        iterations: Largest number of products.

    Returns:
        The solution x, flat.
    """
    x, rest = torch.zeros_like(wanted), wanted.clone()
    direction, square = rest.clone(), rest @ rest
    small = square * TOLERANCE**2
    for _ in range(iterations):
        if square <= small:
            break
        image = product(direction)
        bend = direction @ image
        if bend <= 0:  # rounding, as in bfloat16
            break
        step = square / bend
        x += step * direction
        rest -= step * image
        before, square = square, rest @ rest
        direction = rest + square / before * direction
    return x
