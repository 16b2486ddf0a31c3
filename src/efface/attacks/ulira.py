"""U-LiRA (Hayes et al., arXiv 2403.01218): was a model unlearned or retrained, by its statistic of one record?"""

from dataclasses import dataclass

import torch
from torch import Tensor

from efface.errors import RequestError

MIN_MODELS = 3  # models of a kind: two are left for a variance when one is left out
WEIGHT = 8.0  # degrees of freedom that the shrunk variance's centre counts for


@dataclass(frozen=True)
class ULira:
    """What the attack found; 0.5 = unlearned and retrained models cannot be distinguished.

    A guess goes by the log-likelihood ratio of a model's statistic of a record, > 0 where it looks unlearned. accuracy:
    share of right guesses at threshold 0, both kinds counting alike. auc: chance that an unlearned model's ratio of a
    record exceeds a retrained model's of any record. Both are means over pairs of left-out models.
    """

    accuracy: float
    auc: float


def ulira(unlearned: Tensor, retrained: Tensor) -> ULira:
    """Per-record likelihood-ratio attack on unlearned (k, n) against retrained (r, n) models' statistics.

    The paper fits a Gaussian per record to either ensemble and tests on models of neither. Here every
    pair of an unlearned and a retrained model is left out in turn and both are tested, so that training models are
    test models too. To leave out one model alone would call models that are alike different (accuracy 0.492 at 8 + 8:
    its own kind's mean is of fewer models, so less near); with pairs the two swap roles, and the mean accuracy and AUC
    of ensembles that are alike are 0.5 exactly, for any counts and shape of distribution.

    Another departure: the paper's variance is each ensemble's own, by maximum likelihood; here it is drawn (with the
    weight of WEIGHT models) to the record's variance over both ensembles times the ensemble's level over all records.
    By simulation both are unbiased, and this one sees more: 0.601 to the paper's 0.588 for a shift of 0.7 standard
    deviations at 8 + 8, 0.680 to 0.669 for ensembles of 0.4 times the spread, and less (0.558 to 0.590) only where each
    record's spread changes in its own way; at 32 + 32 they differ by 0.01 or less.
    """
    k, r = len(unlearned), len(retrained)
    if min(k, r) < MIN_MODELS:
        raise RequestError(
            f"U-LiRA needs at least {MIN_MODELS} unlearned and {MIN_MODELS} retrained models, not {k} and {r}"
        )
    # a record's own centre, so that sums of squares do not cancel
    centre = torch.cat([unlearned, retrained]).double().mean(0)
    first, second = unlearned.double() - centre, retrained.double() - centre
    tiny = 1e-12 * float(torch.cat([first, second]).square().mean()) + torch.finfo(torch.float64).tiny
    (means_u, squares_u), (means_r, squares_r) = _leave_one_out(first), _leave_one_out(second)
    right, above = 0.0, 0.0
    for i in range(k):  # one at a time: a table of k x r x n may not fit
        variances = _variances(squares_u[i].expand_as(squares_r), k - 1, squares_r, r - 1)
        fit = (means_u[i], variances[0].clamp_min(tiny), means_r, variances[1].clamp_min(tiny))
        one, other = _ratio(first[i], *fit), _ratio(second, *fit)
        right += float((_step(one) + 1 - _step(other)).mean()) / 2 / k
        ordered = other.sort(1).values
        below = torch.searchsorted(ordered, one) + torch.searchsorted(ordered, one, right=True)
        above += float(below.double().mean()) / 2 / len(centre) / k
    return ULira(right, above)


def _leave_one_out(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and sum of squares about it of the other models, for each model of values (m, n): both (m, n)."""
    m, mean = len(values), values.mean(0)
    off = values - mean
    return mean - off / (m - 1), ((off**2).sum(0) - off**2 * m / (m - 1)).clamp_min(0.0)


def _variances(a: Tensor, m: int, b: Tensor, o: int) -> tuple[Tensor, Tensor]:
    """Shrunk variances of two ensembles of m and o models from their sums of squares (..., n)."""
    df = m + o - 2
    both = (a + b) / df
    level = both.mean(-1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)

    def shrunk(squares: Tensor, models: int) -> Tensor:
        side = (squares / (models - 1)).mean(-1, keepdim=True) / level
        return (WEIGHT * both * side + squares) / (WEIGHT + models - 1)

    return shrunk(a, m), shrunk(b, o)


def _ratio(x: Tensor, mean_a: Tensor, var_a: Tensor, mean_b: Tensor, var_b: Tensor) -> Tensor:
    """log N(x; a) - log N(x; b)."""
    return ((x - mean_b) ** 2 / var_b + var_b.log() - (x - mean_a) ** 2 / var_a - var_a.log()) / 2


def _step(values: Tensor) -> Tensor:
    return (values > 0).double() + (values == 0).double() / 2
