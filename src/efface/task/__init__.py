"""Task: the description of a user's problem, and the checks of its fields."""

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

from efface.errors import RequestError, kind_of, shorten
from efface.kinds import CLASSES, KINDS, Kind, kind_by_key
from efface.runtime.kinds import dataset_problem
from efface.runtime.options import clear_calls, is_integer, nearest
from efface.runtime.pages import page
from efface.runtime.printing import Brief
from efface.task.structure import MIN_PARTS, Placed, Structure
from efface.types import Indices, RecordId, SizedDataset

# how efface calls each hook
HOOKS = {
    "build_model": "build_model()",
    "fit": "fit(model, dataset, seed)",
    "unpack": "unpack(batch)",
    "forward": "forward(model, inputs)",
    "collate": "collate(records)",
    "perturb": "perturb(inputs, generator)",
    "describe": "describe(record)",
}


def unpack_pair(batch: Any) -> tuple[Any, Tensor]:
    """Split a batch that is a pair into inputs and targets."""
    if isinstance(batch, Mapping):
        raise RequestError(
            f"a batch is a mapping with {shorten(list(batch))}, not a pair of inputs and targets: say which is which, "
            "such as Task.unpack=lambda batch: (batch['inputs'], batch['label'])"
        )
    inputs, targets = batch
    return inputs, targets


def call_model(model: nn.Module, inputs: Any) -> Tensor:
    """Call `model(inputs)`; what it must return depends on the kind of the task."""
    return model(inputs)  # type: ignore[no-any-return]


def missing_build_model(owner: str = "the task") -> str:
    """The message that `owner` lacks `build_model`, which is needed to make a network."""
    return f"{owner} has no build_model: set Task.build_model, which makes the network to load into"


