"""The training records that a rehearsal may take, and what they are matched by."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from efface.auditing.inputs import AuditInputs
from efface.auditing.rehearsal.like import Like, Members, as_members, draw_like
from efface.auditing.rehearsal.size import MAX_SHARE, SIZES
from efface.models.running import unseen_logits
from efface.numerics.clusters import repeats
from efface.runtime.cost import Meter
from efface.runtime.seeds import derive_seed
from efface.types import Indices

MAX_CANDIDATES = 4000  # drawn at random: enough of any kind, at a bounded price


class NoRehearsalError(Exception):
    """Why a request cannot be rehearsed, in words."""


def draw(inputs: AuditInputs, references: Sequence[nn.Module], meter: Meter) -> Like:
    """Draw training records of the requested kind, as many as a rehearsal may take.

    What trains the audit's reference models is no candidate, since these must not know what they are compared with; nor
    are other records of the groups of such, or of the requested ones. Where groups have several records, whole groups
    are drawn.

    Args:
        inputs: The checked audit.
        references: Its reference models.
        meter: Charged with reading the candidates.

    Raises:
        NoRehearsalError: There are too few candidates.
    """
    request, seed = inputs.request, derive_seed(inputs.seed, "rehearsal", "draw")
    free = np.setdiff1d(inputs.splits.retain, inputs.splits.audit_reference)
    free = free[request.given.can_leave(free)]
    own, of_free = _groups(inputs, free)
    if of_free is not None:
        free, of_free = free[(of_free >= 0).numpy()], of_free[of_free >= 0]
    elif len(free) > MAX_CANDIDATES:
        free = np.sort(np.random.default_rng(seed).choice(free, MAX_CANDIDATES, replace=False))
    most = min(SIZES[-1], int(MAX_SHARE * len(request.train)), len(free) // 2)
    if most < SIZES[0]:
        raise NoRehearsalError(
            f"{max(most, 0)} other training records could be rehearsed, and it takes {SIZES[0]} or more"
        )

    def members(at: Indices, numbers: Tensor | None) -> Members:
        # requested records have left already, and each of the others is read as if it had
        targets, count = request.train.targets(at), len(request.forget)
        read = [unseen_logits(request.task, m, request.train, at, count, meter) for m in references]
        margins = [request.task.rules.margin(values, targets) for values in read]
        return as_members(at, torch.stack(margins).mean(0), numbers)

    return draw_like(members(request.forget, own), members(free, of_free), most, seed)


def _groups(inputs: AuditInputs, free: Indices) -> tuple[Tensor | None, Tensor | None]:
    """Numbers of the groups of the requested and the free records, -1 for those that may not be drawn.

    None for both where each record is a group of its own.
    """
    request = inputs.request
    parts = (request.forget, free, inputs.splits.audit_reference)
    numbers = request.clusters_of(np.concatenate(parts))
    if numbers is None or not repeats(numbers):
        return None, None
    own, of_free, taken = numbers.split([len(p) for p in parts])
    barred = torch.isin(of_free, torch.cat([own, taken]))
    return own, of_free.masked_fill(barred, -1)
