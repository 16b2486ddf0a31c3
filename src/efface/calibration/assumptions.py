"""Which assumptions of a calibrated method a request meets, and which records do not meet them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from efface.calibration.counterfactual import CalibratedLogits, CounterfactualLogits
from efface.calibration.targets import trust
from efface.errors import shorten
from efface.numerics.logits import of_classes, symlog
from efface.numerics.neighbours import by_block, ranks, windows
from efface.request import Request
from efface.types import Indices, RecordId

WIDTH = 200  # members near a record's score, or a tenth where there are fewer
EDGE = 5  # others that must be harder, and as many easier, for a record to be supported
DOUBTED = 0.5  # trust below which a record's own logits hardly count
SURE = 2.0  # standard errors by which a share must differ to count
MIN_NONMEMBERS = 200
MAX_OF_A_CLASS = 0.5


@dataclass(frozen=True)
class Assumption:
    """Something that a method supposes of a request, whether it holds, and what it means if not.

    `records` are the ids that do not meet it, where it is about single records.
    """

    name: str
    met: bool
    sentence: str
    records: tuple[RecordId, ...] = ()


def assumptions(expected: CounterfactualLogits, request: Request, forget: Indices) -> tuple[Assumption, ...]:
    """What the targets of `efface.calibration.targets` suppose, and whether it holds for the forget records.

    Read from the original and the reference alone; nothing here stops or judges a run. An assumption about single
    records lists those that do not meet it; it is unmet where they are a larger share than of other training records.
    """
    seen, members, nonmembers = expected.of_training(forget), expected.members, expected.nonmembers
    names = request.ids_of(forget)
    usual = ~of_classes(seen.targets, expected.forget_classes)
    ids = [names[i] for i in torch.nonzero(usual)[:, 0].tolist()]
    found = [
        _classes(request),
        Assumption(
            "enough nonmembers",
            len(nonmembers.targets) >= MIN_NONMEMBERS,
            f"what a nonmember would say was learned from {len(nonmembers.targets)} holdout records "
            f"(at least {MIN_NONMEMBERS} are better)",
        ),
    ]
    if not ids:
        return tuple(found)
    seen = seen.rows(usual)
    alone = (
        "harder or easier than nearly all members or nonmembers: {}, whose targets are guesses from the nearest ones"
    )
    known = "known far better than nonmembers of their difficulty: {}, whose targets rest on the reference model"
    lonely, lonely_members = (_alone(g, members, nonmembers) for g in (seen, members))
    doubted, doubted_members = (_trust(g, nonmembers) < DOUBTED for g in (seen, members))
    return (
        *found,
        _alike(seen, members),
        _no_more("support", lonely, lonely_members, alone, ids),
        _no_more("not memorised beyond nonmembers", doubted, doubted_members, known, ids),
    )


def _classes(request: Request) -> Assumption:
    most = [c for c, share in request.class_shares.items() if share > MAX_OF_A_CLASS]
    return Assumption(
        "classes stay",
        not most,
        f"the request takes most or all records of class {shorten(most)}: other records do not show what a model says "
        "of them that hardly knew their class",
    )


def _alike(seen: CalibratedLogits, members: CalibratedLogits) -> Assumption:
    width = min(WIDTH, max(20, len(members.targets) // 10))
    own, margins, score, scores = symlog(seen.margin), symlog(members.margin), seen.score, members.score
    rank = by_block(lambda part: ranks(own[part], margins[windows(score[part], scores, width)]), len(score))
    off = float(rank.mean()) - 0.5
    return Assumption(
        "alike",
        abs(off) <= SURE / (12 * len(rank)) ** 0.5,
        f"the original knows the forget records {'better' if off > 0 else 'less well'} than other training records of "
        f"their difficulty (mean rank {0.5 + off:.2f}, not .50): the request was hardly drawn at random",
    )


def _trust(group: CalibratedLogits, nonmembers: CalibratedLogits) -> Tensor:
    return by_block(lambda part: trust(group.rows(part), nonmembers), len(group.targets))


def _alone(seen: CalibratedLogits, members: CalibratedLogits, nonmembers: CalibratedLogits) -> Tensor:
    alone = torch.zeros(len(seen.targets), dtype=torch.bool)
    for group in (members, nonmembers):
        ordered = group.score.sort().values
        below = torch.searchsorted(ordered, seen.score.contiguous())
        alone |= (below < EDGE) | (below > len(ordered) - EDGE)
    return alone


def _no_more(name: str, odd: Tensor, odd_members: Tensor, sentence: str, ids: Sequence[RecordId]) -> Assumption:
    """Met where no larger share of the forget records than of the members is odd, up to chance."""
    share, n = float(odd_members.double().mean()), len(odd)
    most = share + SURE * (share * (1 - share) / n) ** 0.5 + 1 / n
    records = tuple(ids[i] for i in torch.nonzero(odd)[:, 0].tolist())
    met = float(odd.double().mean()) <= most
    return Assumption(name, met, sentence.format(f"{int(odd.sum())} of {n} records"), records)
