"""A request: the task, the forget set by position, and whether it can be honoured at all."""

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.data import Dataset, IterableDataset

from efface.data.checks import (
    Findings,
    Marks,
    check_batch,
    check_classes,
    check_contents,
    check_holdout,
    check_ids,
    check_reading,
    check_rereading,
    check_test,
    finite_inputs,
    told,
)
from efface.data.records import Records
from efface.errors import RequestError
from efface.models.init import try_fresh, untrainable
from efface.models.running import all_finite, device_of, mode
from efface.runtime.seeds import seeded
from efface.runtime.text import shorten
from efface.task import Task
from efface.types import Indices, RecordId


@dataclass(frozen=True)
class Request:
    """A request that can be honoured; `forget` are positions in `train`, in the order of `ids`.

    `forget_classes` are classes of which it takes every record, `taken` the share that it takes of each of its classes.
    """

    task: Task
    train: Records
    holdout: Records
    test: Records | None
    ids: tuple[RecordId, ...]
    forget: Indices
    classes: int
    forget_classes: tuple[int, ...]
    taken: dict[int, float]
    warnings: tuple[str, ...]

    def names(self, positions: Indices) -> list[RecordId]:
        """The ids of some of the forget records, by position."""
        by_position = dict(zip(self.forget.tolist(), self.ids, strict=True))
        return [by_position[at] for at in positions.tolist()]


def make_task(
    task: Task | None,
    train: Dataset[Any] | None,
    holdout: Dataset[Any] | None,
    test: Dataset[Any] | None = None,
    ids: Sequence[RecordId] | None = None,
) -> Task:
    """The task given, or one made of plain datasets; RequestError where neither or both are given."""
    if task is not None:
        if not isinstance(task, Task):
            raise RequestError(f"task: expected an efface.Task, got {type(task).__name__}")
        doubled = [
            n for n, v in (("train", train), ("holdout", holdout), ("test", test), ("ids", ids)) if v is not None
        ]
        if doubled:
            raise RequestError(f"{', '.join(doubled)} given beside a task: set them on the Task")
        return task
    if train is None or holdout is None:
        raise RequestError(_missing(train, holdout))
    return Task(train=train, holdout=holdout, test=test, ids=ids)


def _missing(train: object, holdout: object) -> list[str]:
    lines = [
        f"{name} is missing: give {name}=, or a task= that holds it"
        for name, value in (("train", train), ("holdout", holdout))
        if value is None
    ]
    if holdout is None:
        lines.append("without records that the model never saw (holdout) nothing can be told: see docs")
    return lines


def check_request(
    model: nn.Module, task: Task, forget: Collection[RecordId], full: bool, judging: bool = False, fresh: bool = True
) -> Request:
    """Check everything that can be wrong with a request, before any work; RequestError lists all problems at once.

    `full` adds the pass over all records: twins of forget records in retain, holdout records seen in training, whole
    classes, NaN in retain records; for an audit (`judging`) also test records that train or are held out. `fresh`
    says that networks will be trained afresh, so that it must be possible to make one.
    """
    found = Findings()
    sets = {"train": task.eval_records or task.train, "holdout": task.holdout, "test": task.test}
    named = (*sets.items(), ("train", task.train))
    unsized = dict.fromkeys(name for name, data in named if data is not None and not _is_map(data))
    asked = read_forget(forget, found)
    found.problems += _missing(task.train, task.holdout)
    found.problems += [f"{name}: expected a map-style dataset with a length and an index" for name in unsized]
    if not isinstance(model, nn.Module):
        found.problems.append(f"model: expected a torch.nn.Module, got {type(model).__name__}")
    if not isinstance(task.batch_size, int) or task.batch_size < 1:
        found.problems.append(f"Task.batch_size: expected a number of records, got {task.batch_size!r}")
    if torch.is_inference_mode_enabled():
        found.problems.append("nothing can be trained in inference mode: call efface outside torch.inference_mode()")
    if found.problems:
        raise RequestError(found.problems)
    records = {name: Records(data, task) for name, data in sets.items() if data is not None}
    train, holdout = records["train"], records["holdout"]
    at = check_ids(task, asked, len(train), found)
    if task.eval_records is not None and len(train) != len(task.train):  # type: ignore[arg-type]
        found.problems.append("eval_records has another length than train: it must hold the same records, same order")
    check_holdout(task, len(holdout), found)
    readable = [check_reading(train, "training", found), check_reading(holdout, "holdout", found)]
    test = records.get("test")
    readable += [check_reading(test, "test", found)] if test is not None and len(test) else []
    if not all(readable):
        raise RequestError(found.problems)
    check_rereading(train, at, found)
    classes = check_model(model, task, train, found)
    if fresh:
        check_fresh(model, task, train, classes, found)
    if not judging:
        check_trainable(model, found)
    hashes: dict[str, Marks] = {}
    if full:
        hashes = check_contents(train, holdout, at, task.ids, classes, found, every=judging and test is not None)
    else:
        check_classes(train, at, found)
        found.warnings.append("the pass over all records was off: twins, shared records and NaN were not looked for")
        for name, data, rows in (("forget", train, at), ("holdout", holdout, range(len(holdout)))):
            for batch in data.stream(rows):
                check_batch(batch, classes, name, found)
    if found.forget_classes:
        found.warnings.append(f"the request takes every record of class {shorten(found.forget_classes)}")
        if not judging and found.left < 2:
            found.problems.append("the request leaves records of one class alone: there is nothing more to tell apart")
    if test is not None:
        check_test(test, hashes if judging else {}, classes, found)
    if found.problems:
        raise RequestError(found.problems)
    told = tuple(found.forget_classes), found.taken, tuple(found.warnings)
    return Request(task, train, holdout, test, tuple(asked), at, classes or 0, *told)