@clear_calls()
@dataclass(kw_only=True, repr=False)
class Task(Brief):
    """A problem: its records, and hooks for data or models of other kinds than the default.

    By default, data sets are map-style, a record is a pair `(input, target)`, and the model is called as
    `model(inputs)`.

    Args:
        train: All records that the original model was trained on.
        holdout: Records that the original never saw.
        test: Records on which utility is measured; the original never saw them, and they are not in `holdout`. An audit
            leaves out those that equal training or holdout records.
        ids: A permanent id for each record of `train`, in its order, in any sized container. By default the id of a
            record is its index. A torch `Subset` is named by the positions in its outermost data set ("base"); where a
            request could mean positions in the Subset as well, give "base" or "subset" here.
        groups: The person, or other group, that each record of `train` belongs to, in its order; one key may stand for
            many records. By default each record is a group of its own. Intervals count groups, since records of one
            person resemble each other.
        holdout_groups: The same for `holdout`, with the same keys for the same persons.
        test_groups: The same for `test`.
        describe: Describes a record of `train` in a few words, for people who check a request; called with the record
            as the dataset gives it.
        eval_records: The records of `train`, in its order, without random augmentation. Needed if `train` augments.
        build_model: Makes a new network as it was before training, with its pretrained weights if there were any.
        fit: The training recipe, called as `fit(model, dataset, seed)`. It trains `model` in place and returns None, or
            it returns the trained model.
        unpack: Splits a batch into inputs and targets. Inputs may be any nesting of mappings, lists and tuples of
            tensors, arrays and texts, or an object of a class of your own, whose attributes show its content.
        forward: Returns the outputs that the kind takes, such as logits (records, classes); called as
            `forward(model, inputs)`.
        collate: Makes a batch from a list of records.
        perturb: Returns slightly changed copies of inputs for the audit; called as `perturb(inputs, generator)`. By
            default noise is added to floating-point inputs.
        batch_size: Number of records in a forward pass when a model is only evaluated. Lower it if memory is short.
        micro_batch: Most records whose activations are held at a time while weights change; by default those of a whole
            step, about 200. Lower it if memory is short. The result is the same, but steps take a third longer; where a
            method trains BatchNorm, each part has its own statistics.
        fine_tuned: Whether the original started from pretrained weights. Untrained networks then need `build_model`.
        holdout_used_for: What else the holdout was used for, such as "early stopping"; the report states it.
        kind: What a record's target is: "classes", "binary", "multilabel", "regression" or "tokens", or a `Kind` with
            options, such as `Regression(trained_by="huber")`. By default efface finds it by the model's outputs and the
            targets, and asks where these could be of several kinds.
        structure: What the records are parts of, where one is read together with others, such as a graph. `forward` is
            then called with the model within it, and `fit` with what it gives to train on.
    """

    train: SizedDataset
    holdout: SizedDataset
    test: SizedDataset | None = None
    ids: Collection[RecordId] | str | None = None
    groups: Collection[RecordId] | None = None
    holdout_groups: Collection[RecordId] | None = None
    test_groups: Collection[RecordId] | None = None
    describe: Callable[[Any], str] | None = None
    eval_records: SizedDataset | None = None
    build_model: Callable[[], nn.Module] | None = None
    fit: Callable[[nn.Module, Dataset[Any], int], nn.Module | None] | None = None
    unpack: Callable[[Any], tuple[Any, Tensor]] = unpack_pair
    forward: Callable[[nn.Module, Any], Tensor] = call_model
    collate: Callable[[list[Any]], Any] = default_collate
    perturb: Callable[[Any, torch.Generator], Any] | None = None
    batch_size: int = 1024
    micro_batch: int | None = None
    fine_tuned: bool = False
    holdout_used_for: str = "nothing"
    kind: Kind | str | None = None
    structure: Structure | None = None

    def after(self, positions: Indices) -> "Task":
        """The task after training records have left its structure; the same task where it has none.

        Args:
            positions: Their positions in `train`, which still holds them: what they are read with has changed.
        """
        return self if self.structure is None else replace(self, structure=self.structure.after(positions))

    def can_leave(self, positions: Indices) -> NDArray[np.bool_]:
        """Which training records a request may name: all where the task has no structure.

        Args:
            positions: Positions of some records.
        """
        return np.ones(len(positions), dtype=bool) if self.structure is None else self.structure.can_leave(positions)

    def unseen(self, positions: Indices, request: int) -> "list[tuple[Task, Indices]]":
        """Parts of some training records, each with the task after that part has left its structure.

        So records that a model was trained on are read as records that it never saw are, and the two can be compared.

        Args:
            positions: The training records, which are divided in this order.
            request: How many records the request is for: a part has about as many, unless that takes many parts.
        """
        if self.structure is None:
            return [(self, positions)]
        size = max(request, -(-len(self.train) // MIN_PARTS))
        parts = np.array_split(positions, max(1, -(-len(positions) // size)))
        return [(self.after(part), part) for part in parts]

    def call(self, model: nn.Module, inputs: Any) -> Any:
        """What `forward` returns for a model, which stands within the structure if there is one."""
        return self.forward(model if self.structure is None else Placed(self.structure, model), inputs)

    @property
    def rules(self) -> Kind:
        """The mathematics of the task's kind; those of classes as long as it is neither stated nor found."""
        if isinstance(self.kind, str):
            return kind_by_key(self.kind)
        return CLASSES if self.kind is None else self.kind


def check_task(task: object) -> None:
    """Check the type of a task and of its fields; RequestError with every problem. No record is read."""
    if problems := list(_problems(task)):
        raise RequestError(problems)


def missing_sets(train: object, holdout: object) -> list[str]:
    """One line for each of two data sets that is None."""
    lines = [
        f"{name} is missing: give {name}=, or a task= that holds it"
        for name, value in (("train", train), ("holdout", holdout))
        if value is None
    ]
    if holdout is None:
        lines.append(
            "without a holdout, records that the model never saw, there is no evidence: see "
            + page("guide", "i-have-no-holdout")
        )
    return lines


def _problems(task: object) -> Iterator[str]:
    if not isinstance(task, Task):
        yield f"task: expected an efface.Task, got {kind_of(task)}"
        return
    yield from missing_sets(task.train, task.holdout)
    has_hooks = task.unpack is not unpack_pair or task.collate is not default_collate
    for name in ("train", "holdout", "test", "eval_records"):
        if (data := getattr(task, name)) is not None and (problem := dataset_problem(data, has_hooks)):
            yield f"{name}: {problem}"
    for one, other in combinations(("train", "holdout", "test"), 2):
        if getattr(task, one) is getattr(task, other) is not None:
            yield f"{other} is the same data set as {one}: the records of one must not be in the other"
    if task.eval_records is not None and any(task.eval_records is data for data in (task.holdout, task.test)):
        yield "eval_records: expected the records of train without augmentation, got the holdout or the test set"
    for name, call in HOOKS.items():
        hook = getattr(task, name)
        is_optional = Task.__dataclass_fields__[name].default is None
        if (hook is not None or not is_optional) and (problem := _hook_problem(hook, call)):
            yield f"Task.{name}: expected a function, called as {call}, {problem}"
    if not is_integer(task.batch_size, 1):
        yield f"Task.batch_size: expected a number of records, got {task.batch_size!r}"
    if task.micro_batch is not None and not is_integer(task.micro_batch, 1):
        yield f"Task.micro_batch: expected a number of records, or None, got {task.micro_batch!r}"
    if not isinstance(task.fine_tuned, bool):
        yield f"Task.fine_tuned: expected True or False, got {task.fine_tuned!r}"
    if problem := kind_problem(task.kind):
        yield f"Task.kind: {problem}"
    if not isinstance(task.structure, Structure | None):
        yield f"Task.structure: expected an efface.Structure or None, got {kind_of(task.structure)}"
    if not isinstance(task.holdout_used_for, str):
        yield f"Task.holdout_used_for: expected text such as 'early stopping', got {task.holdout_used_for!r}"


def kind_problem(kind: object) -> str | None:
    """Why this cannot be the kind of a task; None if it can."""
    if kind is None or isinstance(kind, Kind) or (isinstance(kind, str) and kind in KINDS):
        return None
    if isinstance(kind, str):
        return f"efface knows no kind {kind!r}: {nearest(kind, list(KINDS))}"
    return f"expected one of {', '.join(KINDS)}, or a Kind, got {kind_of(kind)}"


def _hook_problem(hook: object, call: str) -> str | None:
    """Why a hook cannot be called as it will be; None if it can, or where Python does not say what it takes."""
    if isinstance(hook, nn.Module) and call == HOOKS["build_model"]:
        return "got the network itself: give what makes a new one, such as lambda: MyNet()"
    if not callable(hook):
        return f"got {kind_of(hook)}"
    words = call.partition("(")[2].removesuffix(")")
    try:
        signature = inspect.signature(hook)
    except (TypeError, ValueError):  # of some functions written in C
        return None
    try:
        signature.bind(*filter(None, words.split(", ")))
    except TypeError as error:
        return f"which it cannot be ({error})"
    return None
