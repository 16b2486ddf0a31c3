"""The target logits of the method steer for the forget records: those of a model that never saw them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from efface.calibration.counterfactual import MAX_COORDINATES, CalibratedLogits
from efface.calibration.transport import transport_gauss, transport_ranks
from efface.numerics.logits import symexp, symlog
from efface.numerics.neighbours import by_block, windows

# Weight of the transported margin in the target margin, for a record whose margin a nonmember could have, too.
OWN_SHARE = 0.6
# A margin this many standard deviations above that of nonmembers multiplies the trust by 1 / sqrt(e).
TRUST_WIDTH = 2.0


def target_logits(
    forget: CalibratedLogits, members: CalibratedLogits, nonmembers: CalibratedLogits, forget_classes: Sequence[int]
) -> Tensor:
    """Compute target logits for the forget records, between the expected and the transported logits.

    The transported logits (see `transported`) contain what is particular to a record, but also some of what was
    memorised about it; the expected logits contain neither. The more the record's margin exceeds that of nonmembers
    (see `trust`), the more weight the expected logits have. Margins are mixed on the symmetric log.

    There are no members or nonmembers of a class that is wholly forgotten. The target of a record of such a class is
    the mean of the expected logits and of the original's logits without that class.

    Args:
        forget: The forget records.
        members: Training records that the reference was not trained on.
        nonmembers: Holdout records.
        forget_classes: Classes that are wholly forgotten.

    Returns:
        Centred logits, (records, classes).
    """
    rules = forget.rules
    odd = rules.is_erased(forget.targets, forget_classes)
    target = (forget.expected + rules.erase(forget.logits, forget_classes)) / 2
    if bool((~odd).any()):
        usual = forget.rows(~odd)
        records = len(usual.targets)
        own = by_block(lambda part: transported(usual.rows(part), members, nonmembers), records)
        weight = by_block(lambda part: trust(usual.rows(part), nonmembers), records)
        mixed = torch.lerp(usual.expected, own, weight[:, None])
        wanted = torch.lerp(symlog(usual.score), symlog(rules.margin(own, usual.targets)), OWN_SHARE * weight)
        target[~odd] = rules.with_margin(mixed, usual.targets, symexp(wanted))
    return rules.erase(target, forget_classes)


def trust(forget: CalibratedLogits, nonmembers: CalibratedLogits) -> Tensor:
    """How plausible each record's margin is for a nonmember of equal score.

    Args:
        forget: The forget records.
        nonmembers: Holdout records.

    Returns:
        Numbers from 0 to 1, (records,): 1 for margins up to the mean of nonmembers, falling above it.
    """
    near = symlog(nonmembers.margin)[_near(forget.score, nonmembers, 0.1, 20, 200)]
    above = (symlog(forget.margin) - near.mean(1)) / near.std(1).clamp_min(1e-6)
    return torch.exp(-((above.clamp_min(0) / TRUST_WIDTH) ** 2) / 2)


def transported(forget: CalibratedLogits, members: CalibratedLogits, nonmembers: CalibratedLogits) -> Tensor:
    """Move each forget record's residual from the distribution of members to that of nonmembers.

    The residual (logits less expected logits) moves by Gaussian optimal transport between members and nonmembers of
    nearly equal score; then the margin moves by the quantile map. If the original memorised nothing, members and
    nonmembers have the same distribution, and nothing moves.

    Args:
        forget: The forget records.
        members: Training records that the reference was not trained on.
        nonmembers: Holdout records.

    Returns:
        Centred logits, (records, classes).
    """
    score, rules = forget.score, forget.rules
    used = min(rules.shown(forget.expected, members.expected, nonmembers.expected), MAX_COORDINATES)
    source, target = (g.residual()[:, :used][_near(score, g, 0.2, 40, 400)] for g in (members, nonmembers))
    moved = forget.residual()
    moved[:, :used] = transport_gauss(moved[:, :used], source, target)
    values = forget.unaligned(forget.aligned(forget.expected) + moved)
    near = [g.margin[_near(score, g, 0.1, 20, 200)] for g in (members, nonmembers)]
    return rules.compared(rules.with_margin(values, forget.targets, transport_ranks(forget.margin, *near)))


def _near(score: Tensor, group: CalibratedLogits, share: float, lowest: int, highest: int) -> Tensor:
    """Windows of a `share` of the group with the nearest scores, from `lowest` to `highest` records.

    A narrow window makes targets noisy, so that the steps fit noise; a wide one compares the hardest records, of which
    there are few, with easier ones.
    """
    width = min(highest, max(lowest, round(share * len(group.logits))))
    return windows(score, group.score, width)
