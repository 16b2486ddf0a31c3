"""The fields of a task: what is refused before any record is read, and what is taken."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import efface
from efface import RequestError, Task
from efface.runtime.kinds import dataset_problem
from efface.task import check_task
from helpers.tiny import Tiny, mlp


def problems_of(task: object) -> tuple[str, ...]:
    """The problems of a task, one line each; empty if it is taken."""
    try:
        check_task(task)
    except RequestError as error:
        return error.problems
    return ()


def fit(model: nn.Module, dataset: object, seed: int) -> None:
    """A recipe of the right form."""


FUNCTION = "expected a function, called as"
HOOKS: dict[str, tuple[dict[str, Any], str]] = {
    "a network for build_model": (
        {"build_model": mlp()},
        f"Task.build_model: {FUNCTION} build_model(), got the network itself: give what makes a new one, such as "
        "lambda: MyNet()",
    ),
    "build_model that wants a size": (
        {"build_model": lambda size: size},
        f"Task.build_model: {FUNCTION} build_model(), which it cannot be (missing a required argument: 'size')",
    ),
    "fit without a seed": (
        {"fit": lambda model, dataset: None},
        f"Task.fit: {FUNCTION} fit(model, dataset, seed), which it cannot be (too many positional arguments)",
    ),
    "fit as a number": ({"fit": 3}, f"Task.fit: {FUNCTION} fit(model, dataset, seed), got int"),
    "no unpack": ({"unpack": None}, f"Task.unpack: {FUNCTION} unpack(batch), got None"),
    "forward without a model": (
        {"forward": lambda inputs: inputs},
        f"Task.forward: {FUNCTION} forward(model, inputs), which it cannot be (too many positional arguments)",
    ),
    "collate as text": ({"collate": "default"}, f"Task.collate: {FUNCTION} collate(records), got str"),
    "perturb without a generator": (
        {"perturb": lambda inputs: inputs},
        f"Task.perturb: {FUNCTION} perturb(inputs, generator), which it cannot be (too many positional arguments)",
    ),
    "perturb as a share": ({"perturb": 0.1}, f"Task.perturb: {FUNCTION} perturb(inputs, generator), got float"),
    "describe as a column": ({"describe": "name"}, f"Task.describe: {FUNCTION} describe(record), got str"),
    "no record in a batch": ({"batch_size": 0}, "Task.batch_size: expected a number of records, got 0"),
    "half a record in a batch": ({"batch_size": 2.5}, "Task.batch_size: expected a number of records, got 2.5"),
    "a batch of True": ({"batch_size": True}, "Task.batch_size: expected a number of records, got True"),
    "fine_tuned in words": ({"fine_tuned": "no"}, "Task.fine_tuned: expected True or False, got 'no'"),
    "the holdout's use as a flag": (
        {"holdout_used_for": False},
        "Task.holdout_used_for: expected text such as 'early stopping', got False",
    ),
}


@pytest.mark.parametrize("name", HOOKS)
def test_a_field_of_a_wrong_kind_is_refused(name: str, tiny: Tiny) -> None:
    fields, line = HOOKS[name]
    assert problems_of(tiny.task(**fields)) == (line,)


def test_all_fields_are_refused_together_and_with_what_else_is_wrong(tiny: Tiny) -> None:
    task = tiny.task(perturb=3, fit=3, batch_size=0, fine_tuned=None)
    with pytest.raises(RequestError) as caught:
        efface.unlearn(tiny.model, forget=[], task=task, seed=True, method="ster")
    starts = ("seed: ", "there is no method", "Task.fit: ", "Task.perturb: ", "Task.batch_size: ", "Task.fine_tuned: ")
    assert [line.startswith(start) for line, start in zip(caught.value.problems, starts, strict=True)] == [True] * 6


@pytest.mark.parametrize("which", ["train", "holdout", "test", "eval_records"])
def test_what_is_no_map_style_dataset_is_refused_by_its_name(which: str, tiny: Tiny) -> None:
    pair = tiny.x, tiny.y
    for value in (DataLoader(TensorDataset(*pair)), pair, "data/train.csv", TensorDataset):
        line = dataset_problem(value)
        assert line is not None and problems_of(tiny.task(**{which: value})) == (f"{which}: {line}",)


def test_one_data_set_in_two_roles_is_refused(tiny: Tiny) -> None:
    task = tiny.task()
    same = "is the same data set as"
    mend = "the records of one must not be in the other"
    assert problems_of(tiny.task(train=task.train, test=task.train)) == (f"test {same} train: {mend}",)
    assert problems_of(tiny.task(holdout=task.holdout, test=task.holdout)) == (f"test {same} holdout: {mend}",)
    assert problems_of(Task(train=task.train, holdout=task.train)) == (f"holdout {same} train: {mend}",)
    swapped = problems_of(tiny.task(holdout=task.holdout, eval_records=task.holdout))
    assert swapped == (
        "eval_records: expected the records of train without augmentation, got the holdout or the test set",
    )
    assert problems_of(tiny.task(train=task.train, eval_records=task.train)) == ()


def test_what_is_no_task_is_refused_with_what_to_do() -> None:
    assert problems_of("my_task:task") == ("task: expected an efface.Task, got str",)
    assert problems_of(Task) == ("task: expected an efface.Task, got the class Task: call it",)
    assert problems_of(fit) == ("task: expected an efface.Task, got the function fit: call it",)


class Hooks:
    """Hooks that are methods, and an object that can be called."""

    def forward(self, model: nn.Module, inputs: Any) -> Any:
        """Call the model."""
        return model(inputs)

    def __call__(self, inputs: Any, generator: torch.Generator) -> Any:
        """Perturb nothing."""
        return inputs


def test_hooks_of_every_kind_are_taken(tiny: Tiny) -> None:
    hooks = Hooks()
    taken: tuple[dict[str, Any], ...] = (
        {"fit": fit, "forward": hooks.forward, "perturb": hooks, "build_model": mlp},
        {"build_model": partial(nn.Linear, 16, 3), "collate": list, "describe": str, "unpack": tuple},
        {"build_model": nn.Identity, "fit": lambda *given: None, "describe": lambda record, length=3: "text"},
        {"batch_size": np.int64(8), "holdout_used_for": "early stopping", "fine_tuned": True},
        {"train": [(torch.zeros(2), 1)], "holdout": {0: (torch.zeros(2), 1)}, "test": []},
    )
    for fields in taken:
        assert problems_of(tiny.task(**fields)) == (), fields
