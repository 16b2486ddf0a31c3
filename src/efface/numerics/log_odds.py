"""Log-odds from log-probabilities."""

import torch
from torch import Tensor

SUREST = -1e-300  # of a log-probability, so that the odds stay finite


def log_odds(log_probability: Tensor) -> Tensor:
    """log p - log(1 - p) for each log p <= 0, float64; at most about 690."""
    log_p = log_probability.double().clamp_max(SUREST)
    # either form is exact on its own side of p = 1/2
    likely = log_p - torch.log(-torch.expm1(log_p))
    unlikely = log_p - torch.log1p(-log_p.exp())
    return torch.where(log_p > -0.6931471805599453, likely, unlikely)
