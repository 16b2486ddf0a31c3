"""AUCs of membership scores: how well they distinguish forget records from never-seen ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from efface.numerics.clusters import ALONE, MIN_DF, ClusteredMean, Clusters, repeats
from efface.numerics.neighbours import blocks, by_block, windows
from efface.runtime.printing import Brief
from efface.types import Estimate


@dataclass(frozen=True, repr=False)
class AucResult(Brief):
    """An AUC with the contribution of each record, so that two AUCs can be compared record by record.

    Where several records belong to one person, variances count persons: sums of contributions over a person's records
    vary independently, not the contributions (Obuchowski 1997).

    Args:
        ranks: For each forget record (n,), the share of its window of nonmembers that it exceeds, in [0, 1]. Their
            mean is the AUC.
        influence: First-order effect of each nonmember (m,) on the AUC; sums to 0 over all nonmembers.
        clusters: The number of the group of each forget record, (n,), and of each nonmember, (m,).
    """

    ranks: Tensor
    influence: Tensor
    clusters: Clusters = ALONE

    @property
    def value(self) -> float:
        """The AUC, from 0 to 1: 0.5 if scores of both kinds do not differ, higher if forget records score higher."""
        return float(self.ranks.mean())

    def estimate(self, level: float) -> Estimate:
        """The AUC with DeLong's interval (1988), cut to [0, 1]."""
        e = self.effect()
        return interval(self.value, e.variance, level, 0.0, 1.0, e.df)

    def effect(self) -> "Effect":
        """The AUC less 0.5, with DeLong's variance (1988), or Obuchowski's (1997) if groups have several records.

        The variance of the ranks is floored at that of uniform ones, 1/12, since a handful of records can have
        nearly equal ranks by chance.
        """
        if not repeats(self.clusters[0]):
            null, more = self.null(), max(_variance(self.ranks) - 1 / 12, 0.0) / len(self.ranks)
            return Effect(self.value - 0.5, math.sqrt(null.variance) ** 2 + more, null.df)
        mean, of_one = ClusteredMean(self.ranks, self.clusters[0]), max(_variance(self.ranks), 1 / 12)
        ranks = _few_groups(mean, of_one) or (mean.variance(of_one), mean.df)
        return Effect(self.value - 0.5, *_joined(ranks, self._of_nonmembers(self.influence)))

    def null(self) -> "Effect":
        """No effect, with the variance that it has if ranks are uniform, as for a model that never saw the records.

        How alike the records of a group are is taken from these ranks.
        """
        ranks = 1 / 12 / len(self.ranks), math.inf
        if repeats(self.clusters[0]):
            mean = ClusteredMean(self.ranks, self.clusters[0])
            ranks = _few_groups(mean, 1 / 12) or (mean.variance_if_alike(1 / 12), mean.df)
        return Effect(0.0, *_joined(ranks, self._of_nonmembers(self.influence)))

    @property
    def null_error(self) -> float:
        """Standard error of the AUC if ranks are uniform, as for a model that never saw the records."""
        return math.sqrt(self.null().variance)

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
        own, own_df = _joined(self._of_differences(ranks), self._of_nonmembers(influence))
        variance = max(own, between_models)
        df = df * (variance / between_models) ** 2 if between_models > 0 else math.inf
        if own > 0:
            df = min(df, own_df * (variance / own) ** 2)
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

    def _of_differences(self, ranks: Tensor) -> tuple[float, float]:
        """Variance of the mean of paired differences, and its degrees of freedom."""
        if not repeats(self.clusters[0]):
            return _variance(ranks) / len(ranks), math.inf
        mean = ClusteredMean(ranks, self.clusters[0])
        if len(mean.sizes) == 1:  # nothing shows how much persons differ: as two unrelated uniform ranks do
            return 1 / 6, math.inf
        return mean.variance(_variance(ranks)), mean.df

    def _of_nonmembers(self, influence: Tensor) -> tuple[float, float]:
        """The nonmembers' part of the variance, and its degrees of freedom."""
        if not repeats(self.clusters[1]):
            return float(influence.square().sum()), math.inf
        mean = ClusteredMean(influence, self.clusters[1])
        n = len(influence)
        return n**2 * mean.variance(float(influence.square().mean())), mean.df


def _few_groups(mean: ClusteredMean, of_one: float) -> tuple[float, float] | None:
    """With few groups, the largest variance that the mean of ranks can have, and its degrees of freedom; else None."""
    return (mean.largest_variance(of_one), math.inf) if mean.df < MIN_DF else None


def _joined(*parts: tuple[float, float]) -> tuple[float, float]:
    """Variance of a sum of independent parts, and its degrees of freedom (Satterthwaite 1946)."""
    variance = sum(v for v, _ in parts)
    uncertain = sum(v * v / df for v, df in parts)
    return variance, variance**2 / uncertain if uncertain > 0 else math.inf


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
    clusters: Clusters = ALONE,
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
        clusters: The number of the group of each forget record, (n,), and of each nonmember, (m,).

    Returns:
        The probability that a forget record scores higher than a nonmember of equal difficulty; ties count half.
    """
    width = width or window_width(len(nonmembers))

    def compared(part: slice) -> tuple[Tensor, Tensor]:
        """Nonmembers that some forget records are compared with, and whether each of these scores higher."""
        values = members[part].double()[:, None]
        if member_difficulty is None or nonmember_difficulty is None:
            at = torch.arange(len(nonmembers)).expand(len(values), -1)
            among = nonmembers.double()[at]
        else:
            at = windows(member_difficulty[part], nonmember_difficulty, width)
            among = levelled(
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
    return AucResult(ranks, influence, clusters)


def window_width(nonmembers: int) -> int:
    """How many of `nonmembers` a record is compared with: a tenth of them, from 10 to 50."""
    return min(50, max(10, nonmembers // 10))


def levelled(among: Tensor, at: Tensor, difficulty: Tensor) -> Tensor:
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
        many[0].clusters,
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
