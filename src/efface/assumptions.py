"""Which assumptions of a calibrated method a request meets, and the records that have no like to learn from."""

from collections.abc import Sequence

import torch
from torch import Tensor

from efface.expected import Expected, Seen
from efface.methods.targets import trust
from efface.numerics.logits import squash
from efface.numerics.neighbours import ranks, windows
from efface.types import Assumption, Indices, RecordId

WIDTH = 200  # members near a record's score
EDGE = 5  # others that must be harder, and as many easier, for a record to be supported
DOUBTED = 0.5  # trust below which a record's own logits hardly count
SURE = 2.0  # standard errors
FEWEST_STRANGERS = 200


def assumptions(expected: Expected, forget: Indices, names: Sequence[RecordId]) -> tuple[Assumption, ...]:
    """What the targets of `efface.methods.targets` suppose, and whether it holds for the forget records (`names`).

    Read from the original and the reference alone; nothing here stops or judges a run.
    """
    seen, members, strangers = expected.of_training(forget), expected.members, expected.strangers
    usual = ~torch.isin(seen.targets, torch.tensor(expected.gone, dtype=torch.int64))
    ids = [names[i] for i in torch.nonzero(usual)[:, 0].tolist()]
    whole = [names[i] for i in torch.nonzero(~usual)[:, 0].tolist()]
    found = [
        Assumption(
            "classes stay",
            not whole,
            f"classes are forgotten whole ({len(whole)} records): nothing shows what a model says of them that never "
            "knew their class, so their targets are cruder",
            tuple(whole),
        ),
        Assumption(
            "enough strangers",
            len(strangers.targets) >= FEWEST_STRANGERS,
            f"what a stranger would say was learned from {len(strangers.targets)} holdout records "
            f"(at least {FEWEST_STRANGERS} are better)",
        ),
    ]
    if not ids:
        return tuple(found)
    seen = seen.rows(usual)
    return (*found, _alike(seen, members), _supported(seen, members, strangers, ids), _trusted(seen, strangers, ids))


def _alike(seen: Seen, members: Seen) -> Assumption:
    near = squash(members.margin)[windows(seen.score, members.score, WIDTH)]
    rank = ranks(squash(seen.margin), near)
    off = float(rank.mean()) - 0.5
    return Assumption(
        "alike",
        abs(off) <= SURE / (12 * len(rank)) ** 0.5,
        f"the original knows the forget records {'better' if off > 0 else 'less well'} than other training records of "
        f"their difficulty (mean rank {0.5 + off:.2f}, not .50): the request was hardly drawn at random",
    )


def _supported(seen: Seen, members: Seen, strangers: Seen, ids: Sequence[RecordId]) -> Assumption:
    alone = torch.zeros(len(ids), dtype=torch.bool)
    for group in (members, strangers):
        ordered = group.score.sort().values
        below = torch.searchsorted(ordered, seen.score.contiguous())
        alone |= (below < EDGE) | (below > len(ordered) - EDGE)
    return Assumption(
        "support",
        not bool(alone.any()),
        f"harder or easier than nearly all members or strangers: {int(alone.sum())} of {len(ids)} records, whose "
        "targets are guesses from the nearest ones",
        _named(ids, alone),
    )


def _trusted(seen: Seen, strangers: Seen, ids: Sequence[RecordId]) -> Assumption:
    doubted = trust(seen, strangers) < DOUBTED
    return Assumption(
        "not memorised beyond strangers",
        not bool(doubted.any()),
        f"known far better than any stranger of their difficulty: {int(doubted.sum())} of {len(ids)} records, whose "
        "targets rest on the reference model",
        _named(ids, doubted),
    )


def _named(ids: Sequence[RecordId], at: Tensor) -> tuple[RecordId, ...]:
    return tuple(ids[i] for i in torch.nonzero(at)[:, 0].tolist())
