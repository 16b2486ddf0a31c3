"""The checks of a run and of its audit, made for a request that nobody has made."""

from collections import Counter
from dataclasses import dataclass, replace

from torch import nn

from efface.data.checks import Findings, check_size
from efface.data.contents import marked
from efface.data.groups import read_groups, remaining_line, shared_warning
from efface.data.limits import MIN_RETAIN
from efface.data.naming import name_records
from efface.data.objects import UncomparableError
from efface.data.records import Records
from efface.data.task_sets import read_sets
from efface.data.twin_policy import TwinPolicy
from efface.data.twins import AS_CONFIRMED
from efface.errors import EffaceError, RequestError, collect_errors
from efface.models.checks import check_fresh, check_model, check_trainable
from efface.request import Request, check_request
from efface.runtime.kinds import dataset_problem
from efface.runtime.printing import how_many
from efface.task import Task, check_task, unpack_pair
from efface.types import RecordId
from efface.unlearning.checks import check_unlearn
from efface.unlearning.options import DEFAULT_OPTIONS

NOTHING_ASKED = "the forget set is empty"  # not to be said where there are no records to ask for
NO_TRAINING = (
    "the training set is empty: expected the records that the model was trained on, which requests name; give them as "
    "Task.train"
)


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
    """Make the checks of a default run and of its audit, for one record, and its twins where all have twins.

    Args:
        model: The model; None if it could not be loaded, so that the task alone is checked.
        task: The task.
    """
    problems: list[str] = []
    records, task = readable(task, "train"), _with_numbering(task)
    asked, twins = _asked(task, records)
    of_data, of_request = _about_size(1 + len(twins), len(records)) if records is not None else ([], set())
    policy = TwinPolicy("forget", twins) if twins else TwinPolicy()
    options = replace(DEFAULT_OPTIONS, twins=policy.twins, confirmed=policy.confirmed)
    found = None
    if model is not None:
        found = collect_errors(problems, check_unlearn, [], model, task, asked, "steer", options)
    if model is None or found is None:
        _check_parts_alone(model, records, task, problems)
        own = [line for line in problems if line not in of_request and (asked or not line.startswith(NOTHING_ASKED))]
        return Checked(task, None, tuple(dict.fromkeys([*of_data, *own])), ())
    # an audit compares test records too, which a run does not read
    for_audit = collect_errors(
        problems, check_request, model, task, asked, full=True, for_audit=True, fresh=False, policy=policy
    )
    of_request |= _about_groups(found[0])
    noted = dict.fromkeys([*found[0].warnings, *(() if for_audit is None else for_audit.warnings)])
    warnings = [line for line in noted if line not in of_request and not line.endswith(AS_CONFIRMED)]
    return Checked(task, for_audit, tuple(problems), tuple(warnings))


def _asked(task: Task, records: Records | None) -> tuple[list[RecordId], list[RecordId]]:
    """The id of the record that is asked for, and those of its twins; empty where there are no records."""
    if records is None or not len(records):
        return [], []
    at, *twins = (_name_of(task, i, len(records)) for i in _of_fewest_twins(records))
    return [at], twins


def _about_size(leaving: int, records: int) -> tuple[list[str], set[str]]:
    """Why the data are too few for any request, and what the checks say of the size of one that nobody made."""
    if not records:
        return [NO_TRAINING], set()
    sized = Findings()
    for size in sorted({1, leaving}):
        check_size(size, records, sized)
    problems = []
    if records <= MIN_RETAIN:
        problems.append(
            f"{how_many(records, 'training record')}: fewer than a request needs, since {MIN_RETAIN} must remain; give "
            f"at least {MIN_RETAIN + 1}"
        )
    elif sized.problems:
        problems.append(
            f"each of the {records:,} training records has {how_many(leaving - 1, 'twin')} (equal inputs) or more, too "
            "many to be forgotten together; give records that differ"
        )
    return problems, {*sized.problems, *sized.warnings}


def _about_groups(request: Request) -> set[str]:
    """What the checks say of the groups of a request that nobody made."""
    lines = {shared_warning(request.keys, request.asked), shared_warning(request.keys, request.asked[:1])}
    if "train" in request.keys:
        lines.add(remaining_line(request.asked, request.keys["train"]))
    return {line for line in lines if line}


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


def _of_fewest_twins(records: Records) -> list[int]:
    """The positions of a record and its twins: one with the fewest, whose class has others if possible."""
    marks: list[bytes] = []
    labels: list[int] = []
    rules = records.rules
    try:
        for batch, of_batch in marked(records, hash_all=True):
            marks += of_batch.tolist()
            of_records = rules.classes(rules.labels(batch.targets))
            labels += [0] * len(batch) if of_records is None else of_records.flatten().tolist()
    except (EffaceError, UncomparableError):
        return [0]  # the checks name the record that cannot be read
    times, classes = Counter(marks), Counter(labels)
    chosen = min(
        range(min(len(marks), len(labels))), key=lambda i: (classes[labels[i]] <= times[marks[i]], times[marks[i]], i)
    )
    return [chosen, *(i for i, mark in enumerate(marks) if mark == marks[chosen] and i != chosen)]


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
        width = check_model(model, task, records, found)
        check_fresh(model, task, records, width, found)
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
