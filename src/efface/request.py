"""A deletion request, and the checks that it must pass before any work."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from efface.data.checks import EMPTY, Findings, check_holdout, find_forget, read_forget
from efface.data.contents import check_classes_left, check_parts
from efface.data.described import ForgetRecord, forget_records
from efface.data.groups import Keys, cluster_numbers, read_keys, remaining_line, shared_warning
from efface.data.ids import Forget
from efface.data.naming import Names
from efface.data.overlap import check_test
from efface.data.reading import gathering
from efface.data.records import Records, subset
from efface.data.task_sets import Compared, compare_all, read_sets
from efface.data.twin_policy import TwinPolicy, Twins
from efface.data.twins import Settled
from efface.errors import RequestError, collect_errors
from efface.models.checks import check_fresh, check_model, check_trainable, note_training
from efface.models.kind import with_kind
from efface.models.knowledge import check_knowledge
from efface.runtime.kinds import network_problem
from efface.runtime.printing import Brief
from efface.task import Task, check_task, missing_sets
from efface.types import Indices, RecordId, SizedDataset


@dataclass(frozen=True, repr=False)
class Request(Brief):
    """A request that has passed its checks.

    Args:
        given: The problem, as it was given.
        train: The training records, read without random augmentation.
        holdout: The holdout records.
        test: The test records; None if the task has none.
        names: What all training records are called.
        ids: The ids to forget, in the order of the request, without those that a twin keeps; then forgotten twins.
        forget: Their positions in `train`, in the same order.
        classes: The number of classes of the model; 0 where the task's kind has none.
        width: The width of the model's outputs, the size of their last dimension.
        forget_classes: Classes whose records are all in the request.
        class_shares: For each class with records in the request, the share of its records that is, in (0, 1].
        warnings: Findings of the checks that are no reason to refuse the request.
        without_ids: What some of the warnings, which name ids, say without them.
        records: The records to forget, in the same order.
        keys: The key of the group of each record of `train`, `holdout` and `test`, by position, where groups are given.
        asked: Positions in `train` of all records of the request, forgotten twins among them.
        shared: Positions of the holdout records that equal training records, and serve for nothing.
        twins: What was done with records of equal inputs.
    """

    given: Task
    train: Records
    holdout: Records
    test: Records | None
    names: Names
    ids: tuple[RecordId, ...]
    forget: Indices
    classes: int
    width: int
    forget_classes: tuple[int, ...]
    class_shares: Mapping[int, float]
    warnings: tuple[str, ...]
    without_ids: Mapping[str, str]
    records: tuple[ForgetRecord, ...]
    keys: Keys = field(default_factory=dict, repr=False)
    asked: Indices = field(default_factory=lambda: EMPTY)
    shared: Indices = field(default_factory=lambda: EMPTY)
    twins: Twins = field(default_factory=Twins)

    @cached_property
    def task(self) -> Task:
        """The problem after the request: the records to forget have left its structure, if it has one."""
        return self.given.after(self.forget)

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
    forget: Forget,
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
    found, policy = Findings(), policy or TwinPolicy()
    asked = read_forget(forget, found)
    _check_kinds(model, task, found)
    found.refuse()
    chosen = find_forget(task, forget, asked, len(task.train), found)
    keys = _read_keys(task, found)
    task = with_kind(model, task, read_sets(task, chosen.names.ids).train)
    sets = read_sets(task, chosen.names.ids)
    at = chosen.at[chosen.at < len(sets.train)]
    check_holdout(task, len(sets.holdout), found)
    with gathering(found):
        before = len(found.problems)
        sets.check(at, full, found)
        stable, before = len(found.problems) == before, len(found.problems)
        width = check_model(model, task, sets.train, found, stable=stable)
        fits = width is not None and len(found.problems) == before
        if fresh:
            check_fresh(model, task, sets.train, width, found)
        if not for_audit:
            check_trainable(model, found)
        if not for_audit and fits:
            note_training(model, task, sets.train, found)
        if full and fits:
            check_knowledge(model, task, sets.train, found)
        if full:
            hash_all = for_audit and sets.test is not None
            compared = compare_all(sets, at, chosen.names.ids, width, policy, hash_all, found)
        else:
            compared = Compared(Settled(at, EMPTY, EMPTY))
            check_parts(sets.train, sets.holdout, at, width, found)
        check_classes_left(for_audit, found)
        known = compared.marks if for_audit else {}
        tested = EMPTY if sets.test is None else check_test(sets.test, known, width, found)
    if warning := shared_warning(keys, at):
        found.warnings.append(warning)
    settled, shared = compared.settled, compared.shared
    records = forget_records(task, chosen.names.ids, settled.forget, found.labels, keys.get("train"), found.problems)
    if task.structure is not None:
        effects = task.structure.effects(settled.forget)
        found.problems += effects.refusals
        found.warnings += effects.warnings
    found.refuse()
    leaving = np.concatenate([at, settled.forgotten])
    if "train" in keys and (line := remaining_line(leaving, keys["train"])):
        found.warnings.append(line)
    test, keys = _test_without(sets.test, tested, task, keys)
    forgotten, kept = (tuple(chosen.names.ids[i] for i in part.tolist()) for part in (settled.forgotten, settled.kept))
    return Request(
        given=_with_numbering(task, chosen.names),
        train=sets.train,
        holdout=sets.holdout,
        test=test,
        names=chosen.names,
        ids=tuple(record.id for record in records),
        forget=settled.forget,
        classes=task.rules.class_number(width or 0),
        width=width or 0,
        forget_classes=tuple(found.forget_classes),
        class_shares=found.class_shares,
        warnings=tuple(found.warnings),
        without_ids=found.without_ids,
        records=records,
        keys=keys,
        asked=leaving,
        shared=shared,
        twins=Twins(policy.twins, forgotten, kept, holdout=len(shared), test=len(tested)),
    )


def _read_keys(task: Task, found: Findings) -> Keys:
    """The keys of all groups; problems with those of the training records may be found already."""
    problems: list[str] = []
    keys = read_keys(task, problems)
    for line in problems:
        found.add_problem(line)
    return keys


def _test_without(test: Records | None, left_out: Indices, task: Task, keys: Keys) -> tuple[Records | None, Keys]:
    """The test records without some, and the keys of all groups without those of these records."""
    if test is None or not len(left_out):
        return test, keys
    rest = np.delete(np.arange(len(test)), left_out).tolist()
    test = Records(subset(test.dataset, rest), task, "test")
    return test, {**keys, "test": [keys["test"][i] for i in rest]} if "test" in keys else keys


def _with_numbering(task: Task, names: Names) -> Task:
    """The task, with its numbering stated where a request fixed it, so that the ids keep their meaning."""
    return task if names.is_given else replace(task, ids=names.numbering)


def check_others(models: Mapping[str, nn.Module], request: Request) -> None:
    """Check that other models fit the request's records, and that their outputs are as wide as the original's.

    Whether their outputs are finite is checked later, when all records are scored.

    Args:
        models: The models, by their names in messages.
        request: The request, whose model has passed its checks.

    Raises:
        RequestError: Some model does not fit; all problems are listed.
    """
    problems = []
    for name, model in models.items():
        found = Findings()
        width = check_model(model, request.task, request.train, found, finite=False)
        if width is not None and width != request.width:
            unit = request.task.rules.unit
            found.problems.append(f"it has {width} {unit} where the original has {request.width}")
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
