"""Log-odds from log-probabilities."""

import math

import torch
from torch import Tensor

SUREST = -1e-300  # of a log-probability, so that the odds stay finite
HALF = -math.log(2)


def log_odds(log_probability: Tensor) -> Tensor:
    """log p - log(1 - p) for each log p <= 0, float64; at most about 690."""
    log_p = log_probability.double().clamp_max(SUREST)
    # either form is exact, and has a gradient, on its own side of p = 1/2
    is_likely = log_p > HALF
    likely, unlikely = log_p.where(is_likely, HALF), log_p.where(~is_likely, HALF)
    return log_p - torch.where(is_likely, torch.log(-torch.expm1(likely)), torch.log1p(-unlikely.exp()))
