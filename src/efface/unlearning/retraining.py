"""The checks of a retraining that leaves records out: those of `unlearn` that do not depend on a trained model."""

from collections.abc import Sequence

from torch import nn

from efface.data.checks import EMPTY, Findings
from efface.data.contents import check_classes_left, check_contents, note_classes
from efface.data.groups import read_keys, remaining_line
from efface.data.naming import name_records
from efface.data.overlap import check_order, check_test
from efface.data.reading import gathering
from efface.data.task_sets import TaskSets, read_sets
from efface.data.twin_policy import TwinPolicy
from efface.data.twins import settle
from efface.models.checks import check_model
from efface.models.kind import with_kind
from efface.runtime.seeds import seeded
from efface.task import Task
from efface.types import Indices, RecordId


def check_retraining(task: Task, network: nn.Module, forget: Indices) -> tuple[str, ...]:
    """Check the records that a model is to be trained on again, and that none that stays is a twin of one that leaves.

    How many records leave, and how few the holdout has, does not matter to a retraining.

    Args:
        task: The task.
        network: An untrained network that the task made.
        forget: Positions of the records that leave; none may leave.

    Returns:
        Warnings, one line each.

    Raises:
        RequestError: Something is wrong; all problems are listed.
    """
    found = Findings()
    names = name_records(task, len(task.train), found.problems)
    keys = read_keys(task, found.problems)
    found.refuse()
    task = with_kind(network, task, read_sets(task, names.ids).train)
    sets = read_sets(task, names.ids)
    with gathering(found):
        if len(forget) == len(sets.train):
            found.problems.append("every training record is to be forgotten: nothing is left to train on")
        if not len(sets.holdout):
            found.problems.append("the holdout set is empty: efface needs records that the model never saw")
        sets.check(forget, True, found)
        with seeded(0):
            of_network = Findings()
            width = check_model(network, task, sets.train, of_network, trained=False)
        found.problems += [f"Task.build_model: {line}" for line in of_network.problems]
        _compare(sets, forget, names.ids, width, found)
        if sets.test is not None:
            check_test(sets.test, {}, width, found)
    if "train" in keys and (line := remaining_line(forget, keys["train"])):
        found.warnings.append(line)
    return tuple(found.warnings)


def _compare(sets: TaskSets, forget: Indices, ids: Sequence[RecordId], width: int | None, found: Findings) -> None:
    """Compare all records; twins of those that leave are refused."""
    contents = check_contents(sets.train, sets.holdout, forget, width, found, hash_all=False)
    if sets.given is not None and len(sets.given) == len(sets.train):
        check_order(sets.given, sets.train, contents, found)
    settle(contents.twin_sets, TwinPolicy(), sets.train, forget, ids, found)
    if len(contents.shared):
        found.warnings.append(
            f"{len(contents.shared)} holdout records are also training records (equal inputs), the first at holdout "
            f"position {contents.shared[0]}: the loss of accuracy that is measured on the holdout looks smaller by them"
        )
    note_classes(contents.counts, sets.train, forget, EMPTY, found)
    check_classes_left(True, found)
