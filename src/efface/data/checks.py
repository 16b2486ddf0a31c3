"""Checks of the forget set and of the data sets: every problem is found before any work starts."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field

import numpy as np
from torch.utils.data import DataLoader, Dataset

from efface.data.ids import as_python_ids, id_problems, positions_of
from efface.data.records import Records, content_hashes
from efface.data.splits import MIN_HOLDOUT
from efface.errors import RequestError, describe_error, shorten
from efface.task import Task
from efface.types import Indices, RecordId

LARGE_SHARE = 0.05
MAX_SHARE = 0.20
MIN_RETAIN = 60


@dataclass
class Findings:
    """What checks found.

    Args:
        problems: Reasons to refuse the request, one line each.
        warnings: Remarks for the result and the report, one line each.
        forget_classes: Classes whose records are all in the request.
        class_shares: For each class with records in the request, the share of its records that is, in (0, 1].
        classes_left: Number of classes with records that stay.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    forget_classes: list[int] = field(default_factory=list)
    class_shares: dict[int, float] = field(default_factory=dict)
    classes_left: int = 0

    def add_problem(self, line: str) -> None:
        """Add a problem unless it is in the list already."""
        if line not in self.problems:
            self.problems.append(line)

    def refuse(self) -> None:
        """Raise RequestError with all problems, if there are any."""
        if self.problems:
            raise RequestError(self.problems)


def read_forget(forget: Collection[RecordId], found: Findings) -> list[RecordId]:
    """Convert the ids to forget to Python integers and strings.

    Args:
        forget: A list or other sequence, a one-dimensional array or tensor, or a set, which is sorted.
        found: Problems with the types of `forget` and of its ids are added to this.

    Returns:
        The ids; empty if there is a problem.
    """
    if isinstance(forget, Dataset | DataLoader):
        kind = type(forget).__name__
        found.problems.append(f"forget: expected the ids of records, got records ({kind}): give ids, such as [17, 402]")
        return []
    if isinstance(forget, str | bytes | Mapping) or not (hasattr(forget, "__len__") and hasattr(forget, "__iter__")):
        found.problems.append(f"forget: expected a sequence of record ids, got {type(forget).__name__}")
        return []
    dimensions = getattr(forget, "ndim", 1)
    if dimensions != 1:
        found.problems.append(
            f"forget: expected a one-dimensional sequence of record ids, got a {dimensions}-D {type(forget).__name__}"
        )
        return []
    values = as_python_ids(forget)
    if any(isinstance(v, bool) for v in values):
        found.problems.append("forget: a boolean mask: give ids, e.g. mask.nonzero()[0] in NumPy or [:, 0] in torch")
        return []
    others = [v for v in values if not isinstance(v, int | str)]
    if others:
        found.problems.append(f"forget: record ids are integers or strings, got {shorten(others)}")
        return []
    # the order of a set of strings changes from one process to the next
    return sorted(values, key=lambda v: (isinstance(v, str), v)) if isinstance(forget, Set) else values


def check_forget(task: Task, forget: Sequence[RecordId], records: int, found: Findings) -> Indices:
    """Look up the forget ids, and check their number.

    Args:
        task: The task, whose ids are checked too.
        forget: Ids from `read_forget`.
        records: The number of training records.
        found: Problems and warnings are added to this.

    Returns:
        The positions of the forget ids in the training set, in the order of the request.
    """
    before = len(found.problems)
    problems = [] if task.ids is None else id_problems(task.ids, records)
    found.problems += problems
    if len(forget) == 0:
        found.problems.append("the forget set is empty: name at least one record id")
    repeated = [i for i, n in Counter(forget).items() if n > 1]
    if repeated:
        found.problems.append(
            f"the forget set names {shorten(repeated)} more than once ({len(repeated)} ids): name each once"
        )
    if problems:
        return np.empty(0, dtype=np.int64)
    at = positions_of(forget, task.ids, records)
    unknown = [i for i in dict.fromkeys(forget) if i not in at]
    if unknown:
        where = "the ids given" if task.ids is not None else f"indices 0 to {records - 1}"
        found.problems.append(
            f"{len(unknown)} forget ids are not in the training records ({where}): {shorten(unknown)}"
        )
    if len(found.problems) == before:
        _check_size(len(at), records, found)
    return np.array([at[i] for i in dict.fromkeys(forget) if i in at], dtype=np.int64)


def _check_size(forget: int, records: int, found: Findings) -> None:
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
        found.problems.append(f"{records - forget} records would remain; at least {MIN_RETAIN} are needed")


def check_holdout(task: Task, records: int, found: Findings) -> None:
    """Check that the holdout has enough records, and warn if it was used for something else.

    Args:
        task: The task.
        records: The number of holdout records.
        found: Problems and warnings are added to this.
    """
    if records < MIN_HOLDOUT:
        found.problems.append(
            f"the holdout has {records} records; at least {MIN_HOLDOUT} that the model never saw are needed "
            "(some 500 for stable targets, as many as the forget set for telling evidence)"
        )
    if task.holdout_used_for != "nothing":
        found.warnings.append(
            f"the holdout also served for {task.holdout_used_for}: it may look slightly like a member"
        )


def check_reading(records: Records, where: str, found: Findings) -> bool:
    """Check that records can be read, two at a time and singly.

    Args:
        records: The records.
        where: Name of the set in messages, such as "training".
        found: Problems are added to this.

    Returns:
        Whether they can be read.
    """
    if not len(records):
        return True
    try:
        content_hashes(records.read([0, min(1, len(records) - 1)]))
    except Exception as error:  # a user's dataset and hooks may raise anything; report it in one line
        found.problems.append(
            f"{where} records cannot be read ({describe_error(error)}): give Task.unpack or Task.collate"
        )
        return False
    try:
        records.hashes([0])
    except Exception as error:
        found.problems.append(
            f"{where} records can be read two at a time but not one alone ({describe_error(error)}): "
            "Task.collate and Task.unpack must take a batch of one record"
        )
        return False
    return True


def check_rereading(records: Records, positions: Indices, found: Findings) -> None:
    """Check that records are the same when read twice; a dataset that augments at random cannot be scored.

    The first 24 records are read too, since a few records alone may happen to be augmented the same way twice.

    Args:
        records: The training records.
        positions: Positions of the forget set, of which the first 8 are read.
        found: Problems are added to this.
    """
    some = np.union1d(positions[:8], np.arange(min(24, len(records))))
    if len(some) and content_hashes(records.read(some)) != content_hashes(records.read(some)):
        found.problems.append(
            "training records differ when read twice, so the dataset augments at random: "
            "give Task.eval_records, the same records in the same order without augmentation"
        )
