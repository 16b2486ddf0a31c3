"""Checks of the forget set and of the data sets: every problem is found before any work starts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from efface.data.groups import NO_GROUPS, positions_in_groups, read_groups
from efface.data.ids import ByGroup, RecordIds, read_asked
from efface.data.index import positions_of
from efface.data.limits import LARGE_SHARE, MAX_SHARE, MIN_RETAIN
from efface.data.naming import Names, check_numbering, name_records
from efface.data.similar import similar_warnings, unknown_ids
from efface.data.splits import MIN_HOLDOUT
from efface.errors import RequestError, shorten
from efface.runtime.printing import how_many, how_many_do
from efface.task import Task
from efface.types import Indices, RecordId

EMPTY: Indices = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class ForgetSet:
    """The records to forget.

    Args:
        names: What all training records are called.
        at: The positions of the records to forget in the training set, in the order of the request.
    """

    names: Names
    at: Indices


@dataclass
class Findings:
    """What checks found.

    Args:
        problems: Reasons to refuse the request, one line each.
        warnings: Remarks for the result and the report, one line each.
        forget_classes: Classes whose records are all in the request.
        class_shares: For each class with records in the request, the share of its records that is, in (0, 1].
        classes_left: Number of classes with records that stay.
        without_ids: What some of the warnings, which name ids, say without them.
        labels: The label of each forget record in short, in the order of the request; empty if they were not read.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    forget_classes: list[int] = field(default_factory=list)
    class_shares: dict[int, float] = field(default_factory=dict)
    classes_left: int = 0
    without_ids: dict[str, str] = field(default_factory=dict)
    labels: list[int | str] = field(default_factory=list)

    def add_problem(self, line: str) -> None:
        """Add a problem unless it is in the list already."""
        if line not in self.problems:
            self.problems.append(line)

    def refuse(self) -> None:
        """Raise RequestError with all problems, if there are any."""
        if self.problems:
            raise RequestError(self.problems)


def read_forget(forget: Any, found: Findings) -> list[RecordId]:
    """Convert the ids to forget, or the keys of the groups to forget, to Python integers and strings.

    Args:
        forget: As `read_asked` takes it.
        found: Problems with the types of `forget` and of its ids are added to this.

    Returns:
        The ids or keys; empty if there is a problem.
    """
    return read_asked(forget, found.problems)


def find_forget(task: Task, forget: Any, asked: Sequence[RecordId], records: int, found: Findings) -> ForgetSet:
    """Look up the records to forget by their ids or groups, and check their number.

    Args:
        task: The task, whose ids and groups are checked too.
        forget: The request as it was given.
        asked: What it names, from `read_forget`.
        records: The number of training records.
        found: Problems and warnings are added to this.
    """
    before = len(found.problems)
    names = name_records(task, records, found.problems)
    unread = len(found.problems) > before
    groups = read_groups(task, records, found.problems)
    if isinstance(forget, ByGroup):
        if task.groups is None:
            found.problems.append(NO_GROUPS)
        at = positions_in_groups(asked, groups, found.problems) if groups else EMPTY
    else:
        at = _look_up(names, asked, unread, groups, found)
    if len(found.problems) == before:
        check_size(len(at), records, found)
        known = names.ids if groups is None or not isinstance(forget, ByGroup) else groups
        found.without_ids |= (similar := similar_warnings(asked, known))
        found.warnings += similar
    return ForgetSet(names, at)


def _look_up(
    names: Names, asked: Sequence[RecordId], unread: bool, groups: RecordIds | None, found: Findings
) -> Indices:
    """The positions of ids in the training set, in their order."""
    if len(asked) == 0:
        found.problems.append("the forget set is empty: name at least one record id")
    repeated = [i for i, n in Counter(asked).items() if n > 1]
    if repeated:
        found.problems.append(
            f"the forget set names {shorten(repeated)} more than once ({how_many(len(repeated), 'id')}): name each once"
        )
    if unread:
        return EMPTY
    at = positions_of(asked, names.ids)
    unknown = [i for i in dict.fromkeys(asked) if i not in at]
    if unknown:
        found.problems.append(
            f"{how_many_do(len(unknown), 'forget id')} not in the training records ({names.where}): "
            f"{unknown_ids(unknown, names.ids)}{_as_groups(unknown, groups)}"
        )
    check_numbering(names, asked, found.problems)
    return np.array([at[i] for i in dict.fromkeys(asked) if i in at], dtype=np.int64)


def _as_groups(unknown: Sequence[RecordId], groups: RecordIds | None) -> str:
    """What to do where ids that are no record's are keys of groups; else empty."""
    keys = set(unknown) & set(groups or ())
    known = [name for name in unknown if name in keys]
    return f"; {shorten(known)} are keys of Task.groups: give efface.ByGroup([...]), or --groups" if known else ""


def check_size(forget: int, records: int, found: Findings) -> None:
    """Check that a request is no larger than is supported.

    Args:
        forget: The number of records to forget.
        records: The number of training records.
        found: Problems and warnings are added to this.
    """
    if forget >= records:
        found.problems.append("the forget set holds every training record: nothing is left to keep, train a new model")
        return
    share = forget / records
    if share > MAX_SHARE:
        found.problems.append(
            f"the forget set is {share:.0%} of the training records; requests above {MAX_SHARE:.0%} are not "
            "supported yet: split the request, or retrain"
        )
    elif share > LARGE_SHARE:
        found.warnings.append(
            f"the forget set is {share:.1%} of the training records; above {LARGE_SHARE:.0%} moves retain records "
            "noticeably too"
        )
    if records - forget < MIN_RETAIN:
        found.problems.append(f"{how_many(records - forget, 'record')} would remain; at least {MIN_RETAIN} are needed")


def check_holdout(task: Task, records: int, found: Findings) -> None:
    """Check that the holdout has enough records, and warn if it was used for something else.

    Args:
        task: The task.
        records: The number of holdout records.
        found: Problems and warnings are added to this.
    """
    if records < MIN_HOLDOUT:
        found.problems.append(
            f"the holdout has {how_many(records, 'record')}; at least {MIN_HOLDOUT} that the model never saw are "
            "needed (some 500 for stable targets, as many as the forget set for telling evidence)"
        )
    if task.holdout_used_for != "nothing":
        found.warnings.append(
            f"the holdout also served for {task.holdout_used_for}: it may look slightly like a member"
        )
