"""Who is used for what: the forget and retain sets, and the parts of retain and holdout with one job each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from efface.runtime.seeds import derive_seed
from efface.types import Indices, RecordId

# What one part may hold at the most: enough for stable statistics, and a cost that does not grow with the data.
MAX_SIZES = {"members": 2000, "audit_reference": 4000, "reference": 6000, "calibration": 2500, "stopping": 2500}


RETAIN_SHARES = {"members": 0.20, "audit_reference": 0.30, "reference": 0.50}


HOLDOUT_SHARES = {"calibration": 0.5, "stopping": 0.25, "audit": 0.25}


MIN_HOLDOUT = 100


@dataclass(frozen=True)
class Splits:
    """Who is used for what, as positions in the training and holdout sets; no two fields of a set overlap.

    forget, retain, reference, members and audit_reference are positions in the training set, of which
    reference (the method's reference model is trained on it), members (retain records which that reference never
    saw) and audit_reference (kept for the audit's own models) are parts of retain. calibration, stopping and audit
    are positions in the holdout set.
    """

    forget: Indices
    retain: Indices
    reference: Indices
    members: Indices
    audit_reference: Indices
    calibration: Indices
    stopping: Indices
    audit: Indices


def positions_of(forget: Sequence[RecordId], ids: Sequence[RecordId] | None, records: int) -> dict[RecordId, int]:
    """Position of each forget id in the training set; ids that are not there are left out.

    `ids` names the training records in order; None means that a record's index is its id.
    """
    if ids is None:
        return {i: int(i) for i in forget if isinstance(i, int | np.integer) and 0 <= i < records}
    wanted = set(forget)
    return {name: at for at, name in enumerate(ids) if name in wanted}


def make_splits(forget: Indices, records: int, holdout: int, seed: int) -> Splits:
    """Divide the training records and the holdout, by `seed` alone.

    Order of the draw is fixed, so an audit that knows the seed finds the same parts again.
    """
    forget = np.sort(np.asarray(forget, dtype=np.int64))
    retain = np.setdiff1d(np.arange(records, dtype=np.int64), forget)
    ours = _divide(retain, RETAIN_SHARES, derive_seed(seed, "splits", "retain"))
    theirs = _divide(np.arange(holdout, dtype=np.int64), HOLDOUT_SHARES, derive_seed(seed, "splits", "holdout"))
    return Splits(forget=forget, retain=retain, **ours, **theirs)


def _divide(positions: Indices, shares: dict[str, float], seed: int) -> dict[str, Indices]:
    """Cut a shuffled copy by `shares`, no part above its MAX_SIZES; what other parts may not hold goes to the last one."""
    shuffled = np.random.default_rng(seed).permutation(positions)
    parts: dict[str, Indices] = {}
    start, last = 0, list(shares)[-1]
    for name, share in shares.items():
        wanted = len(positions) - start if name == last else round(share * len(positions))
        size = min(wanted, MAX_SIZES.get(name, wanted))
        parts[name] = shuffled[start : start + size]
        start += size
    return parts
