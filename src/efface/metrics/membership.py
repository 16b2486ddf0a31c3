"""How well a membership score tells forget records from records that the model never saw."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.stats import norm
from scipy.stats import t as student
from torch import Tensor

from efface.numerics.neighbours import windows
from efface.types import Estimate


@dataclass(frozen=True)
class Separation:
    """An AUC together with what each record contributes, so that two of them can be compared record by record.

    ranks (n,): share of its window of strangers that each forget record exceeds, in [0, 1]; their mean is the AUC.
    influence (m,): first-order effect of each stranger on the AUC; sums to 0 over all strangers.
    """

    ranks: Tensor
    influence: Tensor

    @property
    def value(self) -> float:
        """The AUC: 0.5 where nothing tells the two kinds apart, higher where forget records score higher."""
        return float(self.ranks.mean())

    def estimate(self, level: float) -> Estimate:
        """The AUC with DeLong's interval (1988), cut to [0, 1].

        The variance of the ranks is floored at that of uniform ones, 1/12, since a handful of records can have
        nearly equal ranks by chance.
        """
        ours = max(_variance(self.ranks), 1 / 12) / len(self.ranks)
        return interval(self.value, ours + float(self.influence.square().sum()), level, 0.0, 1.0)

    def minus(
        self, other: "Separation", level: float, between_models: float = 0.0, freedom: float = math.inf
    ) -> Estimate:
        """Difference of two AUCs on the same records, with a paired interval.

        `between_models` is the variance that a fresh training of either model would add to the difference, and
        `freedom` the degrees of freedom of that variance, which is known from a few models only; the whole interval's
        follow by Welch and Satterthwaite.
        """
        ranks, influence = self.ranks - other.ranks, self.influence - other.influence
        variance = _variance(ranks) / len(ranks) + float(influence.square().sum()) + between_models
        freedom = freedom * (variance / between_models) ** 2 if between_models > 0 else math.inf
        return interval(float(ranks.mean()), variance, level, -1.0, 1.0, freedom)


def separate(
    members: Tensor,
    strangers: Tensor,
    member_difficulty: Tensor | None = None,
    stranger_difficulty: Tensor | None = None,
    width: int | None = None,
) -> Separation:
    """Compare each forget record's score with those of the `width` strangers of the most similar difficulty.

    The chance that a forget record scores higher than a stranger of equal difficulty, ties counting half. Without
    difficulties every stranger is compared with, and 0.5 is right only where the request is a random sample. By
    default a window holds a tenth of the strangers, and 10 to 50: wider ones compare the hardest records, which are
    few, with easier ones, and so call perfect forgetting too much.
    """
    if member_difficulty is None or stranger_difficulty is None:
        at = torch.arange(len(strangers)).expand(len(members), -1)
    else:
        width = width or min(50, max(10, len(strangers) // 10))
        at = windows(member_difficulty, stranger_difficulty, width)
    values, among = members.double()[:, None], strangers.double()[at]
    wins = (among < values).double() + 0.5 * (among == values).double()
    ranks = wins.mean(1)
    influence = torch.zeros(len(strangers), dtype=torch.float64)
    influence.index_add_(0, at.reshape(-1), ((wins - ranks.mean()) / wins.numel()).reshape(-1))
    return Separation(ranks, influence)


def mean_separation(many: Sequence[Separation]) -> Separation:
    """The record-wise mean over models that were scored on the same records."""
    return Separation(
        torch.stack([s.ranks for s in many]).mean(0),
        torch.stack([s.influence for s in many]).mean(0),
    )


def interval(
    value: float, variance: float, level: float, lowest: float, highest: float, freedom: float = math.inf
) -> Estimate:
    """An interval of coverage `level`, cut to [lowest, highest]: normal, or Student's t with so much `freedom`."""
    at = (1 + level) / 2
    half = float(norm.ppf(at) if math.isinf(freedom) else student.ppf(at, freedom)) * math.sqrt(max(variance, 0.0))
    return Estimate(value, max(lowest, value - half), min(highest, value + half), level)


def _variance(values: Tensor) -> float:
    return float(values.var()) if len(values) > 1 else 0.0
