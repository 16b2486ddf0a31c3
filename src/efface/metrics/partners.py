"""Ranks beside those of partners: never-seen records of equal difficulty, each of which serves once.

Records that different runs forgot are ranked among the same never-seen records, so their ranks are not independent:
where the never-seen records of some difficulty happen to score low, every rank there is too high, in all runs. A
partner is ranked among the same never-seen records as its record. For a model that never saw either, the two could be
exchanged, so the difference of their ranks is 0 in expectation, whatever the others score, whatever came out before.
"""

import numpy as np
import torch
from torch import Tensor

from efface.metrics.membership import levelled, window_width
from efface.numerics.neighbours import ranks, windows


def with_free_partner(difficulty: Tensor, nonmember_difficulty: Tensor, free: Tensor) -> Tensor:
    """Which records have a never-seen record of equal difficulty that can be their partner, (n,), bool.

    Args:
        difficulty: Difficulty (n,) of the forget records.
        nonmember_difficulty: Difficulty (m,) of the never-seen records.
        free: Which never-seen records may be partners, (m,), bool.
    """
    at = windows(difficulty, nonmember_difficulty, window_width(len(nonmember_difficulty)))
    return free[at].any(1)


def choose_partners(
    difficulty: Tensor, nonmember_difficulty: Tensor, free: Tensor, count: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Choose partners for some records, the nearest in difficulty; no score of the judged models is looked at.

    Args:
        difficulty: Difficulty (n,) of the forget records.
        nonmember_difficulty: Difficulty (m,) of the never-seen records.
        free: Which never-seen records may be partners, (m,), bool.
        count: The number of partners wanted, at least 1; if there are fewer than records, records are drawn.
        seed: Seed of the draw.

    Returns:
        Positions of records and of their partners, both (p,), p of at most `count`; a record stands there once for each
        of its partners, and not at all if none is left in its window.
    """
    at = windows(difficulty, nonmember_difficulty, window_width(len(nonmember_difficulty)))
    away = (nonmember_difficulty[at] - difficulty[:, None]).abs()
    by_distance = at.gather(1, away.argsort(dim=1, stable=True)).numpy()
    unused, each = free.numpy().copy(), max(1, count // max(1, len(at)))
    records, partners = list[int](), list[int]()
    for record in np.random.default_rng(seed).permutation(len(at)).tolist():
        nearest = by_distance[record]
        chosen = nearest[unused[nearest]][: min(each, count - len(records))]
        unused[chosen] = False
        records += [record] * len(chosen)
        partners += chosen.tolist()
    return torch.tensor(records, dtype=torch.long), torch.tensor(partners, dtype=torch.long)


def ranks_beside_partners(
    members: Tensor,
    nonmembers: Tensor,
    difficulty: Tensor,
    nonmember_difficulty: Tensor,
    pairs: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """Rank records and their partners among the other never-seen records in the record's window.

    Args:
        members: Scores (n,) of the forget records, higher = member.
        nonmembers: Scores (m,) of the never-seen records.
        difficulty: Difficulty (n,) of the forget records.
        nonmember_difficulty: Difficulty (m,) of the never-seen records.
        pairs: Positions of records and of their partners, as `choose_partners` gives them.

    Returns:
        The rank of each pair's record and of its partner, (p,), from 0 to 1; ties count half.
    """
    records, partners = pairs
    of_record = difficulty[records].double()
    at = windows(difficulty[records], nonmember_difficulty, window_width(len(nonmember_difficulty)))
    among = levelled(nonmembers.double()[at], of_record, nonmember_difficulty.double()[at])
    own = at == partners[:, None]
    others = among[~own].reshape(len(at), at.shape[1] - 1)
    return ranks(members.double()[records], others), ranks(among[own], others)
