"""A look that trains: how many steps a single record needs to be learned again, beside never-seen records like it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from efface.attacks.outputs import RecordSet
from efface.attacks.relearn_alone import relearn_alone
from efface.auditing.audit_test import ALPHA
from efface.auditing.inputs import AuditInputs
from efface.auditing.single.record_ranks import RecordRanks
from efface.runtime.cost import Meter
from efface.runtime.printing import Brief
from efface.types import Indices

KEY, TITLE = "relearning", "Steps to learn it again"
MAX_RECORDS = 3  # requested records that are learned again; each takes some hundred short trainings
OTHERS = 19  # so that the least share that can be as quick by chance is 5 %


@dataclass(frozen=True, repr=False)
class Pool(Brief):
    """Records to compare with.

    Args:
        positions: Their positions in their data set, (m,).
        difficulty: Their mean margin under models that never saw them, on the symmetric log, (m,).
        classes: Their classes, (m,); None where records have none.
    """

    positions: Indices
    difficulty: Tensor
    classes: Tensor | None

    def nearest(self, to: "Pool", at: int) -> Indices:
        """Positions of the OTHERS records nearest to one of a pool in difficulty; those of its class come first."""
        away = (self.difficulty - to.difficulty[at]).abs()
        if self.classes is not None and to.classes is not None:
            away = away + (away.max() + 1) * (self.classes != to.classes[at])
        nearest: Indices = self.positions[away.argsort(stable=True)[:OTHERS].numpy()]
        return nearest


def ranks_by_relearning(
    inputs: AuditInputs,
    retrained: Sequence[nn.Module],
    requested: Pool,
    never_seen: Pool,
    training: Pool,
    meter: Meter,
) -> RecordRanks:
    """Learn the first requested records again, each alone, and never-seen records like each.

    Args:
        inputs: The checked audit.
        retrained: Models trained without the forget set; the first is looked at.
        requested: The requested records.
        never_seen: Records of the holdout.
        training: Records that stay in training, which say what the look could have seen.
        meter: Charged with what is trained.
    """
    count = min(MAX_RECORDS, len(requested.positions))
    if min(len(never_seen.positions), len(training.positions)) < OTHERS:
        return RecordRanks.missing(
            KEY, TITLE, f"needs {OTHERS} never-seen records and {OTHERS} training records that stay"
        )
    request = inputs.request
    models = {"original": inputs.original, "unlearned": inputs.unlearned}
    models |= {"retrained": retrained[0]} if retrained else {}
    ranks: dict[str, list[float]] = {who: [] for who in models}
    could_see = []
    for at in range(count):
        unseen, staying = never_seen.nearest(requested, at), training.nearest(requested, at)
        for who, model in models.items():
            known = staying if who == "original" else np.empty(0, np.int64)
            task = request.task.after(known)
            train = np.concatenate([requested.positions[at : at + 1], known])
            sets = RecordSet(request.train, train), RecordSet(request.holdout, unseen)
            quicker = _share_slower(*(relearn_alone(task, model, s, inputs.seed, meter) for s in sets))
            ranks[who].append(float(quicker[0]))
            if who == "original":
                could_see.append(float((quicker[1:] > 1 - ALPHA).double().mean()))
    return RecordRanks(
        KEY,
        TITLE,
        OTHERS,
        tuple(range(count)),
        {who: tuple(values) for who, values in ranks.items()},
        tuple(could_see),
    )


def _share_slower(own: Tensor, others: Tensor) -> Tensor:
    """For each value the share of the others that are larger, those that are equal counted half."""
    above, same = others > own[:, None], others == own[:, None]
    return (above.double() + 0.5 * same.double()).mean(1)
