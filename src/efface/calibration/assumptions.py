"""The assumptions behind calibrated targets, whether a request meets them, and the records that do not."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from efface.calibration.counterfactual import CalibratedLogits, CounterfactualLogits
from efface.calibration.targets import trust
from efface.errors import shorten
from efface.numerics.clusters import effective_count
from efface.numerics.logits import of_classes, symlog
from efface.numerics.neighbours import by_block, ranks, windows
from efface.request import Request
from efface.types import Indices, RecordId

WIDTH = 200  # largest number of members near a record's score that it is compared with; usually a tenth of them
EDGE = 5  # a record is supported if at least about this many others are harder, and as many are easier
DOUBTED = 0.5  # with less trust than this, the original's logits of a record hardly count
LEVEL = 0.95  # coverage of an interval of SURE standard errors
SURE = 2.0  # a share must differ by this many standard errors to count as different
MIN_NONMEMBERS = 200
MAX_OF_A_CLASS = 0.5


@dataclass(frozen=True)
class Assumption:
    """An assumption of calibrated methods about a request, and whether it holds.

    Args:
        name: Short name.
        met: Whether it holds.
        sentence: What it means if it does not hold.
        records: Ids of the records that do not meet it, if it is about single records.
    """

    name: str
    met: bool
    sentence: str
    records: tuple[RecordId, ...] = ()


def assumptions(expected: CounterfactualLogits, request: Request, forget: Indices) -> tuple[Assumption, ...]:
    """Check the assumptions of the targets in `efface.calibration.targets` for the forget records.

    They are checked with the original and the reference model only. An assumption about single records lists those that
    do not meet it; it does not hold if they are a larger share than among other training records.

    Args:
        expected: The expected logits of never-seen records.
        request: The request.
        forget: Positions of the forget records.
    """
    seen, members, nonmembers = expected.of_training(forget), expected.members, expected.nonmembers
    names = request.ids_of(forget)
    usual, clusters = ~of_classes(seen.targets, expected.forget_classes), request.clusters_of(forget)
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
    seen, clusters = seen.rows(usual), None if clusters is None else clusters[usual]
    alone = (
        "harder or easier than nearly all members or nonmembers: {}, whose targets are guesses from the nearest ones"
    )
    known = "known far better than nonmembers of their difficulty: {}, whose targets rest on the reference model"
    lonely, lonely_members = (_alone(g, members, nonmembers) for g in (seen, members))
    doubted, doubted_members = (_trust(g, nonmembers) < DOUBTED for g in (seen, members))
    return (
        *found,
        _alike(seen, members, clusters),
        _no_more("support", lonely, lonely_members, (alone, ids), clusters),
        _no_more("not memorised beyond nonmembers", doubted, doubted_members, (known, ids), clusters),
    )


def _classes(request: Request) -> Assumption:
    most = [c for c, share in request.class_shares.items() if share > MAX_OF_A_CLASS]
    return Assumption(
        "classes stay",
        not most,
        f"the request takes most or all records of class {shorten(most)}: other records do not show what a model says "
        "of them that hardly knew their class",
    )


def _alike(seen: CalibratedLogits, members: CalibratedLogits, clusters: Tensor | None) -> Assumption:
    width = min(WIDTH, max(20, len(members.targets) // 10))
    own, margins, score, scores = symlog(seen.margin), symlog(members.margin), seen.score, members.score
    rank = by_block(lambda part: ranks(own[part], margins[windows(score[part], scores, width)]), len(score))
    off = float(rank.mean()) - 0.5
    return Assumption(
        "alike",
        abs(off) <= SURE / (12 * _count(rank, clusters)) ** 0.5,
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


def _no_more(
    name: str, odd: Tensor, odd_members: Tensor, said: tuple[str, Sequence[RecordId]], clusters: Tensor | None
) -> Assumption:
    """An assumption that holds if the share of odd forget records is, up to chance, at most that of odd members."""
    sentence, ids = said
    share, n = float(odd_members.double().mean()), _count(odd.double(), clusters)
    most = share + SURE * (share * (1 - share) / n) ** 0.5 + 1 / n
    records = tuple(ids[i] for i in torch.nonzero(odd)[:, 0].tolist())
    met = float(odd.double().mean()) <= most
    return Assumption(name, met, sentence.format(f"{int(odd.sum())} of {len(odd)} records"), records)


def _count(values: Tensor, clusters: Tensor | None) -> float:
    """How many independent records say as much as these; a number of records where each is a group of its own."""
    return effective_count(values, clusters, LEVEL)