def check_others(models: Mapping[str, nn.Module], request: Request) -> None:
    """Whether other models fit the request's records and classes; RequestError names each that does not.

    That their logits are finite is left to whoever scores them, on all of the records.
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


def _is_map(dataset: Dataset[Any]) -> bool:
    # an iterable dataset inherits an index that raises
    readable = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    return readable and not isinstance(dataset, IterableDataset)


def read_forget(forget: Collection[RecordId], found: Findings) -> list[RecordId]:
    """The ids to forget as Python's own ints and strings; what is wrong with their kind goes to `found`.

    Taken are lists and other sequences, one-dimensional arrays and tensors, and sets, which are put in order.
    """
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
    odd = [v for v in values if not isinstance(v, int | str)]
    if odd:
        found.problems.append(f"forget: record ids are integers or strings, got {shorten(odd)}")
        return []
    # the order of a set of strings changes from one process to the next
    return sorted(values, key=lambda v: (isinstance(v, str), v)) if isinstance(forget, Set) else values


def as_python_ids(ids: Collection[Any]) -> list[Any]:
    """Ids as Python's own ints and strings, whatever array they came in; others as they are."""
    values = ids.tolist() if isinstance(ids, Tensor | np.ndarray) else ids
    return [v.item() if isinstance(v, np.generic) or _is_single(v) else v for v in values]


def _is_single(value: object) -> bool:
    return isinstance(value, Tensor | np.ndarray) and value.ndim == 0


def check_model(model: nn.Module, task: Task, train: Records, found: Findings, finite: bool = True) -> int | None:
    """Number of classes of the model's logits, or None where it gives none; problems go to `found`.

    With `finite` its logits on two records must be so.
    """
    if not isinstance(model, nn.Module):
        found.problems.append(f"expected a torch.nn.Module, got {type(model).__name__}")
        return None
    if not list(model.parameters()):
        found.problems.append("the model has no parameters, so there is nothing to unlearn from")
        return None
    if any(is_lazy(t) for t in (*model.parameters(), *model.buffers())):
        found.problems.append("the model has lazy layers without a shape: run it on a batch of records first")
        return None
    if not all_finite(model):
        found.problems.append("the model's weights hold NaN or infinite values")
        return None
    if not len(train):
        return None
    batch = train.read([0, min(1, len(train) - 1)]).to(device_of(model))
    try:
        with mode(model, training=False), torch.no_grad():
            out = task.forward(model, batch.inputs)
    except Exception as error:  # whatever a user's model raises is the user's to read, in one line
        found.problems.append(
            f"the model cannot read the records ({told(error)}): give Task.forward, Task.unpack or Task.collate"
        )
        return None
    if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != len(batch) or not out.is_floating_point():
        shape = f"a tensor of shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        found.problems.append(
            f"the model must return logits (records, classes); for 2 records it gave {shape}: give Task.forward"
        )
        return None
    if out.shape[1] < 2:
        found.problems.append(
            "the model returns one logit a record; two-class models need two logits: give Task.forward"
        )
        return None
    # records that are not finite themselves have a line of their own
    if finite and not bool(out.isfinite().all()) and finite_inputs(batch):
        found.problems.append(
            "the model's logits hold NaN or infinite values: give a class that is masked a finite logit such as -1e4, "
            "in the model or by Task.forward"
        )
    return int(out.shape[1])


def check_trainable(model: nn.Module, found: Findings) -> None:
    """Whether the model's weights are of a kind that Adam can train."""
    found.problems += [line for line in untrainable(model) if line not in found.problems]


def check_fresh(model: nn.Module, task: Task, train: Records, classes: int | None, found: Findings) -> None:
    """Whether a fresh network can be made, and whether one of Task.build_model fits the records and the classes."""
    with seeded(0):
        network, problems = try_fresh(task, model)
        found.problems += problems
        if network is None or task.build_model is None:
            return
        own = Findings()
        theirs = check_model(network, task, train, own)
    if classes is not None and theirs is not None and theirs != classes:
        own.problems.append(f"its network has {theirs} classes where the model has {classes}")
    found.problems += [f"Task.build_model: {line}" for line in own.problems]
