"""The assumptions behind calibrated targets, whether a request meets them, and the records that do not."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from efface.calibration.counterfactual import CalibratedLogits, CounterfactualLogits
from efface.calibration.targets import trust
from efface.errors import shorten
from efface.numerics.clusters import effective_count
from efface.numerics.logits import symlog
from efface.numerics.neighbours import by_block, ranks, windows
from efface.request import Request
from efface.runtime.printing import by_number, clip, how_many
from efface.types import Indices, RecordId

WIDTH = 200  # largest number of members near a record's score that it is compared with; usually a tenth of them
EDGE = 5  # a record is supported if at least about this many others are harder, and as many are easier
DOUBTED = 0.5  # with less trust than this, the original's logits of a record hardly count
LEVEL = 0.95  # coverage of an interval of SURE standard errors
SURE = 2.0  # a share must differ by this many standard errors to count as different
MIN_NONMEMBERS = 200
MAX_OF_A_CLASS = 0.5


@dataclass(frozen=True, repr=False)
class Assumption:
    """An assumption of calibrated methods about a request, and whether it holds.

    Args:
        name: Short name.
        met: Whether it holds.
        if_met: What is so if it holds, as a sentence.
        if_unmet: What is so if it does not hold, as a sentence.
        records: Ids of the records that do not meet it, if it is about single records.
    """

    name: str
    met: bool
    if_met: str
    if_unmet: str
    records: tuple[RecordId, ...] = ()

    def __repr__(self) -> str:
        listed = f" ({shorten(self.records)})" if self.records else ""
        return f"Assumption {self.name!r}, {'met' if self.met else 'not met'}: {clip(self.sentence, 240)}{listed}"

    @property
    def sentence(self) -> str:
        """What is so, as a true sentence."""
        return self.if_met if self.met else self.if_unmet


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
    usual, clusters = ~seen.rules.is_erased(seen.targets, expected.forget_classes), request.clusters_of(forget)
    ids = [names[i] for i in torch.nonzero(usual)[:, 0].tolist()]
    found = [
        _classes(request),
        Assumption(
            "enough nonmembers",
            len(nonmembers.targets) >= MIN_NONMEMBERS,
            f"what a nonmember would say was learned from {len(nonmembers.targets)} holdout records, which are enough "
            f"(at least {MIN_NONMEMBERS})",
            f"what a nonmember would say was learned from {len(nonmembers.targets)} holdout records "
            f"(at least {MIN_NONMEMBERS} are better)",
        ),
    ]
    if not ids:
        return tuple(found)
    seen, clusters = seen.rows(usual), None if clusters is None else clusters[usual]
    alone = ("harder or easier than nearly all members or nonmembers", "targets are guesses from the nearest ones")
    known = ("known far better than nonmembers of their difficulty", "targets rest on the reference model")
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
        "of every class that stays, other records show what a model says that never saw the forget records",
        f"the request takes most or all records of class {shorten(most)}: other records do not show what a model says "
        "of them that hardly knew their class",
    )


def _alike(seen: CalibratedLogits, members: CalibratedLogits, clusters: Tensor | None) -> Assumption:
    width = min(WIDTH, max(20, len(members.targets) // 10))
    own, margins, score, scores = symlog(seen.margin), symlog(members.margin), seen.score, members.score
    rank = by_block(lambda part: ranks(own[part], margins[windows(score[part], scores, width)]), len(score))
    off = float(rank.mean()) - 0.5
    others = "other training records of their difficulty"
    shown, known = f"mean rank {0.5 + off:.2f}", "better" if off > 0 else "less well"
    return Assumption(
        "alike",
        abs(off) <= SURE / (12 * _count(rank, clusters)) ** 0.5,
        f"the original knows the forget records as well as {others}, up to chance ({shown}, where .50 is expected)",
        f"the original knows the forget records {known} than {others} ({shown}, not .50): the request was hardly drawn "
        "at random",
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
    name: str,
    odd: Tensor,
    odd_members: Tensor,
    said: tuple[tuple[str, str], Sequence[RecordId]],
    clusters: Tensor | None,
) -> Assumption:
    """An assumption that holds if the share of odd forget records is, up to chance, at most that of odd members.

    Args:
        name: Name of the assumption.
        odd: Which forget records are odd, (n,), bool.
        odd_members: Which members are, (m,), bool.
        said: In words, what odd records are and what follows for them; and the ids of the forget records.
        clusters: The group of each forget record, (n,); None if each is its own.
    """
    (what, so), ids = said
    share, count, n = float(odd_members.double().mean()), int(odd.sum()), _count(odd.double(), clusters)
    most = share + SURE * (share * (1 - share) / n) ** 0.5 + 1 / n
    records = tuple(ids[i] for i in torch.nonzero(odd)[:, 0].tolist())
    met = float(odd.double().mean()) <= most
    found = f"{count} of {how_many(len(odd), 'forget record')} {by_number(count, 'is', 'are')} {what}"
    usual = f"no larger a share, up to chance, than of other training records ({share:.1%})"
    unusual = f"more than of other training records ({share:.1%}): their {so}"
    return Assumption(name, met, f"{found}, {usual}", f"{found}, {unusual}", records)


def _count(values: Tensor, clusters: Tensor | None) -> float:
    """How many independent records say as much as these; a number of records where each is a group of its own."""
    return effective_count(values, clusters, LEVEL)
