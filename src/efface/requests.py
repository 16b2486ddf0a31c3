"""A request: the task, the forget set by position, and whether it can be honoured at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset

from efface.data.checks import (
    Findings,
    check_batch,
    check_contents,
    check_holdout,
    check_ids,
    check_reading,
    check_rereading,
    check_test,
    few,
)
from efface.data.records import Records
from efface.errors import RequestError
from efface.models import all_finite, device_of, fresh_problems, mode
from efface.task import Task
from efface.types import Indices, RecordId


@dataclass(frozen=True)
class Request:
    """A request that can be honoured; `forget` are positions in `train`, in the order of `ids`."""

    task: Task
    train: Records
    holdout: Records
    test: Records | None
    ids: tuple[RecordId, ...]
    forget: Indices
    classes: int
    warnings: tuple[str, ...]


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
    missing = [name for name, value in (("train", train), ("holdout", holdout)) if value is None]
    if train is None or holdout is None:
        raise RequestError(
            [f"{name} is missing: give {name}=, or a task= that holds it" for name in missing]
            + (
                ["without records that the model never saw (holdout) nothing can be told: see docs"]
                if holdout is None
                else []
            )
        )
    return Task(train=train, holdout=holdout, test=test, ids=ids)


def check_request(
    model: nn.Module, task: Task, forget: Sequence[RecordId], full: bool, judging: bool = False
) -> Request:
    """Check everything that can be wrong with a request, before any work; RequestError lists all problems at once.

    `full` adds the pass over all records: twins of forget records in retain, holdout records seen in training, whole
    classes, NaN in retain records; for an audit (`judging`) also test records that train or are held out.
    """
    found = Findings()
    sets = {"train": task.eval_records or task.train, "holdout": task.holdout, "test": task.test}
    records = {name: Records(data, task) for name, data in sets.items() if data is not None}
    named = (*sets.items(), ("train", task.train))
    unsized = dict.fromkeys(name for name, data in named if data is not None and not _is_map(data))
    if unsized:
        raise RequestError([f"{name}: expected a map-style dataset with a length and an index" for name in unsized])
    train, holdout = records["train"], records["holdout"]
    if isinstance(forget, str | bytes) or not hasattr(forget, "__len__"):
        raise RequestError(f"forget: expected a sequence of record ids, got {type(forget).__name__}")
    odd = [i for i in _plain(forget) if not isinstance(i, int | str)]
    if odd:
        raise RequestError(f"forget: record ids are integers or strings, got {few(odd)}")
    at = check_ids(task, _plain(forget), len(train), found)
    if task.eval_records is not None and len(train) != len(task.train):  # type: ignore[arg-type]
        found.problems.append("eval_records has another length than train: it must hold the same records, same order")
    check_holdout(task, len(holdout), found)
    readable = [check_reading(train, "training", found), check_reading(holdout, "holdout", found)]
    test = records.get("test")
    readable += [check_reading(test, "test", found)] if test is not None and len(test) else []
    if not all(readable):
        raise RequestError(found.problems)
    check_rereading(train, at, found)
    classes = _check_model(model, task, train, found)
    found.problems += fresh_problems(task, model)
    if full:
        check_contents(train, holdout, at, task.ids, classes, found)
    else:
        found.warnings.append("the pass over all records was off: twins, shared records and NaN were not looked for")
        for name, data, rows in (("forget", train, at), ("holdout", holdout, range(len(holdout)))):
            for batch in data.stream(rows):
                check_batch(batch, classes, name, found)
    if test is not None:
        check_test(test, train, holdout, classes, full and judging, found)
    if found.problems:
        raise RequestError(found.problems)
    return Request(task, train, holdout, test, tuple(_plain(forget)), at, classes or 0, tuple(found.warnings))


def check_others(models: Mapping[str, nn.Module], request: Request) -> None:
    """Whether other models fit the request's records and classes; RequestError names each that does not."""
    problems = []
    for name, model in models.items():
        found = Findings()
        classes = _check_model(model, request.task, request.train, found)
        if classes is not None and classes != request.classes:
            found.problems.append(f"it has {classes} classes where the original has {request.classes}")
        problems += [f"{name}: {line}" for line in found.problems]
    if problems:
        raise RequestError(problems)


def _is_map(dataset: Dataset[Any]) -> bool:
    # an iterable dataset inherits an index that raises
    readable = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    return readable and not isinstance(dataset, IterableDataset)


def _plain(forget: Sequence[RecordId]) -> list[RecordId]:
    """Ids as Python's own ints and strings, whatever array they came in."""
    return [i.item() if hasattr(i, "item") else i for i in forget]


def _check_model(model: nn.Module, task: Task, train: Records, found: Findings) -> int | None:
    """Number of classes of the model's logits, or None where it gives none; problems go to `found`."""
    if not isinstance(model, nn.Module):
        raise RequestError(f"model: expected a torch.nn.Module, got {type(model).__name__}")
    if not list(model.parameters()):
        found.problems.append("the model has no parameters, so there is nothing to unlearn from")
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
        told = f"{type(error).__name__}: {error}".splitlines()[0]
        found.problems.append(
            f"the model cannot read the records ({told}): give Task.forward, Task.unpack or Task.collate"
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
    return int(out.shape[1])
