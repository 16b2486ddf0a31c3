"""Empirical epsilon: of the NeurIPS 2023 unlearning challenge, per record, and of canaries, for one training run."""

import math

import torch
from torch import Tensor

from efface.errors import RequestError

CAP = 50.0  # the challenge's greatest epsilon
PEAKED = 0.01  # ratio of the ensembles' ranges below which it does not look further, and gives CAP
BUFFER = 2.0  # how far the ends of an interval may lie from the narrower ensemble's, in units of the statistic
BIN = 0.5


def unlearning_epsilon(unlearned: Tensor, retrained: Tensor, delta: float = 1e-5) -> Tensor:
    """Per record, the greatest epsilon that any attack shows between unlearned (k, n) and retrained (r, n) models.

    (n,), in [0, CAP], 0 where no attack tells the two kinds apart. Of the NeurIPS 2023 challenge (arXiv 2406.09073, and
    its code, google-deepmind/unlearning_evaluation): an attack guesses a model's kind from one statistic, the log-odds
    of the label, and shows max(log((1 - delta - FPR) / FNR), log((1 - delta - FNR) / FPR)). Attacks: every threshold,
    with the ensemble of the greater median above it; and intervals about as wide as the narrower ensemble (each end
    within BUFFER), which is inside. With FPR = FNR = 0 epsilon is infinite (CAP); an attack with one of them 0 is
    dropped, since that is what too few models look like. So is one with no models left to judge by, where the
    challenge's code stops with an error and 0 is given here.

    Rates are in sample, so models that are alike have a positive epsilon, greatest for many attacks on few models;
    but for CAP it cannot exceed log(models - 1). One departure: thresholds at every gap of the data, not on a grid of
    0.01.
    """
    if min(len(unlearned), len(retrained)) < 2:
        raise RequestError("an epsilon needs at least two unlearned and two retrained models")
    pairs = zip(unlearned.double().T, retrained.double().T, strict=True)
    found = [_record(u, r, delta) for u, r in pairs]
    return torch.tensor(found, dtype=torch.float64).clamp(0.0, CAP)


def forgetting_quality(epsilon: Tensor, models: int) -> float:
    """Mean over records of the challenge's points: 1 for epsilon below .5, half as much for each further bin of .5.

    epsilon (n,), from `models` of each kind; in [0, 1], 1 where no record can be told apart. 2 / 2^b in the b-th bin,
    counted from 1. As in the challenge's code, no points from ceil(log(models - 1)) on: what more models would be
    needed for. The report's last bin is open instead, which is 2 / 2^13 more at its 512 models.
    """
    if models < 3:
        raise RequestError(f"forgetting quality needs at least three models of each kind, not {models}")
    bins = (epsilon.double() / BIN).floor()
    points = torch.where(bins < math.ceil(math.log(models - 1)) / BIN, 0.5**bins, 0.0)
    return float(points.mean())


def canary_epsilon(right: int, guesses: int, level: float = 0.95) -> float:
    """Lower limit of epsilon, at confidence `level`, from guesses which of the canaries were trained on.

    >= 0, 0 where the guesses show nothing. Each canary is included by a fair coin of its own, and all of the `guesses`
    that were made count, `right` of them right. Of an (epsilon, 0) differentially private training at most
    Binomial(guesses, e^eps / (1 + e^eps)) are right (Steinke, Nasr & Jagielski, arXiv 2305.08846, the theorem
    for delta = 0): log-odds of the one-sided Clopper-Pearson limit of that share.
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
