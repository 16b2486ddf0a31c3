"""Statistics of logits. Unless stated otherwise, logits are (records, classes) and targets (records,), int64."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def centre(logits: Tensor, forget_classes: Sequence[int] = ()) -> Tensor:
    """Subtract from logits their mean over the classes, `forget_classes` left out; a softmax does not change by it."""
    return logits - _kept(logits, forget_classes).mean(1, keepdim=True)


def mask_classes(logits: Tensor, forget_classes: Sequence[int] = ()) -> Tensor:
    """Centre logits, and set those of `forget_classes` to the lowest of the other classes, (records, classes).

    A model that never saw a class gives it hardly any probability, so the exact value of its logit hardly matters.
    """
    z = centre(logits, forget_classes)
    if forget_classes:
        z[:, list(forget_classes)] = _kept(z, forget_classes).amin(1, keepdim=True)
    return z


def _kept(logits: Tensor, forget_classes: Sequence[int]) -> Tensor:
    return logits[:, [c for c in range(logits.shape[1]) if c not in forget_classes]] if forget_classes else logits


def margin(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-odds of the true class, z_y - logsumexp of the others: (records,), float64.

    Positive if the label has more than half of the probability; higher if the model knows the label better.
    """
    z = logits.double()
    own = z.gather(1, targets[:, None])
    return (own - z.scatter(1, targets[:, None], -torch.inf).logsumexp(1, keepdim=True)).squeeze(1)


def aligned(logits: Tensor, targets: Tensor) -> Tensor:
    """Class indices of each record, (records, classes): the label first, then other classes by falling probability."""
    return logits.scatter(1, targets[:, None], torch.inf).argsort(1, descending=True)


def of_classes(targets: Tensor, classes: Sequence[int]) -> Tensor:
    """Which records belong to some classes, (records,), bool."""
    return torch.isin(targets, torch.tensor(list(classes), dtype=targets.dtype))


def with_margin(logits: Tensor, targets: Tensor, wanted: Tensor) -> Tensor:
    """Change the label's logit so that its margin becomes `wanted`, (records,); returns (records, classes)."""
    # the margin changes by as much as the label's logit
    change = (wanted - margin(logits, targets)).to(logits.dtype)
    return logits.scatter_add(1, targets[:, None], change[:, None])


def other_gap(logits: Tensor, targets: Tensor) -> Tensor:
    """Gap between the two highest logits other than the label's, (records,), float64, >= 0; needs three classes.

    The margin does not determine it.
    """
    top = logits.double().scatter(1, targets[:, None], -torch.inf).topk(2, dim=1).values
    return top[:, 0] - top[:, 1]


def log_likelihood(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-probability of the label, (records,), float64, <= 0: the score of the loss attack, higher for members."""
    # by the margin, since the usual formula gives 0 for every margin above 37
    return F.logsigmoid(margin(logits, targets))


def symexp(values: Tensor) -> Tensor:
    """The inverse of `symlog`."""
    return values.sign() * values.abs().expm1()


def symlog(values: Tensor) -> Tensor:
    """Symmetric log, sign(v) log(1 + |v|), so that a few extreme records do not dominate a mean."""
    return values.sign() * values.abs().log1p()
