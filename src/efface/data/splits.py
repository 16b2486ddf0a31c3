"""The splits of a run: the forget and retain sets, and the parts of retain and holdout for each use."""

from dataclasses import dataclass, replace

import numpy as np

from efface.runtime.printing import Brief
from efface.runtime.seeds import derive_seed
from efface.types import Indices

# The largest number of records in each part: enough for stable statistics, at a cost that does not grow with the data.
# More records than 1,000 to 1,500 made the targets of steer hardly better, at a price that small data do not pay back.
MAX_SIZES = {"heldout_retain": 1000, "audit_reference": 4000, "reference": 1500, "calibration": 1500, "stopping": 500}
RETAIN_SHARES = {"heldout_retain": 0.20, "audit_reference": 0.30, "reference": 0.50}
HOLDOUT_SHARES = {"calibration": 0.5, "stopping": 0.25, "audit": 0.25}
MIN_HOLDOUT = 100


@dataclass(frozen=True, repr=False)
class Splits(Brief):
    """Which records are used for what, as positions in the training set and in the holdout.

    The parts of the retain set have no record in common, nor do the parts of the holdout.

    Args:
        forget: Training records to forget.
        retain: All other training records.
        reference: Retain records that the run's reference model is trained on.
        heldout_retain: Retain records that the run's reference model never sees.
        audit_reference: Retain records that the audit's models are trained on, and that no method may read.
        calibration: Holdout records that a method may read.
        stopping: Holdout records on which a run collects its evidence.
        audit: Holdout records that only an audit reads.
    """

    forget: Indices
    retain: Indices
    reference: Indices
    heldout_retain: Indices
    audit_reference: Indices
    calibration: Indices
    stopping: Indices
    audit: Indices


def spread(records: int, most: int) -> Indices:
    """Up to `most` positions, in order and evenly spaced over a data set, which may be sorted."""
    return np.linspace(0, records - 1, min(records, most)).astype(np.int64)


def make_splits(forget: Indices, records: int, holdout: int, seed: int) -> Splits:
    """Draw the splits of a run; the same arguments always give the same splits.

    Args:
        forget: Positions of the forget set, in any order.
        records: The number of training records.
        holdout: The number of holdout records.
        seed: The seed of the run.
    """
    forget = np.sort(np.asarray(forget, dtype=np.int64))
    retain = np.setdiff1d(np.arange(records, dtype=np.int64), forget)
    # the smaller of the two groups that evidence compares makes most of its error
    most = {**MAX_SIZES, "stopping": max(MAX_SIZES["stopping"], len(forget))}
    of_retain = _divide(retain, RETAIN_SHARES, most, derive_seed(seed, "splits", "retain"))
    every = np.arange(holdout, dtype=np.int64)
    of_holdout = _divide(every, HOLDOUT_SHARES, most, derive_seed(seed, "splits", "holdout"))
    return Splits(forget=forget, retain=retain, **of_retain, **of_holdout)


def leave_out(splits: Splits, forget: Indices, holdout: Indices) -> Splits:
    """Leave records out of the splits of a run, and all other records where they are.

    Args:
        splits: The splits.
        forget: Training records to leave out of the forget set; they join no other part.
        holdout: Holdout records to leave out.
    """
    if not len(forget) and not len(holdout):
        return splits
    parts = {name: at[~np.isin(at, holdout)] for name in HOLDOUT_SHARES for at in (getattr(splits, name),)}
    return replace(splits, forget=splits.forget[~np.isin(splits.forget, forget)], **parts)


def _divide(positions: Indices, shares: dict[str, float], most: dict[str, int], seed: int) -> dict[str, Indices]:
    """Divide shuffled positions by `shares`, up to the sizes `most`; the last part gets the rest, up to its limit."""
    shuffled = np.random.default_rng(seed).permutation(positions)
    parts: dict[str, Indices] = {}
    start, last = 0, list(shares)[-1]
    for name, share in shares.items():
        wanted = len(positions) - start if name == last else round(share * len(positions))
        size = min(wanted, most.get(name, wanted))
        parts[name] = shuffled[start : start + size]
        start += size
    return parts
