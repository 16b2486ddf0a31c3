"""Attacks that read one statistic of the model's output."""

from collections.abc import Sequence

import torch
from torch import Tensor

from efface.attacks.outputs import RecordOutputs
from efface.numerics.logits import log_likelihood, margin, other_gap


def loss(view: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor:
    """Log-probability of the label (Yeom et al., arXiv 1709.01604): members have a lower loss."""
    return log_likelihood(view.logits, view.targets)


def confidence(view: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor:
    """Log-probability of the likeliest class, whatever the label (Salem et al., arXiv 1806.01246, adversary 3).

    (n,), in [-log classes, 0], higher = member. The paper takes the probability itself, which has the same rank but
    is 1 to a float where a model is sure.
    """
    return _log_probabilities(view.logits)[0].amax(1)


def entropy(view: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor:
    """Minus the entropy (nats) of the output, whatever the label (Salem et al., arXiv 1806.01246, adversary 3).

    (n,), in [-log classes, 0], higher = member.
    """
    inside, _ = _log_probabilities(view.logits)
    return _product(inside, inside).sum(1)


def modified_entropy(view: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor:
    """Minus the modified entropy (Song & Mittal 2021, arXiv 2003.10595): near 0 where sure and right.

    (n,), <= 0, higher = member: (1 - p_y) log p_y + sum over classes i other than the label of p_i log(1 - p_i), each
    from logits, so that it neither saturates nor needs a floor. The paper sets one threshold a class; this is the
    score itself.
    """
    inside, outside = _log_probabilities(view.logits)
    label = view.targets[:, None]
    others = _product(inside, outside).scatter(1, label, 0.0).sum(1)
    return others + _product(outside.gather(1, label), inside.gather(1, label)).squeeze(1)


def plain_margin(view: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor:
    """Log-odds of the label."""
    return margin(view.logits, view.targets)


def other_classes(view: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor | None:
    """Gap between the two best classes other than the label, which is no part of the margin; None with two classes."""
    return other_gap(view.logits, view.targets) if view.logits.shape[1] > 2 else None


def perturbed_margin(view: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor | None:
    """Mean margin over slightly changed copies of the record: what is known beyond the very record that was moved."""
    if view.copies is None:
        return None
    return torch.stack([margin(z, view.targets) for z in view.copies]).mean(0)


def probe_margin(view: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor | None:
    """Log-odds of the label by a last layer fitted afresh to the model's features: what the old one may only hide."""
    return None if view.probe is None else margin(view.probe, view.targets)


def _log_probabilities(logits: Tensor) -> tuple[Tensor, Tensor]:
    """log p and log(1 - p) of every class (n, classes), to full relative precision however near to 0 or 1 p is."""
    z = logits.double()
    inside = z.log_softmax(1)
    top = z.argmax(1, keepdim=True)
    # only the likeliest class can have p > 1/2, where 1 - p would cancel: there it is the sum over the others
    rest = z.scatter(1, top, -torch.inf).logsumexp(1, keepdim=True) - z.logsumexp(1, keepdim=True)
    outside = torch.log1p(-inside.exp()).scatter(1, top, rest)
    return inside.scatter(1, top, torch.log1p(-rest.exp())), outside


def _product(log_weights: Tensor, values: Tensor) -> Tensor:
    """exp(log_weights) * values, with 0 * (-inf) = 0."""
    return torch.where(log_weights == -torch.inf, 0.0, log_weights.exp() * values)
