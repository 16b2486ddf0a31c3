"""The checks of a run and of its audit, made for a request that nobody has made."""

from collections import Counter
from dataclasses import dataclass, replace

from torch import nn

from efface.data.checks import Findings
from efface.data.contents import marked
from efface.data.groups import read_groups
from efface.data.naming import name_records
from efface.data.objects import UncomparableError
from efface.data.records import Records
from efface.data.task_sets import read_sets
from efface.errors import EffaceError, RequestError, collect_errors
from efface.models.checks import check_fresh, check_model, check_trainable
from efface.request import Request, check_request
from efface.runtime.kinds import dataset_problem
from efface.task import Task, check_task, unpack_pair
from efface.types import RecordId
from efface.unlearning.checks import check_unlearn
from efface.unlearning.options import DEFAULT_OPTIONS

NOTHING_ASKED = "the forget set is empty"  # not to be said where there are no records to ask for


@dataclass(frozen=True)
class Checked:
    """What the checks found.

    Args:
        task: The task, with the numbering of a Subset stated, so that ids are not ambiguous.
        request: A request for one record that passed all checks; None if something is wrong.
        problems: Why whatever is asked would be refused.
        warnings: What the checks noted.
    """

    task: Task
    request: Request | None
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def make_checks(model: nn.Module | None, task: Task) -> Checked:
    """Make the checks of a default run and of its audit, for a request of one record without a twin.

    Args:
        model: The model; None if it could not be loaded, so that the task alone is checked.
        task: The task.
    """
    problems: list[str] = []
    records, task = readable(task, "train"), _with_numbering(task)
    asked: list[RecordId] = []
    if records is not None and len(records):
        asked.append(_name_of(task, _without_twin(records), len(records)))
    found = None
    if model is not None:
        found = collect_errors(problems, check_unlearn, [], model, task, asked, "steer", DEFAULT_OPTIONS)
    if model is None or found is None:
        _check_parts_alone(model, records, task, problems)
        own = [line for line in problems if asked or not line.startswith(NOTHING_ASKED)]
        return Checked(task, None, tuple(dict.fromkeys(own)), ())
    # an audit compares test records too, which a run does not read
    for_audit = collect_errors(problems, check_request, model, task, asked, full=True, for_audit=True, fresh=False)
    noted = dict.fromkeys([*found[0].warnings, *(() if for_audit is None else for_audit.warnings)])
    return Checked(task, for_audit, tuple(problems), tuple(noted))


def readable(task: Task, name: str) -> Records | None:
    """The records of one of a task's data sets; None if there are none, or they are no map-style data set."""
    data = getattr(task, name)
    if data is None or dataset_problem(data, task.unpack is not unpack_pair):
        return None
    if name != "train":
        return Records(data, task, name)
    return read_sets(task, ()).train if task.holdout is not None else Records(data, task, "train")


def _with_numbering(task: Task) -> Task:
    """The task, with positions in a Subset taken for those in its data set where it says nothing."""
    if task.ids is not None or readable(task, "train") is None:
        return task
    names = name_records(task, len(task.train), [])
    return task if names.numbering is None else replace(task, ids=names.numbering)


def _name_of(task: Task, at: int, records: int) -> RecordId:
    """The id of a record; its position where ids cannot be read, which the checks report."""
    names = name_records(task, records, [])
    return names.ids[at] if at < len(names.ids) else at


def _without_twin(records: Records) -> int:
    """The position of the first record without a twin whose class has others; 0 if there is none, or none is read."""
    marks, labels = [], []
    try:
        for batch, of_batch in marked(records, hash_all=True):
            marks += of_batch.tolist()
            labels += batch.targets.flatten().tolist()
    except (EffaceError, UncomparableError):
        return 0  # the checks name the record that cannot be read
    times, classes = Counter(marks), Counter(labels)
    alone = (i for i, (mark, label) in enumerate(zip(marks, labels, strict=False)) if times[mark] == 1 < classes[label])
    return next(alone, 0)


def _check_parts_alone(model: nn.Module | None, records: Records | None, task: Task, problems: list[str]) -> None:
    """Check each part where the checks of the request ended before they came to it, or there is no model."""
    if model is None:
        collect_errors(problems, check_task, task)
    if records is None or not len(records):
        return
    name_records(task, len(records), problems)
    collect_errors(problems, _check_groups, task)
    if not isinstance(model, nn.Module):
        return
    found = Findings()
    try:
        classes = check_model(model, task, records, found)
        check_fresh(model, task, records, classes, found)
        check_trainable(model, found)
    except (RequestError, UncomparableError):
        return  # records cannot be read, which is reported already
    problems += found.problems


def _check_groups(task: Task) -> None:
    """Check the keys of groups of all data sets that can be read; RequestError if some do not fit."""
    problems: list[str] = []
    for place in ("train", "holdout", "test"):
        if (records := readable(task, place)) is not None:
            read_groups(task, len(records), problems, place)
    if problems:
        raise RequestError(problems)
