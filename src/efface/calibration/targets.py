"""The logits that steer aims at for the forget records: those of a model that never saw them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from efface.calibration.counterfactual import MAX_COORDINATES, CalibratedLogits
from efface.calibration.transport import transport_gauss, transport_ranks
from efface.numerics.logits import centre, margin, mask_classes, of_classes, symexp, symlog, with_margin
from efface.numerics.neighbours import by_block, windows

# How much of its transported margin a record keeps whose margin a nonmember could have as well.
OWN_SHARE = 0.6
# A margin so many standard deviations above that of nonmembers lowers the trust in its own logits by 1 / sqrt(e).
TRUST_WIDTH = 2.0


def target_logits(
    forget: CalibratedLogits, members: CalibratedLogits, nonmembers: CalibratedLogits, forget_classes: Sequence[int]
) -> Tensor:
    """Centred target logits (records, classes) of the forget records, between the expected and the transported ones.

    The original's own logits of a record, moved to where a nonmember's would lie (`transported`), hold what is
    particular to the record, and some of what was memorised of it; the expected logits hold neither. The further the
    record's margin exceeds what a nonmember could have (`trust`), the more the expected logits count. Margins are mixed
    on the symmetric log, since that is how their spread grows.

    No member or nonmember is of a class that is wholly forgotten, so the target of a record of such a class is half-way
    between the expected logits and the original's own of the other classes.
    """
    odd = of_classes(forget.targets, forget_classes)
    target = (forget.expected + mask_classes(forget.logits, forget_classes)) / 2
    if bool((~odd).any()):
        usual = forget.rows(~odd)
        records = len(usual.targets)
        own = by_block(lambda part: transported(usual.rows(part), members, nonmembers), records)
        weight = by_block(lambda part: trust(usual.rows(part), nonmembers), records)
        mixed = torch.lerp(usual.expected, own, weight[:, None])
        wanted = torch.lerp(symlog(usual.score), symlog(margin(own, usual.targets)), OWN_SHARE * weight)
        target[~odd] = with_margin(mixed, usual.targets, symexp(wanted))
    return mask_classes(target, forget_classes)


def trust(forget: CalibratedLogits, nonmembers: CalibratedLogits) -> Tensor:
    """How well a nonmember could have each record's margin, in (0, 1]: 1 up to the mean of nonmembers of its score."""
    near = symlog(nonmembers.margin)[_near(forget.score, nonmembers, 0.1, 20, 200)]
    above = (symlog(forget.margin) - near.mean(1)) / near.std(1).clamp_min(1e-6)
    return torch.exp(-((above.clamp_min(0) / TRUST_WIDTH) ** 2) / 2)


def transported(forget: CalibratedLogits, members: CalibratedLogits, nonmembers: CalibratedLogits) -> Tensor:
    """Centred logits (records, classes): each forget record's residual moved from members' to nonmembers'.

    Among members and nonmembers of nearly the record's own score, the residual moves by Gaussian optimal transport;
    its margin then by the quantile map, exact in distribution. Where the original did not memorise, members and
    nonmembers have the same distribution and nothing moves.
    """
    score, order = forget.score, forget.order()
    used = min(order.shape[1], MAX_COORDINATES)
    source, target = (_residual(g)[:, :used][_near(score, g, 0.2, 40, 400)] for g in (members, nonmembers))
    moved = _residual(forget)
    moved[:, :used] = transport_gauss(moved[:, :used], source, target)
    logits = torch.empty_like(forget.logits).scatter(1, order, forget.expected.gather(1, order) + moved)
    near = [g.margin[_near(score, g, 0.1, 20, 200)] for g in (members, nonmembers)]
    return centre(with_margin(logits, forget.targets, transport_ranks(forget.margin, *near)))


def _residual(group: CalibratedLogits) -> Tensor:
    """Logits less expected logits, in label-aligned coordinates."""
    return (group.logits - group.expected).gather(1, group.order())


def _near(score: Tensor, group: CalibratedLogits, share: float, lowest: int, highest: int) -> Tensor:
    """Windows over a group that hold its nearest `share`, at least `lowest` records and at most `highest`.

    A narrow window makes the target noisy, and the steps then bend the model to fit noise; one that is wide for its
    group compares the hardest records, which are few, with easier ones.
    """
    width = min(highest, max(lowest, round(share * len(group.logits))))
    return windows(score, group.score, width)
