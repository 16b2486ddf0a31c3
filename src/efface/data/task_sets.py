"""The data sets of a task, which are read and checked together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from efface.data.checks import EMPTY, Findings
from efface.data.contents import Marks, check_contents, note_classes
from efface.data.overlap import check_order, check_shared
from efface.data.reading import check_eval_labels, check_layout, check_reading, check_rereading
from efface.data.records import Records
from efface.data.twin_policy import TwinPolicy
from efface.data.twins import Settled, settle
from efface.errors import RequestError
from efface.task import Task
from efface.types import Indices, RecordId


@dataclass(frozen=True)
class TaskSets:
    """The records of a task.

    Args:
        train: The training records, as efface reads them: `eval_records` if the task has them.
        holdout: The holdout records.
        test: The test records; None if the task has none.
        given: The training records as `Task.train` gives them, if the task has `eval_records`; else None.
    """

    train: Records
    holdout: Records
    test: Records | None
    given: Records | None

    @property
    def by_name(self) -> Mapping[str, Records]:
        """The sets that are read, by name in messages."""
        first = "training" if self.given is None else "eval_records"
        sets = {first: self.train, "holdout": self.holdout}
        return sets if self.test is None else {**sets, "test": self.test}

    def check(self, forget: Indices, compare: bool, found: Findings) -> None:
        """Check that all sets are read alike, always in the same way, and that eval_records have the labels of train.

        Args:
            forget: Positions of the forget set.
            compare: Whether it must be possible to compare records by content.
            found: Problems are added to this.

        Raises:
            RequestError: Records cannot be read at all.
        """
        sets = self.by_name
        if self.given is not None and len(self.given) != len(self.train):
            found.problems.append(
                "eval_records has another length than train: it must hold the same records, same order"
            )
        if not all([check_reading(records, name, found, compare) for name, records in sets.items()]):
            raise RequestError(found.problems)
        for name, records in sets.items():
            _ = records.can_cut  # found out here, so that no record is read for it later
            check_rereading(records, name, forget if records is self.train else EMPTY, found)
        check_layout(self.train, {name: r for name, r in sets.items() if r is not self.train}, found)
        if self.given is not None and len(self.given) == len(self.train) > 0:
            check_eval_labels(self.given, self.train, forget, found)


def read_sets(task: Task, ids: Sequence[RecordId]) -> TaskSets:
    """The records of a task, whose sets are map-style; `ids` are those of the training records, for messages."""
    augments = task.eval_records is not None
    read = task.train if task.eval_records is None else task.eval_records
    return TaskSets(
        train=Records(read, task, "eval_records" if augments else "train", ids),
        holdout=Records(task.holdout, task, "holdout"),
        test=None if task.test is None else Records(task.test, task, "test"),
        given=Records(task.train, task, "train", ids) if augments else None,
    )


@dataclass(frozen=True)
class Compared:
    """What was found by comparing all records.

    Args:
        settled: The records to forget, with what was done about their twins.
        shared: Positions of the holdout records that equal training records.
        marks: A checksum or content hash of the inputs of each record, by name of the set.
    """

    settled: Settled
    shared: Indices = field(default_factory=lambda: EMPTY)
    marks: Mapping[str, Marks] = field(default_factory=dict)


def compare_all(
    sets: TaskSets,
    forget: Indices,
    ids: Sequence[RecordId],
    width: int | None,
    policy: TwinPolicy,
    hash_all: bool,
    found: Findings,
) -> Compared:
    """Check and compare all records, settle the twins of the request, and note its classes.

    Args:
        sets: The records of a task.
        forget: Positions of the forget set.
        ids: The ids of the training records.
        width: The width of the model's outputs; None if it is not known.
        policy: What is to be done with twins.
        hash_all: Whether to hash every record.
        found: Problems and warnings are added to this.
    """
    contents = check_contents(sets.train, sets.holdout, forget, width, found, hash_all)
    if sets.given is not None and len(sets.given) == len(sets.train):
        check_order(sets.given, sets.train, contents, found)
    settled = settle(contents.twin_sets, policy, sets.train, forget, ids, found)
    check_shared(contents.shared, len(sets.holdout), found)
    note_classes(contents.counts, sets.train, settled.forget, settled.kept, found)
    return Compared(settled, contents.shared, contents.marks)
