"""Requests by the groups of training records, such as the persons that they belong to."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from efface.data.ids import RecordIds
from efface.data.similar import unknown_ids
from efface.errors import shorten
from efface.types import Indices, RecordId


def positions_in_groups(wanted: Sequence[RecordId], groups: RecordIds, problems: list[str]) -> Indices:
    """The positions of all records of some groups, group by group in the order of the request.

    Args:
        wanted: The keys of the groups.
        groups: The key of each training record's group.
        problems: Problems are added to this.
    """
    if not wanted:
        problems.append("the forget set is empty: name at least one group")
    if repeated := [key for key, n in Counter(wanted).items() if n > 1]:
        problems.append(f"the forget set names groups {shorten(repeated)} more than once: name each once")
    members: dict[RecordId, list[int]] = {key: [] for key in wanted}
    for at, key in enumerate(groups):
        if key in members:
            members[key].append(at)
    if unknown := [key for key, at in members.items() if not at]:
        problems.append(f"{len(unknown)} groups have no training records (Task.groups): {unknown_ids(unknown, groups)}")
    return np.array([at for those in members.values() for at in those], dtype=np.int64)


def remaining_line(forget: Indices, groups: RecordIds) -> str | None:
    """A sentence on the records that stay of groups with a record in the forget set; None if none stays.

    Args:
        forget: The positions of the forget set.
        groups: The key of each training record's group.
    """
    taken = Counter(groups[at] for at in forget.tolist())
    total = Counter(key for key in groups if key in taken)
    left = {key: total[key] - n for key, n in taken.items() if total[key] > n}
    if not left:
        return None
    # without the keys, which may be names of people: reports of a store hold none
    records, many = sum(left.values()), "s" * (len(left) > 1)
    return (
        f"{records} other record{'s' * (records > 1)} of the {len(left)} group{many} that requested records belong to "
        "stay in training: a request by group takes all records of a group"
    )
