"""Statistics of logits. Unless stated otherwise, logits are (records, classes) and targets (records,), int64."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# A model masks a class, for a record or for all, by a large negative logit such as -1e4 or the lowest float32. Such a
# class has no probability in any dtype, and counts in no mean, distance or fit. No trained network has such gaps.
MASK_GAP = 5e3  # a class this far below the highest logit of its record is masked
MASKED = -1e4  # the logit of a masked class once logits are centred


def is_masked(logits: Tensor) -> Tensor:
    """Which classes are masked, (records, classes), bool."""
    values = logits.detach()
    return values < values.amax(1, keepdim=True) - MASK_GAP


def _none_masked(*several: Tensor) -> bool:
    """Whether no class can be masked, by all values at once; a quick test, which NaN or infinite values fail."""
    ranges = [values.detach().aminmax() for values in several if values.numel()]
    return all(bool(highest - lowest <= MASK_GAP) for lowest, highest in ranges)


def bound_masked(logits: Tensor) -> Tensor:
    """Raise finite logits of masked classes to 1e4 below the highest, so that no arithmetic overflows; a new tensor."""
    if _none_masked(logits):
        return logits.clone()
    values = logits.detach()
    lowest = values.amax(1, keepdim=True) + MASKED
    return torch.where((values < lowest) & (values > -torch.inf), lowest, logits)


def class_count(*several: Tensor) -> int:
    """The least number of classes of any record that are not masked; 0 without records."""
    counts = [int((~is_masked(logits)).sum(1).min()) for logits in several if len(logits)]
    return min(counts, default=0)


def fill_masked(logits: Tensor, value: float) -> Tensor:
    """Logits with a value in place of those of masked classes."""
    return logits.masked_fill(is_masked(logits), value)


def mask_like(values: Tensor, logits: Tensor) -> Tensor:
    """Values, (records, classes), with MASKED for the classes that `logits` mask."""
    return values.masked_fill(is_masked(logits), MASKED)


def centre(logits: Tensor, forget_classes: Sequence[int] = ()) -> Tensor:
    """Subtract from logits their mean over the classes; a softmax does not change by it.

    Args:
        logits: Logits; those of masked classes become MASKED.
        forget_classes: Classes that are left out of the mean, as masked ones are.
    """
    if _none_masked(logits) or not bool((masked := is_masked(logits)).any()):
        return logits - _kept(logits, forget_classes).mean(1, keepdim=True)
    counted = ~_kept(masked, forget_classes)
    total = _kept(logits, forget_classes).where(counted, 0.0).sum(1, keepdim=True)
    return (logits - total / counted.sum(1, keepdim=True).clamp_min(1)).masked_fill(masked, MASKED)


def mask_classes(logits: Tensor, forget_classes: Sequence[int] = ()) -> Tensor:
    """Centre logits, and set those of `forget_classes` to the lowest of the others that are not masked.

    A model that never saw a class gives it hardly any probability, so the exact value of its logit hardly matters.
    """
    z = centre(logits, forget_classes)
    if forget_classes:
        kept = _kept(z, forget_classes)
        lowest = kept.masked_fill(is_masked(z)[:, _others(z, forget_classes)], torch.inf).amin(1, keepdim=True)
        z[:, list(forget_classes)] = lowest.clamp_max(kept.amax(1, keepdim=True))
    return z


def _kept(logits: Tensor, forget_classes: Sequence[int]) -> Tensor:
    return logits[:, _others(logits, forget_classes)] if forget_classes else logits


def _others(logits: Tensor, classes: Sequence[int]) -> list[int]:
    return [c for c in range(logits.shape[1]) if c not in classes]


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
