"""Statistics of logits; all take logits (records, classes) and targets (records,), and give float64 (records,)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def centre(logits: Tensor) -> Tensor:
    """Logits less their mean over classes: what a softmax sees, without its free constant."""
    return logits - logits.mean(1, keepdim=True)


def margin(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-odds of the true class, z_y - logsumexp of the others; any sign, higher where the model knows the label."""
    z = logits.double()
    own = z.gather(1, targets[:, None])
    return (own - z.scatter(1, targets[:, None], -torch.inf).logsumexp(1, keepdim=True)).squeeze(1)


def other_gap(logits: Tensor, targets: Tensor) -> Tensor:
    """Gap between the two best classes other than the label (>= 0): no part of the margin. Needs three classes."""
    top = logits.double().scatter(1, targets[:, None], -torch.inf).topk(2, dim=1).values
    return top[:, 0] - top[:, 1]


def log_likelihood(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-probability of the label (<= 0): the loss attack's score, higher = member."""
    # by the margin, since the usual way gives 0 to every record that is known with a margin above 37
    return F.logsigmoid(margin(logits, targets))


def squash(values: Tensor) -> Tensor:
    """Symmetric log, sign(v) log(1 + |v|), so that a few far records do not rule a mean."""
    return values.sign() * values.abs().log1p()
