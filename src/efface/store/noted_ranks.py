"""What the audit of a run adds to the evidence about the process, as the history notes it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import Subset

from efface.auditing.config import RANK_STATISTIC
from efface.auditing.partner_ranks import partner_ranks
from efface.auditing.report.build import Report
from efface.store.context import StoreContext
from efface.store.entries import RunRecord
from efface.store.keys import short_tag
from efface.store.process import RANKS, runs_of_lineage
from efface.store.tag_rows import tags_of
from efface.types import SizedDataset

DIGITS = 6  # of a mean rank


def noted_ranks(context: StoreContext, run: RunRecord, report: Report, holdout: SizedDataset) -> dict[str, Any] | None:
    """Rank the records of a run beside partners; a record counts in the first run of a lineage that was audited on it.

    Later attempts at a record are made because of how earlier ones came out, so they are no new evidence.

    Args:
        context: the open store.
        run: the run, whose audit is not noted yet.
        report: the report of the audit, in which short tags replace the ids of records.
        holdout: the holdout of the task as the user gave it.

    Returns:
        Values that JSON can hold: the `statistic`, how many records were `attempted`, how many of these are `new`, and
        the fields of `PartnerRanks`, with positions in the holdout as `partners`. None if records were not compared at
        equal difficulty.
    """
    with context.reading() as snapshot:
        history = snapshot.history
        lineage = history.versions[run.parent].lineage
        before = [r for r in runs_of_lineage(history, lineage) if r.number != run.number and RANKS in (r.audit or {})]
        counted = {short_tag(tag) for tag in tags_of(snapshot, {n for r in before for n in r.requests})}
    request = report.inputs.request
    is_new = torch.tensor([name not in counted for name in request.ids])
    places = [_place(at, request.task.holdout, holdout) for at in report.inputs.nonmembers.tolist()]
    served = {at for r in before for at in (r.audit or {})[RANKS]["partners"]}
    found = partner_ranks(
        report.table.scores, is_new, [k for k, at in enumerate(places) if at in served], report.inputs.seed + run.number
    )
    if found is None:
        return None
    return {
        "statistic": RANK_STATISTIC,
        "attempted": len(is_new),
        "new": int(is_new.sum()),
        "records": found.records,
        "before": _rounded(found.before),
        "after": _rounded(found.after),
        "all_after": _rounded(found.all_after),
        "difficulty": _rounded(found.difficulty),
        "partners": sorted(places[k] for k in found.partners),
        "left": found.left,
        "nonmembers": found.nonmembers,
    }


def _place(at: int, seen: SizedDataset, holdout: SizedDataset) -> int:
    """The position in the user's holdout of a record of the audit's, from which classes may have been left out."""
    if seen is holdout or not isinstance(seen, Subset):
        return at
    indices: Sequence[int] = seen.indices
    return int(indices[at])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
