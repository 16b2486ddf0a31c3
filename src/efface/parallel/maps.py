"""Three linear maps between processes, each the derivative of another, so that derivatives of any order are right.

Every process runs the same program on the same records, and works out some rows of a batch:

    own_rows   of a batch, which this process computes
    all_rows   of what a network says of them, in every process again
    mean       over processes, of the gradient of a parameter

A loss is then computed whole in every process. Its gradient by the rows of one process is that process's part of it;
times the number of processes, which `all_rows` sees to, their mean is the gradient. The mean of equal gradients is the
same gradient, so that whatever is not divided (a penalty on weights, another network's pass) stays right beside it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Share:
    """The rows of a batch that are this process's: as even as can be, the first processes having one more."""

    rows: int
    rank: int
    world: int

    @property
    def sizes(self) -> list[int]:
        """Rows of each process."""
        least, more = divmod(self.rows, self.world)
        return [least + (rank < more) for rank in range(self.world)]

    @property
    def own(self) -> slice:
        """This process's rows."""
        first = sum(self.sizes[: self.rank])
        return slice(first, first + self.sizes[self.rank])


def own_rows(tensor: Tensor, share: Share) -> Tensor:
    """This process's rows of a tensor that every process holds whole."""
    return _Own.apply(tensor, share)  # type: ignore[no-any-return, no-untyped-call]


def all_rows(tensor: Tensor, share: Share) -> Tensor:
    """The rows of all processes, in every process, of a tensor of which each holds its own."""
    return _All.apply(tensor, share)  # type: ignore[no-any-return, no-untyped-call]


def mean(tensor: Tensor) -> Tensor:
    """The mean over processes, in every process."""
    return _Mean.apply(tensor)  # type: ignore[no-any-return, no-untyped-call]


class _Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, whole: Tensor, share: Share) -> Tensor:
        ctx.share = share
        return whole[share.own].clone()  # a network may change its inputs in place

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        # the slopes are times the number of processes already, which `all_rows` above them made them
        return all_rows(slopes[0], ctx.share) / ctx.share.world, None


class _All(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, share: Share) -> Tensor:
        from accelerate.utils import gather  # type: ignore[import-untyped]

        ctx.share = share
        most = share.sizes[0]
        # processes can only exchange what is of one shape
        padded = own if len(own) == most else torch.cat([own, own.new_zeros(most - len(own), *own.shape[1:])])
        parts = gather(padded.contiguous()).split(most)
        return torch.cat([part[:size] for part, size in zip(parts, share.sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        return own_rows(slopes[0], ctx.share) * ctx.share.world, None


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        from accelerate.utils import reduce

        dense = value.to_dense() if value.is_sparse else value
        return reduce(dense.contiguous(), "mean")  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        return mean(slopes[0])
