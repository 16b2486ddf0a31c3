"""U-LiRA (Hayes et al., arXiv 2403.01218): was a model unlearned or retrained, by its statistic of one record?"""

from dataclasses import dataclass

import torch
from torch import Tensor

from efface.errors import RequestError

MIN_ULIRA_MODELS = 3  # models of a kind: a variance needs two beside the one that is left out
WEIGHT = 8.0  # degrees of freedom that the shrunk variance's centre counts for


@dataclass(frozen=True)
class ULira:
    """How well the attack guesses whether a model was unlearned or retrained; 0.5 = no better than chance.

    The guess is made from the log-likelihood ratio of a model's statistic of one record, "unlearned" where it is
    above 0. Both numbers are means over pairs of left-out models, in [0, 1].

    Args:
        accuracy: Share of right guesses, both kinds of models counting alike.
        auc: Chance that an unlearned model's ratio of a record exceeds a retrained model's ratio of any record.
    """

    accuracy: float
    auc: float


def ulira(unlearned: Tensor, retrained: Tensor, shrink: bool = True) -> ULira:
    """Attack ensembles record by record with a likelihood ratio of two Gaussians.

    The paper fits a Gaussian per record to either ensemble and tests on models of neither. Here every pair of an
    unlearned and a retrained model is left out in turn and both are tested, so that models serve for both. Leaving out
    one model alone would find a difference between ensembles that are alike (accuracy 0.492 at 8 + 8), since the mean
    of its own kind is then one of fewer models. With pairs, accuracy and AUC of ensembles that are alike are 0.5 in
    expectation, for any numbers of models and any distribution.

    Shrunk variances are no part of the paper. By simulation both kinds are unbiased, and shrunk ones find more: 0.601
    to the paper's 0.588 for a shift of 0.7 standard deviations at 8 + 8, 0.680 to 0.669 for ensembles of 0.4 times the
    spread, and less (0.558 to 0.590) only where each record's spread changes in its own way. At 32 + 32 they differ
    by 0.01 or less.

    Args:
        unlearned: A statistic of n records by k models (k, n), at least MIN_ULIRA_MODELS.
        retrained: The same by r models (r, n), at least MIN_ULIRA_MODELS.
        shrink: Whether a record's variance is drawn, with the weight of WEIGHT models, to its variance over both
            ensembles times the ensemble's level over all records; otherwise it is the ensemble's own by maximum
            likelihood, as in the paper.

    Raises:
        RequestError: There are fewer than MIN_ULIRA_MODELS models of a kind.
    """
    k, r = len(unlearned), len(retrained)
    if min(k, r) < MIN_ULIRA_MODELS:
        raise RequestError(
            f"U-LiRA needs at least {MIN_ULIRA_MODELS} unlearned and as many retrained models, not {k} and {r}"
        )
    # a record's own centre, so that sums of squares do not cancel
    centre = torch.cat([unlearned, retrained]).double().mean(0)
    first, second = unlearned.double() - centre, retrained.double() - centre
    tiny = 1e-12 * float(torch.cat([first, second]).square().mean()) + torch.finfo(torch.float64).tiny
    (means_u, squares_u), (means_r, squares_r) = _leave_one_out(first), _leave_one_out(second)
    right, above = 0.0, 0.0
    for i in range(k):  # one at a time: a table of k x r x n may not fit
        squares = squares_u[i].expand_as(squares_r), squares_r
        variances = _shrunk(*squares, k - 1, r - 1) if shrink else (squares[0] / (k - 1), squares[1] / (r - 1))
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


def _shrunk(a: Tensor, b: Tensor, m: int, o: int) -> tuple[Tensor, Tensor]:
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
