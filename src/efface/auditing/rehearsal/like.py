"""Which training records are rehearsed: records of the same kind as the requested ones, drawn before any unlearning."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from efface.numerics.logits import symlog
from efface.runtime.printing import Brief
from efface.types import Indices

BAND = 0.4  # share of the candidates that count as of a record's kind: narrower, and too few never-seen ones compare
NEAREST, FAR = 5, 0.5  # a record is alone if this many nearest candidates lie farther, in standard deviations


@dataclass(frozen=True, repr=False)
class Members(Brief):
    """Records, or whole groups of records such as persons, by what they are matched by.

    Args:
        positions: The positions in the training set of the records of each.
        difficulty: The mean margin of their labels under models that never saw them, on the symmetric log, (n,).
    """

    positions: Sequence[Indices]
    difficulty: Tensor

    @property
    def sizes(self) -> Tensor:
        """The number of records of each, (n,)."""
        return torch.tensor([len(p) for p in self.positions])


@dataclass(frozen=True, repr=False)
class Like(Brief):
    """Training records of the same kind as requested ones.

    Args:
        positions: Their positions in the training set, in the order in which they were drawn.
        alone: How many of the requested members have no like, since no candidate is nearly as hard, or as easy.
    """

    positions: Indices
    alone: int


def as_members(positions: Indices, margins: Tensor, groups: Tensor | None = None) -> Members:
    """Gather records into members: whole groups, or each record for itself.

    Args:
        positions: The records' positions in the training set, (n,).
        margins: Their margins under models that never saw them, (n,).
        groups: The number of each record's group, (n,); None if each record is a group of its own.
    """
    difficulty = symlog(margins)
    if groups is None:
        return Members([np.array([p]) for p in positions], difficulty)
    rows = [np.flatnonzero(groups.numpy() == number) for number in groups.unique().tolist()]
    means = torch.stack([difficulty[torch.from_numpy(r)].mean() for r in rows])
    return Members([positions[r] for r in rows], means)


def draw_like(requested: Members, candidates: Members, records: int, seed: int) -> Like:
    """Draw candidates of the same kind as requested members, equally many for each of these in turn.

    Of a kind are the nearest candidates by difficulty; those of another number of records count as farther. Labels are
    not matched: what one training does to all records of a label would be taken for what it does to the forgotten ones,
    since never-seen records of any label are compared with. They are drawn at random among the nearest BAND of all
    candidates, and among fewer for a record at an end of the difficulties, so that about as many are harder as are
    easier.

    Args:
        requested: What was asked to be forgotten.
        candidates: What may be rehearsed: retain records, whole groups of them.
        records: How many records to draw; fewer are drawn if there are not as many of the kind.
        seed: Seed of the draw.
    """
    rng, count = np.random.default_rng(seed), len(candidates.positions)
    scale = float(candidates.difficulty.std()) or 1.0
    harder = (requested.difficulty[:, None] - candidates.difficulty).abs() / scale
    away = harder + (requested.sizes[:, None].log() - candidates.sizes.log()).abs()
    beyond = _beyond(requested, candidates)
    alone = harder.topk(min(NEAREST, count), largest=False).values.mean(1) > FAR
    least = -(-2 * records // len(requested.positions))
    bands = (2 * beyond).clamp(min(least, count), max(least, round(BAND * count)))
    orders = [
        rng.permutation(row.argsort()[:band].numpy()).tolist() for row, band in zip(away, bands.tolist(), strict=True)
    ]
    positions = [candidates.positions[at] for at in _in_turn(orders)]
    ends = np.cumsum([len(p) for p in positions])
    chosen = positions[: int(np.searchsorted(ends, records)) + 1]
    return Like(np.concatenate([*chosen, np.empty(0, np.int64)]), int(alone.sum()))


def _in_turn(orders: Sequence[Sequence[int]]) -> list[int]:
    """Numbers of several lists, one of each list in turn, each number once."""
    turns = (number for numbers in itertools.zip_longest(*orders) for number in numbers if number is not None)
    return list(dict.fromkeys(turns))


def _beyond(requested: Members, candidates: Members) -> Tensor:
    """For each requested member the number of candidates that are harder, or that are easier if these are fewer."""
    ordered = candidates.difficulty.sort().values
    below = torch.searchsorted(ordered, requested.difficulty.contiguous())
    above = len(ordered) - torch.searchsorted(ordered, requested.difficulty.contiguous(), right=True)
    return torch.minimum(below, above)
