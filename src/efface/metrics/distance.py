"""Distance of models to retrained models, record by record."""

from torch import Tensor

NO_SPREAD = 1e-24  # a variance that is rounding alone, as a share of the mean square: logits are float32


def excess_d2(ours: Tensor, retrained: Tensor) -> float:
    """Unbiased squared distance between two ensembles' mean statistics, in units of the spread between trainings.

    ours (k, n) and retrained (r, n) hold one statistic of each of n records; r >= 2. The mean over records of
    (mean_ours - mean_retrained)^2 - s^2 (1/k + 1/r), over the mean of s^2, the variance within a record pooled over
    both ensembles. 0 in expectation for models trained alike, whatever their number; can be negative by chance. NaN
    where the models of an ensemble do not differ, so that there is no unit.
    """
    k, r = len(ours), len(retrained)
    squares = ((retrained - retrained.mean(0)) ** 2).sum(0) + ((ours - ours.mean(0)) ** 2).sum(0)
    spread = squares / (k + r - 2)
    if float(spread.mean()) <= NO_SPREAD * float(retrained.square().mean()):
        return float("nan")
    gap = (ours.mean(0) - retrained.mean(0)) ** 2 - spread * (1 / k + 1 / r)
    return float(gap.mean() / spread.mean())
