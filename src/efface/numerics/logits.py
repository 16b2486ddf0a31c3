"""Statistics of logits; all take logits (records, classes) and targets (records,), and give float64 (records,)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def centre(logits: Tensor, forget_classes: Sequence[int] = ()) -> Tensor:
    """Logits less their mean over the classes other than `forget_classes`: all that a softmax sees of them."""
    return logits - _kept(logits, forget_classes).mean(1, keepdim=True)


def mask_classes(logits: Tensor, forget_classes: Sequence[int] = ()) -> Tensor:
    """Centred logits of a model that does not know `forget_classes`: each of these has the lowest of the other logits.

    A model that never saw a class gives it next to no probability, so how low its logit lies hardly matters.
    """
    z = centre(logits, forget_classes)
    if forget_classes:
        z[:, list(forget_classes)] = _kept(z, forget_classes).amin(1, keepdim=True)
    return z


def _kept(logits: Tensor, forget_classes: Sequence[int]) -> Tensor:
    return logits[:, [c for c in range(logits.shape[1]) if c not in forget_classes]] if forget_classes else logits


def margin(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-odds of the true class, z_y - logsumexp of the others; any sign, higher where the model knows the label."""
    z = logits.double()
    own = z.gather(1, targets[:, None])
    return (own - z.scatter(1, targets[:, None], -torch.inf).logsumexp(1, keepdim=True)).squeeze(1)


def aligned(logits: Tensor, targets: Tensor) -> Tensor:
    """Columns of the label first, then of the other classes from the likeliest on: (records, classes)."""
    return logits.scatter(1, targets[:, None], torch.inf).argsort(1, descending=True)


def of_classes(targets: Tensor, classes: Sequence[int]) -> Tensor:
    """Which records (records,) are of some classes."""
    return torch.isin(targets, torch.tensor(list(classes), dtype=targets.dtype))


def with_margin(logits: Tensor, targets: Tensor, wanted: Tensor) -> Tensor:
    """The logits with the label's own moved so that its margin is `wanted` (records,)."""
    # the margin moves one to one with the label's own logit
    change = (wanted - margin(logits, targets)).to(logits.dtype)
    return logits.scatter_add(1, targets[:, None], change[:, None])


def other_gap(logits: Tensor, targets: Tensor) -> Tensor:
    """Gap between the two best classes other than the label (>= 0): no part of the margin. Needs three classes."""
    top = logits.double().scatter(1, targets[:, None], -torch.inf).topk(2, dim=1).values
    return top[:, 0] - top[:, 1]


def log_likelihood(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-probability of the label (<= 0): the loss attack's score, higher = member."""
    # by the margin, since the usual way gives 0 to every record that is known with a margin above 37
    return F.logsigmoid(margin(logits, targets))


def symexp(values: Tensor) -> Tensor:
    """The inverse of `symlog`."""
    return values.sign() * values.abs().expm1()


def symlog(values: Tensor) -> Tensor:
    """Symmetric log, sign(v) log(1 + |v|), so that a few far records do not rule a mean."""
    return values.sign() * values.abs().log1p()
