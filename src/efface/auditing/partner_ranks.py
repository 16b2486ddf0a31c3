"""What one audit adds to the evidence about a process: ranks of its forget records beside those of partners."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from efface.attacks import by_key
from efface.auditing.scores import Scores
from efface.metrics.partners import choose_partners, ranks_beside_partners, with_free_partner
from efface.numerics.neighbours import ranks
from efface.runtime.printing import Brief
from efface.runtime.seeds import derive_seed

SHARE = 50  # an audit takes one in so many of the never-seen records that have not served as partners, at least one
MAX_PAIRED = 1000  # records that an audit counts


@dataclass(frozen=True, repr=False)
class PartnerRanks(Brief):
    """Mean ranks of the forget records of one audit, less those of their partners, by the LiRA score.

    Args:
        records: The number of forget records that are counted.
        before: The mean under the original model, in [-1, 1]; above 0 where it knows the records. None if no record is
            counted.
        after: The mean under the unlearned model; 0 in expectation for one that never saw the records.
        all_after: The mean rank of all forget records under the unlearned model, less 0.5, in [-0.5, 0.5], without
            partners.
        difficulty: The mean rank of the counted records' difficulty among that of all nonmembers, less 0.5, in [-0.5,
            0.5]; above 0 where models that never saw them find them easier. None if no record is counted.
        partners: Positions among the nonmembers of those that served as partners, sorted.
        left: The number of nonmembers that can serve later audits.
        nonmembers: The number of all nonmembers.
    """

    records: int
    before: float | None
    after: float | None
    all_after: float
    difficulty: float | None
    partners: tuple[int, ...]
    left: int
    nonmembers: int


def partner_ranks(scores: Scores, counts: Tensor, served: Sequence[int], seed: int) -> PartnerRanks | None:
    """Rank the forget records of an audit beside partners that served no audit before.

    Args:
        scores: The attacks on all models.
        counts: Which forget records may be counted, (n,), bool: those that no audit counted before. Of these at most
            MAX_PAIRED are, and none for which no partner of equal difficulty is left.
        served: Positions among the nonmembers of those that served before. Where records have groups, all of a group
            have served with the first.
        seed: Seed of the draw of records.

    Returns:
        The mean ranks; None if records were not compared at equal difficulty.
    """
    lira = by_key("lira")
    scored, results = scores.scored(lira, scores.unlearned), [scores.auc_result(lira, k) for k in (0, 1)]
    if scores.marginal or scored is None or results[1] is None:
        return None
    free, all_after = _free(scores, len(scored[1]), served), results[1].value - 0.5
    drawn = np.random.default_rng(derive_seed(seed, "counted")).permutation(counts.nonzero()[:, 0].numpy())
    some = torch.from_numpy(drawn[:MAX_PAIRED])
    difficulty, of_nonmembers = scores.difficulties(lira)
    some = some[with_free_partner(difficulty[some], of_nonmembers, free)]
    if not len(some):
        return PartnerRanks(0, None, None, all_after, None, (), int(free.sum()), len(free))
    wanted = max(1, int(free.sum()) // SHARE)
    pairs = choose_partners(difficulty[some], of_nonmembers, free, wanted, derive_seed(seed, "partners"))
    excess = list[float]()
    for model, result in zip((scores.original, scores.unlearned), results, strict=True):
        values = scores.scored(lira, model)
        if values is None or result is None:
            return None
        beside = ranks_beside_partners(values[0][some], values[1], difficulty[some], of_nonmembers, pairs)
        excess.append(_mean_excess(result.ranks[some], pairs[0], beside))
    partners = tuple(sorted(pairs[1].tolist()))
    left = int(_free(scores, len(scored[1]), [*served, *partners]).sum())
    shift = float(ranks(difficulty[some].double(), of_nonmembers.double()[None]).mean()) - 0.5
    return PartnerRanks(len(some), excess[0], excess[1], all_after, shift, partners, left, len(free))


def _mean_excess(in_window: Tensor, paired: Tensor, beside: tuple[Tensor, Tensor]) -> float:
    """The mean rank of records less that of partners.

    Args:
        in_window: The rank of each record among all of its window, (n,).
        paired: The record of each pair, (p,).
        beside: The rank of each pair's record and of its partner among the others of the window, (p,).
    """
    sums, times = (torch.zeros(len(in_window), dtype=torch.float64) for _ in range(2))
    sums.index_add_(0, paired, beside[0].double())
    times.index_add_(0, paired, torch.ones(len(paired), dtype=torch.float64))
    own = torch.where(times > 0, sums / times.clamp_min(1.0), in_window.double())
    return float(own.mean() - beside[1].double().mean())


def _free(scores: Scores, nonmembers: int, served: Sequence[int]) -> Tensor:
    """Which nonmembers can be partners, (m,), bool: none of those that served, or of their groups."""
    at, groups = torch.tensor(list(served), dtype=torch.long), scores.clusters[1]
    if groups is not None:
        return ~torch.isin(groups, groups[at])
    free = torch.ones(nonmembers, dtype=torch.bool)
    free[at] = False
    return free
