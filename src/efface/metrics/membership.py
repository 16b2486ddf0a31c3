"""AUCs of membership scores: how well they distinguish forget records from never-seen ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from efface.numerics.neighbours import blocks, by_block, windows
from efface.runtime.printing import Brief
from efface.types import Estimate


@dataclass(frozen=True, repr=False)
class AucResult(Brief):
    """An AUC with the contribution of each record, so that two AUCs can be compared record by record.

    Args:
        ranks: For each forget record (n,), the share of its window of nonmembers that it exceeds, in [0, 1]. Their
            mean is the AUC.
        influence: First-order effect of each nonmember (m,) on the AUC; sums to 0 over all nonmembers.
    """

    ranks: Tensor
    influence: Tensor

    @property
    def value(self) -> float:
        """The AUC, from 0 to 1: 0.5 if scores of both kinds do not differ, higher if forget records score higher."""
        return float(self.ranks.mean())

    def estimate(self, level: float) -> Estimate:
        """The AUC with DeLong's interval (1988), cut to [0, 1]."""
        e = self.effect()
        return interval(self.value, e.variance, level, 0.0, 1.0)

    def effect(self) -> "Effect":
        """The AUC less 0.5, with DeLong's variance (1988).

        The variance of the ranks is floored at that of uniform ones, 1/12, since a handful of records can have
        nearly equal ranks by chance.
        """
        more = max(_variance(self.ranks) - 1 / 12, 0.0) / len(self.ranks)
        return Effect(self.value - 0.5, self.null_error**2 + more)

    @property
    def null_error(self) -> float:
        """Standard error of the AUC if ranks are uniform, as for a model that never saw the records."""
        return math.sqrt(1 / 12 / len(self.ranks) + float(self.influence.square().sum()))

    def less(self, other: "AucResult", between_models: float = 0.0, df: float = math.inf) -> "Effect":
        """Difference of two AUCs on the same records, paired.

        Args:
            other: The AUC to subtract.
            between_models: Variance of the difference between trainings. The variance over records already contains a
                part of it, so the larger of the two is used: their sum gives far too wide intervals, and the sum less
                that part gives too narrow ones with few models.
            df: Degrees of freedom of `between_models`, which is estimated from a few models.
        """
        ranks, influence = self.ranks - other.ranks, self.influence - other.influence
        variance = max(_variance(ranks) / len(ranks) + float(influence.square().sum()), between_models)
        df = df * (variance / between_models) ** 2 if between_models > 0 else math.inf
        return Effect(float(ranks.mean()), variance, df)

    def minus(self, other: "AucResult", level: float, between_models: float = 0.0, df: float = math.inf) -> Estimate:
        """Difference of two AUCs, paired, as an estimate.

        Args:
            other: The AUC to subtract.
            level: Coverage of the interval, in (0, 1).
            between_models: As in `less`.
            df: As in `less`.
        """
        return self.less(other, between_models, df).estimate(level)


@dataclass(frozen=True)
class Effect:
    """A difference of two AUCs, or of one from 0.5.

    Args:
        value: The difference, in [-1, 1].
        variance: Its variance.
        df: Degrees of freedom of that variance.
    """

    value: float
    variance: float
    df: float = math.inf

    def estimate(self, level: float) -> Estimate:
        """The effect with a normal or Student interval."""
        return interval(self.value, self.variance, level, -1.0, 1.0, self.df)

    def p(self, tolerance: float = 0.0) -> float:
        """Two-sided p value of the hypothesis that the effect is at most `tolerance` in size."""
        beyond = max(0.0, abs(self.value) - tolerance)
        if self.variance <= 0:
            return 1.0 if beyond == 0 else 0.0
        from scipy.stats import norm, t

        z = beyond / math.sqrt(self.variance)
        return 2 * float(norm.sf(z) if math.isinf(self.df) else t.sf(z, self.df))


