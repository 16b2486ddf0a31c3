"""Empirical epsilon: that of the NeurIPS 2023 unlearning challenge, per record, and that of canaries."""

import math

import torch
from torch import Tensor

from efface.errors import RequestError

CAP = 50.0  # the challenge's greatest epsilon
PEAKED = 0.01  # ratio of the ensembles' ranges below which epsilon is CAP without any attack
BUFFER = 2.0  # how far an interval's end may lie from the narrower ensemble's, in units of the statistic
BIN = 0.5  # width of a bin of epsilon


def unlearning_epsilon(unlearned: Tensor, retrained: Tensor, delta: float = 1e-5) -> Tensor:
    """Per record, the greatest epsilon that any attack shows between unlearned and retrained models.

    This is the score of the NeurIPS 2023 challenge (arXiv 2406.09073 and google-deepmind/unlearning_evaluation). An
    attack guesses a model's kind from one statistic and shows max(log((1 - delta - FPR) / FNR), log((1 - delta - FNR) /
    FPR)). The attacks are every threshold, with the ensemble of the greater median above it; and intervals about as
    wide as the narrower ensemble (each end within BUFFER), which is inside. With FPR = FNR = 0 epsilon is infinite and
    CAP is given. An attack with one of them 0 is dropped, since too few models give that by chance.

    Rates are in sample, so models that are alike have a positive epsilon, greatest for many attacks on few models;
    apart from CAP it cannot exceed log(models - 1). Two departures: thresholds lie at every gap of the data, not on a
    grid of 0.01; and where every attack is dropped the result is 0, where the challenge's code stops with an error.

    Args:
        unlearned: A statistic of n records, such as the log-odds of the label, by k models (k, n), at least two.
        retrained: The same by r retrained models (r, n), at least two.
        delta: The delta of (epsilon, delta)-indistinguishability.

    Returns:
        Epsilons (n,), in [0, CAP], 0 where no attack finds a difference.

    Raises:
        RequestError: There are fewer than two models of a kind.
    """
    if min(len(unlearned), len(retrained)) < 2:
        raise RequestError("an epsilon needs at least two unlearned and two retrained models")
    pairs = zip(unlearned.double().T, retrained.double().T, strict=True)
    found = [_record(u, r, delta) for u, r in pairs]
    return torch.tensor(found, dtype=torch.float64).clamp(0.0, CAP)


def forgetting_quality(epsilon: Tensor, models: int) -> float:
    """Mean over records of the challenge's points: 1 for epsilon below .5, half as much for each further bin of .5.

    As in the challenge's code, there are no points from ceil(log(models - 1)) on, where more models would be needed.
    The last bin of the challenge's report is open instead, which is 2 / 2^13 more at its 512 models.

    Args:
        epsilon: Epsilons (n,), such as `unlearning_epsilon` gives.
        models: The number of models of each kind that they are from.

    Returns:
        The mean, in [0, 1], higher = better forgotten.

    Raises:
        RequestError: There are fewer than three models.
    """
    if models < 3:
        raise RequestError(f"forgetting quality needs at least three models of each kind, not {models}")
    bins = (epsilon.double() / BIN).floor()
    points = torch.where(bins < math.ceil(math.log(models - 1)) / BIN, 0.5**bins, 0.0)
    return float(points.mean())


def canary_epsilon(right: int, guesses: int, level: float = 0.95) -> float:
    """Lower limit of epsilon from guesses which of the canaries were trained on.

    Each canary is included by a fair coin of its own, and all guesses that were made count. Of an (epsilon, 0)
    differentially private training at most Binomial(guesses, e^eps / (1 + e^eps)) guesses are right (Steinke, Nasr &
    Jagielski, arXiv 2305.08846, the theorem for delta = 0). So the limit is the log-odds of the one-sided limit of
    Clopper and Pearson for the share of right guesses.

    Args:
        right: The number of right guesses.
        guesses: The number of guesses.
        level: Confidence of the limit, in (0, 1).

    Returns:
        The limit, at least 0; 0 where the guesses show nothing.

    Raises:
        RequestError: There are more right guesses than guesses.
    """
    if not 0 <= right <= guesses:
        raise RequestError(f"there can be no {right} right guesses of {guesses}")
    from scipy.stats import binomtest

    low = (
        float(binomtest(right, guesses, alternative="greater").proportion_ci(level, method="exact").low)
        if right
        else 0.0
    )
    return math.log(low / (1 - low)) if low > 0.5 else 0.0


def _record(unlearned: Tensor, retrained: Tensor, delta: float) -> float:
    narrow, wide = sorted([unlearned, retrained], key=lambda v: float(v.max() - v.min()))
    width, widest = (float(v.max() - v.min()) for v in (narrow, wide))
    if widest == 0:
        return CAP if float(unlearned[0]) != float(retrained[0]) else 0.0
    if width / widest < PEAKED:
        return CAP
    high, low = (retrained, unlearned) if _median(retrained) > _median(unlearned) else (unlearned, retrained)
    values = torch.cat([unlearned, retrained]).unique()
    # shares below each value: a guess "high" at or above values[c] errs on above[c] of `low`
    missed, above = _below(high, values), 1 - _below(low, values)

    # inside an interval from values[i] to values[j]
    inside = [_below(v, values, right=True)[None] - _below(v, values)[:, None] for v in (narrow, wide)]
    allowed = _allowed(values, float(narrow.max()), width)
    false_rates, miss_rates = torch.cat([above, inside[1][allowed]]), torch.cat([missed, (1 - inside[0])[allowed]])
    return _greatest(false_rates, miss_rates, delta)


def _allowed(values: Tensor, top: float, width: float) -> Tensor:
    """Whether an interval within BUFFER of the narrower ensemble's holds exactly values[i] to values[j]: (m, m)."""
    nothing = torch.tensor([torch.inf], dtype=values.dtype)
    following, before = torch.cat([values[1:], nothing]), torch.cat([-nothing, values[:-1]])
    # room for the right end, which fixes the left one to within BUFFER
    lowest = torch.maximum(values.clamp_min(top - BUFFER)[None], before[:, None] + width - BUFFER)
    highest = torch.minimum(following.clamp_max(top + BUFFER)[None], values[:, None] + width + BUFFER)
    order = torch.arange(len(values))
    return (lowest < highest) & (order[:, None] <= order[None])


def _greatest(false_rates: Tensor, miss_rates: Tensor, delta: float) -> float:
    """Greatest epsilon of attacks with these rates; infinite where one errs never, 0 where none is left."""
    if bool(((false_rates <= 0) & (miss_rates <= 0)).any()):
        return math.inf
    usable = (false_rates > 0) & (miss_rates > 0)
    if not bool(usable.any()):
        return 0.0
    false, miss = false_rates[usable], miss_rates[usable]
    shown = torch.maximum((1 - delta - false) / miss, (1 - delta - miss) / false)
    return math.log(max(float(shown.max()), 1.0))


def _below(sample: Tensor, values: Tensor, right: bool = False) -> Tensor:
    """Share of a sample below each value, or with `right` not above it."""
    return torch.searchsorted(sample.sort().values, values, right=right).double() / len(sample)


def _median(values: Tensor) -> float:
    return float(values.quantile(0.5))
