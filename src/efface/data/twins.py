"""Twins: training records outside of a request with the inputs of a forget record, and what is done with them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from efface.data.checks import EMPTY, Findings, check_size
from efface.data.records import Records
from efface.data.twin_policy import TwinPolicy
from efface.errors import shorten
from efface.runtime.printing import how_many_do
from efface.types import Indices, RecordId

SHOWN = 20  # forget records whose twins a refusal lists
# what a refusal says to do; stores, which take no such options, say something else in its place
TWINS_WAY_OUT = (
    'forget the twins too (twins="forget" with confirmed=[...] in the options; --twins forget --confirm FILE), or '
    'leave such records out of the request and of all tests (twins="keep" in the options; --twins keep)'
)
AS_CONFIRMED = "are forgotten too, as was confirmed"
TO_CONFIRM = 1000  # ids of twins that a refusal lists where they are to be confirmed


@dataclass(frozen=True)
class TwinSet:
    """Training records of equal inputs, of which some are to be forgotten and others are not in the request.

    Args:
        forget: Positions of the forget records.
        twins: Positions of the others.
    """

    forget: tuple[int, ...]
    twins: tuple[int, ...]


@dataclass(frozen=True)
class Settled:
    """The records of a request after its twins were settled, as positions in the training set.

    Args:
        forget: The records to forget: those of the request in its order, without kept ones, and then forgotten twins.
        forgotten: Twins that are forgotten beside the request.
        kept: Records of the request that a twin keeps in training.
    """

    forget: Indices
    forgotten: Indices
    kept: Indices


def settle(
    twin_sets: Sequence[TwinSet],
    policy: TwinPolicy,
    train: Records,
    forget: Indices,
    ids: Sequence[RecordId],
    found: Findings,
) -> Settled:
    """Decide about the twins of a request.

    Args:
        twin_sets: The twins.
        policy: What is to be done with them.
        train: The training records.
        forget: Positions of the forget set, in the order of the request.
        ids: The ids of the training records.
        found: Problems and warnings are added to this.
    """
    with_twin = np.array(sorted(at for one in twin_sets for at in one.forget), dtype=np.int64)
    twins = np.array(sorted(at for one in twin_sets for at in one.twins), dtype=np.int64)
    if policy.twins == "forget":
        _check_confirmed([_id(at, ids) for at in twins.tolist()], policy, found)
        if len(twins):
            found.warnings.append(f"{len(twins)} twins of forget records (equal inputs) {AS_CONFIRMED}")
            check_size(len(forget) + len(twins), len(train), found)
        return Settled(np.concatenate([forget, twins]), twins, EMPTY)
    if not twin_sets:
        return Settled(forget, EMPTY, EMPTY)
    if policy.twins == "keep":
        if len(with_twin) == len(forget):
            found.problems.append(
                f"every forget record has a twin (equal inputs) that stays in training and is kept, so nothing is left "
                f'to forget: {_names(forget, ids)}; forget the twins too (twins="forget")'
            )
        found.warnings.append(
            f"{len(with_twin)} of {len(forget)} forget records have a twin (equal inputs) that stays in training, and "
            "are left out of the request and of all tests, since a model trained without them knows their inputs too"
        )
        return Settled(forget[~np.isin(forget, with_twin)], EMPTY, with_twin)
    found.problems.append(_refusal(twin_sets, train, ids, len(with_twin)))
    return Settled(forget, EMPTY, EMPTY)


def _refusal(twin_sets: Sequence[TwinSet], train: Records, ids: Sequence[RecordId], count: int) -> str:
    everyone = sorted({at for one in twin_sets for at in (*one.forget, *one.twins)})
    # inputs are equal, so hashes of records differ where targets do
    whole = dict(zip(everyone, train.hashes(everyone), strict=True))
    lines = []
    by_record = {at: one for one in twin_sets for at in one.forget}
    for at, one in sorted(by_record.items()):
        same = sum(whole[t] == whole[at] for t in one.twins)
        with_other = (
            "" if same == len(one.twins) else " with another label" if not same else ", some with another label"
        )
        lines.append(f"{_id(at, ids)!r} (twin of {_names(np.array(one.twins), ids)}{with_other})")
    listed = ", ".join(lines[:SHOWN]) + (f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else "")
    return (
        f"{how_many_do(count, 'forget record', 'has', 'have')} an exact twin that stays in training, which defeats "
        f"forgetting: {listed}; {TWINS_WAY_OUT}"
    )


def _check_confirmed(twins: Sequence[RecordId], policy: TwinPolicy, found: Findings) -> None:
    """Check that the twins found are just those that the caller confirmed."""
    found_ids, confirmed = set(twins), set(policy.confirmed)
    missing = [i for i in twins if i not in confirmed]
    extra = [i for i in dict.fromkeys(policy.confirmed) if i not in found_ids]
    if missing:
        found.problems.append(
            f"{len(missing)} twins of forget records (equal inputs) are not confirmed: {shorten(missing, TO_CONFIRM)}; "
            "look at them, and confirm that they are to be forgotten too (confirmed=[...], --confirm FILE)"
        )
    if extra:
        found.problems.append(
            f"{len(extra)} confirmed ids are no twins of a forget record: {shorten(extra, SHOWN)}; confirm just twins"
        )


def _id(at: int, ids: Sequence[RecordId]) -> RecordId:
    return ids[at] if at < len(ids) else at


def _names(positions: Indices, ids: Sequence[RecordId]) -> str:
    return shorten([_id(at, ids) for at in positions.tolist()])