def conditional_auc(
    members: Tensor,
    nonmembers: Tensor,
    member_difficulty: Tensor | None = None,
    nonmember_difficulty: Tensor | None = None,
    width: int | None = None,
) -> AucResult:
    """Compare each forget record's score with those of the nonmembers of the most similar difficulty.

    Without difficulties each is compared with all nonmembers, which is valid only if the request is a random sample.

    Args:
        members: Scores (n,) of forget records, higher = member.
        nonmembers: Scores (m,) of nonmembers.
        member_difficulty: Difficulty (n,) of the forget records.
        nonmember_difficulty: Difficulty (m,) of the nonmembers.
        width: Number of nonmembers that a record is compared with; by default a tenth of them, from 10 to 50. Wider
            windows compare the hardest records, of which there are few, with easier ones, so that perfect forgetting
            looks like over-unlearning.

    Returns:
        The probability that a forget record scores higher than a nonmember of equal difficulty; ties count half.
    """
    width = width or min(50, max(10, len(nonmembers) // 10))

    def compared(part: slice) -> tuple[Tensor, Tensor]:
        """Nonmembers that some forget records are compared with, and whether each of these scores higher."""
        values = members[part].double()[:, None]
        if member_difficulty is None or nonmember_difficulty is None:
            at = torch.arange(len(nonmembers)).expand(len(values), -1)
            among = nonmembers.double()[at]
        else:
            at = windows(member_difficulty[part], nonmember_difficulty, width)
            among = _levelled(
                nonmembers.double()[at], member_difficulty[part].double(), nonmember_difficulty.double()[at]
            )
        return at, (among < values).double() + 0.5 * (among == values).double()

    parts = list(blocks(len(members)))
    # several blocks are compared twice, since the mean must be known first and storing all of them needs much memory
    only = compared(parts[0]) if len(parts) == 1 else None
    ranks = by_block(lambda part: (only or compared(part))[1].mean(1), len(members))
    mean, influence = ranks.mean(), torch.zeros(len(nonmembers), dtype=torch.float64)
    for part in parts:
        at, wins = only or compared(part)
        influence.index_add_(0, at.reshape(-1), ((wins - mean) / (len(members) * wins.shape[1])).reshape(-1))
    return AucResult(ranks, influence)


def _levelled(among: Tensor, at: Tensor, difficulty: Tensor) -> Tensor:
    """Scores of each window (n, k) moved along a line fitted to them to the difficulty `at` (n,) of its record.

    This is bias-corrected matching (Abadie and Imbens 2011): the hardest records' windows lie on one side of them. The
    line is not followed beyond the window.
    """
    away = difficulty - difficulty.mean(1, keepdim=True)
    slope = (away * among).sum(1) / away.square().sum(1).clamp_min(1e-30)
    inside = at.clamp(difficulty.amin(1), difficulty.amax(1))
    return among + slope[:, None] * (inside[:, None] - difficulty)


def mean_auc(many: Sequence[AucResult]) -> AucResult:
    """The mean AUC of several models, record by record; all must be scored on the same records."""
    return AucResult(
        torch.stack([s.ranks for s in many]).mean(0),
        torch.stack([s.influence for s in many]).mean(0),
    )


def prediction_interval(values: Sequence[float], level: float, lowest: float, highest: float) -> Estimate:
    """Mean over models, with the interval in which one more model would lie (Student's t prediction interval).

    Args:
        values: One value a model.
        level: Coverage of the interval, in (0, 1).
        lowest: Least possible value; the interval is cut there.
        highest: Greatest possible value.

    Returns:
        The mean; its interval is NaN for a single model.
    """
    k, v = len(values), torch.tensor(values, dtype=torch.float64)
    mean = float(v.mean())
    if k < 2:
        return Estimate(mean, math.nan, math.nan, level)
    from scipy.stats import t

    half = float(t.ppf((1 + level) / 2, k - 1) * v.std() * (1 + 1 / k) ** 0.5)
    return Estimate(mean, max(lowest, mean - half), min(highest, mean + half), level)


def interval(
    value: float, variance: float, level: float, lowest: float, highest: float, df: float = math.inf
) -> Estimate:
    """A value with its interval: normal, or Student's t where `df` is finite.

    Args:
        value: The value.
        variance: Its variance.
        level: Coverage of the interval, in (0, 1).
        lowest: Least possible value; the interval is cut there.
        highest: Greatest possible value.
        df: Degrees of freedom of the variance.
    """
    from scipy.stats import norm, t

    at = (1 + level) / 2
    half = float(norm.ppf(at) if math.isinf(df) else t.ppf(at, df)) * math.sqrt(max(variance, 0.0))
    return Estimate(value, max(lowest, value - half), min(highest, value + half), level)


def _variance(values: Tensor) -> float:
    return float(values.var()) if len(values) > 1 else 0.0
