"""`efface.doctor`: what efface sees in a model and its task before anything is asked."""

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from efface.auditing.doctor.checked import Checked, make_checks, readable
from efface.auditing.doctor.data_facts import (
    Content,
    content_of,
    input_facts,
    label_facts,
    other_set_facts,
    record_facts,
)
from efface.auditing.doctor.evidence_facts import level_facts, size_facts, splits_of
from efface.auditing.doctor.examination import Examination, Fact
from efface.auditing.doctor.missing import missing_parts
from efface.auditing.doctor.model_facts import accuracy_facts, model_facts, output_facts
from efface.auditing.doctor.price_facts import price_facts
from efface.data.objects import UncomparableError
from efface.data.records import Records
from efface.errors import EffaceError
from efface.models.kind import with_kind
from efface.models.wrappers import plain_network
from efface.runtime.kinds import network_problem
from efface.runtime.options import clear_calls
from efface.runtime.seeds import seeded, unchanged_globals
from efface.task import Task, check_task, kind_problem


@clear_calls("task", task=Task)
def doctor(model: nn.Module, *, task: Task) -> Examination:
    """Look at a model and its task before anything is asked of them.

    The checks are those of `efface.unlearn` and of its audit, for a request of one record. Nothing is unlearned, and
    `model` does not change.

    Args:
        model: The trained model.
        task: The problem.

    Returns:
        What was seen, why a request would be refused, and what is missing.

    Raises:
        RequestError: `task` is no `efface.Task`.
    """
    if not isinstance(task, Task):
        check_task(task)
    problem = network_problem(model)
    return examine(None if problem else plain_network(model), task, [f"model: {problem}"] if problem else [])


def examine(model: nn.Module | None, task: Task, known: Sequence[str] = ()) -> Examination:
    """Examine a task, and a model where there is one.

    Args:
        model: The model; None if it could not be loaded, which is among the known problems.
        task: The problem.
        known: Problems that were found before.
    """
    with unchanged_globals(), seeded(0):
        task = _with_kind(model, task)
        checked = make_checks(model, task)
        facts = [*_data_facts(task), *(_model_facts(model, checked) if model is not None else ())]
        shortage = [fact.value for fact in facts if fact.name == "no_request_because"]
    missing = missing_parts(task, shortage[0] if shortage else "")
    problems = dict.fromkeys([*known, *checked.problems])
    return Examination(tuple(facts), tuple(problems), tuple(missing), checked.warnings)


def _with_kind(model: nn.Module | None, task: Task) -> Task:
    """The task with its kind, found where it is not stated; without it where that is not clear."""
    records = readable(task, "train") if not kind_problem(task.kind) else None
    return task if model is None or records is None else with_kind(model, task, records)


def _data_facts(task: Task) -> Iterator[Fact]:
    sets: dict[str, Records] = {}
    for name in ("train", "holdout", "test"):
        if (records := readable(task, name)) is not None and len(records):
            sets[name] = records
    contents: dict[str, Content] = {}
    for name, records in sets.items():
        try:
            contents[name] = content_of(records)
        except (EffaceError, UncomparableError):
            continue  # the checks say why they cannot be read
    if "train" in contents:
        yield from _as_far_as_possible(record_facts(task, sets["train"], contents["train"]))
        yield from _as_far_as_possible(input_facts(sets["train"]))
        yield from _as_far_as_possible(label_facts(contents["train"], task.rules))
    for section, names in (("holdout", ("train",)), ("test", ("train", "holdout"))):
        if section in contents:
            others = {("training" if n == "train" else n): contents[n] for n in names if n in contents}
            used_for = task.holdout_used_for if section == "holdout" else "nothing"
            yield from _as_far_as_possible(other_set_facts(section, contents[section], others, used_for))


def _model_facts(model: nn.Module, checked: Checked) -> Iterator[Fact]:
    task, request = checked.task, checked.request
    yield from _as_far_as_possible(model_facts(model))
    records = readable(task, "train")
    if records is not None and len(records):
        with torch.no_grad():
            yield from _as_far_as_possible(output_facts(model, task, records))
    names = {"train": "training", "holdout": "holdout", "test": "test"}
    sets = {words: found for name, words in names.items() if (found := readable(task, name)) is not None}
    yield from _as_far_as_possible(accuracy_facts(model, task, sets))
    if request is None:
        return
    splits = splits_of(request)
    yield from _as_far_as_possible(level_facts(request, splits))
    yield from _as_far_as_possible(size_facts(model, request, splits))
    yield from _as_far_as_possible(price_facts(model, request, splits))


def _as_far_as_possible(facts: Iterator[Fact]) -> Iterator[Fact]:
    """Facts until one cannot be had because of a user's code; the checks report that."""
    try:
        yield from facts
    except Exception:  # a user's data set or model may raise anything
        return
