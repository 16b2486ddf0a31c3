"""A deletion request, and the checks that it must pass before any work."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from efface.data.checks import Findings, check_holdout, check_reading, check_rereading, find_forget, read_forget
from efface.data.clusters import Keys, check_keys, cluster_numbers, read_keys, shared_warning
from efface.data.contents import check_batch, check_classes, check_contents, check_test
from efface.data.described import ForgetRecord, describe_records
from efface.data.ids import ByGroup
from efface.data.naming import Names
from efface.data.records import Records
from efface.errors import RequestError, collect_errors, shorten
from efface.models.checks import check_fresh, check_model, check_trainable, note_training
from efface.models.knowledge import check_knowledge
from efface.runtime.kinds import network_problem
from efface.task import Task, check_task, missing_sets
from efface.types import Indices, RecordId, SizedDataset


@dataclass(frozen=True)
class Request:
    """A request that has passed its checks.

    Args:
        task: The problem.
        train: The training records, read without random augmentation.
        holdout: The holdout records.
        test: The test records; None if the task has none.
        names: What all training records are called.
        ids: The ids to forget, in the order of the request.
        forget: Their positions in `train`, in the same order.
        classes: The number of classes of the model.
        forget_classes: Classes whose records are all in the request.
        class_shares: For each class with records in the request, the share of its records that is, in (0, 1].
        warnings: Findings of the checks that are no reason to refuse the request.
        without_ids: What some of the warnings, which name ids, say without them.
        records: The records to forget, in the same order.
        groups: The group of each forget record, in the same order; None if the task has no groups.
        keys: The group of each record of `train`, `holdout` and `test`, by position; without those that have no groups.
    """

    task: Task
    train: Records
    holdout: Records
    test: Records | None
    names: Names
    ids: tuple[RecordId, ...]
    forget: Indices
    classes: int
    forget_classes: tuple[int, ...]
    class_shares: Mapping[int, float]
    warnings: tuple[str, ...]
    without_ids: Mapping[str, str]
    records: tuple[ForgetRecord, ...]
    groups: tuple[RecordId, ...] | None = None
    keys: Keys = field(default_factory=dict, repr=False)

    @property
    def clusters(self) -> Indices | None:
        """The number of the group of each forget record, from 0 in the order of the request; None without groups."""
        if self.groups is None:
            return None
        numbers = {key: number for number, key in enumerate(dict.fromkeys(self.groups))}
        return np.array([numbers[key] for key in self.groups], dtype=np.int64)

    def clusters_of(self, positions: Indices, place: str = "train") -> Tensor | None:
        """The number of the group of each of some records, (n,); None if groups are not known.

        Args:
            positions: The records.
            place: The data set that they are in: `train`, `holdout` or `test`.
        """
        return cluster_numbers(self.keys.get(place), positions)

    def ids_of(self, positions: Indices) -> list[RecordId]:
        """The ids of some of the forget records, by their positions in `train`."""
        by_position = dict(zip(self.forget.tolist(), self.ids, strict=True))
        return [by_position[at] for at in positions.tolist()]


def make_task(
    task: Task | None,
    train: SizedDataset | None,
    holdout: SizedDataset | None,
    test: SizedDataset | None = None,
    ids: Collection[RecordId] | str | None = None,
) -> Task:
    """Return the given task, or make one from data sets.

    Args:
        task: The task; None to make one.
        train: The training records of a new task.
        holdout: Its holdout records.
        test: Its test records, if there are any.
        ids: The ids of its training records; or, for a Subset, "base" or "subset", which may also stand beside a task
            without ids.

    Raises:
        RequestError: A task and data sets are given, or neither.
    """
    sets: dict[str, object] = {"train": train, "holdout": holdout, "test": test, "ids": ids}
    if task is None:
        if train is None or holdout is None:
            raise RequestError(missing_sets(train, holdout))
        return Task(train=train, holdout=holdout, test=test, ids=ids)
    if not isinstance(task, Task):
        check_task(task)
    if isinstance(ids, str) and task.ids is None:
        task, sets["ids"] = replace(task, ids=ids), None
    if beside := [name for name, value in sets.items() if value is not None]:
        raise RequestError(f"{', '.join(beside)} given beside a task: set them on the Task")
    return task


def check_request(
    model: nn.Module,
    task: Task,
    forget: Collection[RecordId] | ByGroup,
    full: bool,
    for_audit: bool = False,
    fresh: bool = True,
) -> Request:
    """Check everything that can be wrong with a request, before any work.

    Args:
        model: The original model.
        task: The problem.
        forget: The ids to forget, or their groups.
        full: Whether to read all records, to find copies of forget records in retain, holdout records in training, and
            NaN; and some hundreds more, to find that the model knows nothing of them.
        for_audit: Whether the request is checked for an audit. The model then need not be trainable, and test records
            are compared with training and holdout records.
        fresh: Whether untrained networks will be needed, so that it must be possible to make one.

    Raises:
        RequestError: Something is wrong; all problems are listed.
    """
    found = Findings()
    asked = read_forget(forget, found)
    _check_kinds(model, task, found)
    found.refuse()
    train, holdout = Records(task.eval_records or task.train, task), Records(task.holdout, task)
    test = None if task.test is None else Records(task.test, task)
    chosen = find_forget(task, forget, asked, len(task.train), found)
    at = chosen.at[chosen.at < len(train)]
    if task.eval_records is not None and len(train) != len(task.train):
        found.problems.append("eval_records has another length than train: it must hold the same records, same order")
    check_holdout(task, len(holdout), found)
    sizes = {"train": len(task.train), "holdout": len(holdout), **({} if test is None else {"test": len(test)})}
    wrong: list[str] = []
    check_keys(task, sizes, wrong)
    for line in wrong:
        found.add_problem(line)  # those of train were found with the forget set
    readable = [check_reading(train, "training", found), check_reading(holdout, "holdout", found)]
    if test is not None and len(test):
        readable.append(check_reading(test, "test", found))
    if not all(readable):
        raise RequestError(found.problems)
    before = len(found.problems)
    check_rereading(train, at, found)
    before, stable = len(found.problems), len(found.problems) == before
    classes = check_model(model, task, train, found, stable=stable)
    fits = classes is not None and len(found.problems) == before
    if fresh:
        check_fresh(model, task, train, classes, found)
    if not for_audit:
        check_trainable(model, found)
        if fits:
            note_training(model, task, train, found)
    hashes = {}
    if full and fits:
        check_knowledge(model, task, train, found)
    if full:
        compared = for_audit and test is not None
        hashes = check_contents(train, holdout, at, chosen.names.ids, classes, found, hash_all=compared)
    else:
        _check_parts(train, holdout, at, classes, found)
    if found.forget_classes:
        found.warnings.append(f"the request takes every record of class {shorten(found.forget_classes)}")
        if not for_audit and found.classes_left < 2:
            found.problems.append("the request leaves records of one class alone: there is nothing more to tell apart")
    if test is not None:
        check_test(test, hashes if for_audit else {}, classes, found)
    ids = tuple(chosen.names.ids[i] for i in at.tolist())
    groups = None if chosen.groups is None else tuple(chosen.groups[i] for i in at.tolist())
    descriptions = describe_records(task.describe, train.dataset, ids, at.tolist(), found.problems)
    found.refuse()
    keys = read_keys(task)
    if warning := shared_warning(keys, at):
        found.warnings.append(warning)
    records = zip(ids, at.tolist(), found.labels, descriptions, groups or [None] * len(ids), strict=True)
    return Request(
        task=_with_numbering(task, chosen.names),
        train=train,
        holdout=holdout,
        test=test,
        names=chosen.names,
        ids=ids,
        forget=at,
        classes=classes or 0,
        forget_classes=tuple(found.forget_classes),
        class_shares=found.class_shares,
        warnings=tuple(found.warnings),
        without_ids=found.without_ids,
        records=tuple(ForgetRecord(*record) for record in records),
        groups=groups,
        keys=keys,
    )


def _with_numbering(task: Task, names: Names) -> Task:
    """The task, with its numbering stated where a request fixed it, so that the ids keep their meaning."""
    return task if names.is_given else replace(task, ids=names.numbering)


def check_others(models: Mapping[str, nn.Module], request: Request) -> None:
    """Check that other models fit the request's records and classes.

    Whether their logits are finite is checked later, when all records are scored.

    Args:
        models: The models, by their names in messages.
        request: The request, whose model has passed its checks.

    Raises:
        RequestError: Some model does not fit; all problems are listed.
    """
    problems = []
    for name, model in models.items():
        found = Findings()
        classes = check_model(model, request.task, request.train, found, finite=False)
        if classes is not None and classes != request.classes:
            found.problems.append(f"it has {classes} classes where the original has {request.classes}")
        problems += [f"{name}: {line}" for line in found.problems]
    if problems:
        raise RequestError(problems)


def _check_kinds(model: object, task: Task, found: Findings) -> None:
    """Check that the model and the task's fields have the types that the other checks need."""
    collect_errors(found.problems, check_task, task)
    if problem := network_problem(model):
        found.problems.append(f"model: {problem}")
    if torch.is_inference_mode_enabled():
        found.problems.append("nothing can be trained in inference mode: call efface outside torch.inference_mode()")


def _check_parts(train: Records, holdout: Records, forget: Indices, classes: int | None, found: Findings) -> None:
    """Check forget and holdout records only, if the pass over all records is off."""
    check_classes(train, forget, found)
    found.warnings.append(
        "the pass over all records was off: twins, shared records and NaN were not looked for, nor whether the model "
        "knows its records"
    )
    for name, records, rows in (("forget", train, forget), ("holdout", holdout, range(len(holdout)))):
        for batch in records.stream(rows):
            check_batch(batch, classes, name, found)
