"""How far steps may go: learning rates relative to the weights, from the way that there is to go."""

import math
from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from efface.errors import DivergedError

SMALLEST = 1e-2  # of the size of all weights: what a tensor's own size counts at the least

AT_ONCE = 2**20  # values that are held in double precision


def sizes(parameters: Sequence[nn.Parameter]) -> list[float]:
    """The root mean square of each parameter, and not less than a hundredth of that of all.

    Weights in front of a normalisation have no scale of their own, so only a step relative to them has one.
    """
    squares = [sum(float(part.square().sum()) for part in _in_double(p.detach())) for p in parameters]
    counts = [p.numel() for p in parameters]
    overall = (sum(squares) / max(1, sum(counts))) ** 0.5
    return [max((s / max(1, n)) ** 0.5, SMALLEST * overall, 1e-12) for s, n in zip(squares, counts, strict=True)]


def _in_double(tensor: Tensor) -> Iterator[Tensor]:
    """The values of a tensor in double precision, some at a time, since a large one would take twice its memory."""
    return (part.double() for part in tensor.flatten().split(AT_ONCE))


def way_to_go(error: Tensor, parameters: Sequence[nn.Parameter], scales: Sequence[float]) -> float:
    """The step, relative to the weights, that would take an error to nothing if it went on falling as it begins to.

    The step moves every weight against the sign of its gradient, by the same share of its tensor's size.

    Args:
        error: A scalar with gradients.
        parameters: What may move.
        scales: The size of each, as `sizes` gives it.

    Returns:
        A share of the weights' size, 0 where nothing falls.

    Raises:
        DivergedError: The error or its gradients are NaN or infinite.
    """
    for parameter in parameters:
        parameter.grad = None
    error.backward()  # and not autograd.grad, which several processes could not share
    pairs = [(p.grad, size) for p, size in zip(parameters, scales, strict=True)]
    slope = sum(
        sum(float(part.abs().sum()) for part in _in_double(grad)) * size for grad, size in pairs if grad is not None
    )
    value = float(error.detach())
    if not (math.isfinite(value) and math.isfinite(slope)):
        raise DivergedError("logits or gradients of the forget records are NaN or infinite: nothing was changed")
    return value / slope if slope > 0 else 0.0


class Balance:
    """The weight of holding other records: it rises while they have moved farther than they may, and falls otherwise.

    Args:
        start: The weight at the beginning.
        limits: The least and the greatest weight.
        budget: The error on other records that is allowed.
    """

    GAIN = 0.15  # power of the ratio of error to budget by which a step changes the weight
    MOST = 4.0  # the ratio is bounded by this and its inverse
    SMOOTH = 0.7  # share of the running mean of errors that a step keeps

    def __init__(self, start: float, limits: tuple[float, float], budget: float) -> None:
        self.weight, self._limits, self._budget = start, limits, budget
        self._error: float | None = None

    def update(self, error: float) -> None:
        """Take the error on other records of one step."""
        self._error = error if self._error is None else self.SMOOTH * self._error + (1 - self.SMOOTH) * error
        ratio = min(self.MOST, max(1 / self.MOST, self._error / max(self._budget, 1e-12)))
        self.weight = min(self._limits[1], max(self._limits[0], self.weight * ratio**self.GAIN))
