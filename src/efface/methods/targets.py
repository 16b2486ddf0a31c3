"""Where steer wants the logits of the forget records: those of a model that never saw them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from efface.methods.base import Problem
from efface.models import logits_of
from efface.numerics.logits import centre, margin
from efface.numerics.neighbours import windows
from efface.numerics.ridge import cross_fit
from efface.numerics.transport import transport_gauss, transport_ranks

# Classes beyond the label and this many runners-up keep their residual: covariances of more need larger windows.
MOST_COORDINATES = 16


@dataclass(frozen=True)
class Group:
    """One kind of record as both models see it: centred logits, those that a stranger would have, and its label."""

    logits: Tensor
    expected: Tensor
    targets: Tensor

    @property
    def score(self) -> Tensor:
        """Expected margin: how hard the record is for a model that never saw it (higher = easier)."""
        return margin(self.expected, self.targets)

    def order(self) -> Tensor:
        """Label-aligned coordinates: the label first, then the other classes as the expected logits rank them."""
        return self.expected.scatter(1, self.targets[:, None], torch.inf).argsort(1, descending=True)

    def residual(self) -> Tensor:
        """Logits less expected logits, in label-aligned coordinates."""
        return (self.logits - self.expected).gather(1, self.order())


def read_groups(problem: Problem) -> tuple[Group, Group, Group]:
    """Forget records, members and strangers (calibration records), with expected logits from the reference.

    The map from the reference's logits to the original's is fitted on the strangers and cross-fitted there.
    """
    reference = problem.reference()
    places = (
        (problem.train, problem.forget),
        (problem.train, problem.members),
        (problem.holdout, problem.calibration),
    )
    seen = [
        [centre(logits_of(problem.task, m, records, at, problem.meter).double()) for m in (problem.original, reference)]
        for records, at in places
    ]
    strangers, maps = cross_fit(seen[2][1], seen[2][0])
    expected = [torch.stack([one(g) for one in maps]).mean(0) for _, g in seen[:2]] + [strangers]
    forget, members, unseen = (
        Group(z, centre(c), records.targets(at))
        for (z, _), c, (records, at) in zip(seen, expected, places, strict=True)
    )
    return forget, members, unseen


def transported(forget: Group, members: Group, strangers: Group) -> Tensor:
    """Centred target logits (records, classes): each forget record's residual moved from members' to strangers'.

    Among members and strangers of nearly the record's own score, the residual moves by Gaussian optimal transport;
    its margin then by the quantile map, exact in distribution. Where the original did not memorise, members and
    strangers look alike and nothing moves.
    """
    score, order = forget.score, forget.order()
    used = min(order.shape[1], MOST_COORDINATES)
    theirs, others = (g.residual()[:, :used][_near(score, g, 0.2, 40, 400)] for g in (members, strangers))
    moved = forget.residual()
    moved[:, :used] = transport_gauss(moved[:, :used], theirs, others)
    target = torch.empty_like(forget.logits).scatter(1, order, forget.expected.gather(1, order) + moved)
    margins = [margin(g.logits, g.targets) for g in (forget, members, strangers)]
    near = [_near(score, g, 0.1, 20, 200) for g in (members, strangers)]
    wanted = transport_ranks(margins[0], margins[1][near[0]], margins[2][near[1]])
    # the margin moves one to one with the label's own logit
    target[torch.arange(len(target)), forget.targets] += wanted - margin(target, forget.targets)
    return centre(target)


def _near(score: Tensor, group: Group, share: float, fewest: int, most: int) -> Tensor:
    """Windows over a group that hold its nearest `share`, at least `fewest` records and at most `most`.

    A narrow window makes the target noisy, and the steps then bend the model to fit noise; one that is wide for its
    group compares the hardest records, which are few, with easier ones.
    """
    width = min(most, max(fewest, round(share * len(group.logits))))
    return windows(score, group.score, width)
