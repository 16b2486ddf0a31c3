"""A deletion request, and the checks that it must pass before any work."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from efface.data.checks import Findings, check_holdout, find_forget, read_forget
from efface.data.clusters import Keys, cluster_numbers, read_keys, shared_warning
from efface.data.contents import Marks, check_classes_left, check_parts, note_classes
from efface.data.described import ForgetRecord, describe_records
from efface.data.ids import ByGroup
from efface.data.naming import Names
from efface.data.overlap import check_shared, check_test
from efface.data.reading import gathering
from efface.data.records import Records, subset
from efface.data.task_sets import check_all_contents, read_sets
from efface.data.twin_policy import TwinPolicy, Twins
from efface.data.twins import EMPTY, Settled, settle
from efface.errors import RequestError, collect_errors
from efface.models.checks import check_fresh, check_model, check_trainable, note_training
from efface.models.knowledge import check_knowledge
from efface.runtime.kinds import network_problem
from efface.runtime.printing import Brief
from efface.task import Task, check_task, missing_sets
from efface.types import Indices, RecordId, SizedDataset


@dataclass(frozen=True, repr=False)
class Request(Brief):
    """A request that has passed its checks.

    Args:
        task: The problem.
        train: The training records, read without random augmentation.
        holdout: The holdout records.
        test: The test records; None if the task has none.
        names: What all training records are called.
        ids: The ids to forget, in the order of the request, without those that a twin keeps; then forgotten twins.
        forget: Their positions in `train`, in the same order.
        classes: The number of classes of the model.
        forget_classes: Classes whose records are all in the request.
        class_shares: For each class with records in the request, the share of its records that is, in (0, 1].
        warnings: Findings of the checks that are no reason to refuse the request.
        without_ids: What some of the warnings, which name ids, say without them.
        records: The records to forget, in the same order.
        groups: The group of each forget record, in the same order; None if the task has no groups.
        keys: The group of each record of `train`, `holdout` and `test`, by position; without those that have no groups.
        asked: Positions in `train` of all records of the request, forgotten twins among them.
        shared: Positions of the holdout records that equal training records, and serve for nothing.
        twins: What was done with records of equal inputs.
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
    asked: Indices = field(default_factory=lambda: EMPTY)
    shared: Indices = field(default_factory=lambda: EMPTY)
    twins: Twins = field(default_factory=Twins)

    @property
    def kept(self) -> Indices:
        """Positions of the records of the request that a twin keeps in training."""
        return np.setdiff1d(self.asked, self.forget)

    @property
    def asked_ids(self) -> tuple[RecordId, ...]:
        """The ids of the request, in its order, without forgotten twins."""
        ids = dict(zip([*self.forget.tolist(), *self.kept.tolist()], [*self.ids, *self.twins.kept], strict=True))
        own = len(self.asked) - len(self.twins.forgotten)
        return tuple(ids[at] for at in self.asked[:own].tolist())

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
    policy: TwinPolicy | None = None,
) -> Request:
    """Check everything that can be wrong with a request, before any work.

    Args:
        model: The original model.
        task: The problem.
        forget: The ids to forget, or their groups.
        full: Whether to read all records, to find twins of forget records, holdout records in training, and NaN; and
            whether the model must know its records.
        for_audit: Whether the request is checked for an audit. The model then need not be trainable, and test records
            are compared with training and holdout records.
        fresh: Whether untrained networks will be needed, so that it must be possible to make one.
        policy: What is to be done with twins; by default they are refused.

    Raises:
        RequestError: Something is wrong; all problems are listed.
    """
    found = Findings()
    asked = read_forget(forget, found)
    _check_kinds(model, task, found)
    found.refuse()
    chosen = find_forget(task, forget, asked, len(task.train), found)
    read = read_sets(task, chosen.names.ids)
    train, holdout, test = read.train, read.holdout, read.test
    at = chosen.at[chosen.at < len(train)]
    check_holdout(task, len(holdout), found)
    read.check_groups(task, found)
    with gathering(found):
        before = len(found.problems)
        read.check(at, full, found)
        stable, before = len(found.problems) == before, len(found.problems)
        classes = check_model(model, task, train, found, stable=stable)
        fits = classes is not None and len(found.problems) == before
        if fresh:
            check_fresh(model, task, train, classes, found)
        if not for_audit:
            check_trainable(model, found)
            if fits:
                note_training(model, task, train, found)
        others: Mapping[str, Marks] = {}
        shared, settled = EMPTY, Settled(at, EMPTY, EMPTY)
        if full:
            if fits:
                check_knowledge(model, task, train, found)
            contents = check_all_contents(read, at, classes, found, hash_all=for_audit and test is not None)
            settled = settle(contents.groups, policy or TwinPolicy(), train, at, chosen.names.ids, found)
            check_shared(contents.shared, len(holdout), found)
            note_classes(contents.counts, train, settled.forget, settled.kept, found)
            others, shared = contents.marks, contents.shared
        else:
            check_parts(train, holdout, at, classes, found)
        check_classes_left(for_audit, found)
        tested = EMPTY if test is None else check_test(test, others if for_audit else {}, classes, found)
    keys = read_keys(task)
    if warning := shared_warning(keys, at):
        found.warnings.append(warning)
    if test is not None and len(tested):
        rest = np.delete(np.arange(len(test)), tested).tolist()
        test = Records(subset(test.dataset, rest), task, "test")
        keys |= {"test": [keys["test"][i] for i in rest]} if "test" in keys else {}
    forgotten, kept, ids = (
        tuple(chosen.names.ids[i] for i in part.tolist()) for part in (settled.forgotten, settled.kept, settled.forget)
    )
    positions = settled.forget.tolist()
    groups = None if chosen.groups is None else tuple(chosen.groups[i] for i in positions)
    descriptions = describe_records(task.describe, train.dataset, ids, positions, found.problems)
    found.refuse()
    records = zip(ids, positions, found.labels, descriptions, groups or [None] * len(ids), strict=True)
    return Request(
        task=_with_numbering(task, chosen.names),
        train=train,
        holdout=holdout,
        test=test,
        names=chosen.names,
        ids=ids,
        forget=settled.forget,
        classes=classes or 0,
        forget_classes=tuple(found.forget_classes),
        class_shares=found.class_shares,
        warnings=tuple(found.warnings),
        without_ids=found.without_ids,
        records=tuple(ForgetRecord(*record) for record in records),
        groups=groups,
        keys=keys,
        asked=np.concatenate([at, settled.forgotten]),
        shared=shared,
        twins=Twins((policy or TwinPolicy()).twins, forgotten, kept, holdout=len(shared), test=len(tested)),
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
