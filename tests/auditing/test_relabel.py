"""Records with other labels: of every kind of record that has one item that is the label, and refused else."""

import copy
import enum
import pickle
from collections import UserDict
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset

from efface import Task
from efface.auditing.relabel import NO_PLACE, Relabelled, relabel
from efface.data.records import Records

X = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
Y = torch.arange(20) % 3
DONORS = {0: 2, 7: 0, 19: 2}  # other classes: 0, 1, 1 become 2, 0, 2
WANTED = [2, *Y[1:7].tolist(), 0, *Y[8:19].tolist(), 2]


class Own(TensorDataset):
    pass


class Pair(NamedTuple):
    x: Tensor
    y: int


class Kind(enum.IntEnum):
    ONE = 0
    TWO = 1
    THREE = 2


@dataclass(frozen=True)
class Graph:
    nodes: Tensor
    y: Tensor


class Many(Dataset[Any]):
    """Read many at once, as data sets on disk are; with an attribute of its own."""

    classes = 3

    def __len__(self) -> int:
        return len(Y)

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        return X[at], int(Y[at])

    def __getitems__(self, at: list[int]) -> list[tuple[Tensor, int]]:
        return [self[i] for i in at]


def each(make: Callable[[Tensor, Tensor], Any]) -> list[Any]:
    return [make(x, y) for x, y in zip(X, Y, strict=True)]


def by(inputs: Callable[[Any], Any], label: Callable[[Any], Any]) -> dict[str, Any]:
    """A collate function that makes pairs of samples of any kind."""
    return {
        "collate": lambda samples: (
            torch.stack([torch.as_tensor(inputs(s)) for s in samples]),
            torch.as_tensor([int(label(s)) for s in samples]),
        )
    }


KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "tensors": (TensorDataset(X, Y), {}),
    "tensors of small integers": (TensorDataset(X, Y.to(torch.uint8)), {}),
    "own class of tensors": (Own(X, Y), {}),
    "three tensors": (TensorDataset(X, Y, X + 1), {"unpack": lambda b: (torch.stack([b[0], b[2]], 1), b[1])}),
    "targets of two dimensions": (TensorDataset(X, Y[:, None]), {"unpack": lambda b: (b[0], b[1][:, 0])}),
    "many at once": (Many(), {}),
    "subset": (Subset(TensorDataset(X.repeat(2, 1), Y.repeat(2)), range(20)), {}),
    "subset of another order": (Subset(TensorDataset(X.flip(0), Y.flip(0)), range(19, -1, -1)), {}),
    "subset of a subset": (Subset(Subset(Many(), range(20)), [*range(20)]), {}),
    "subset with a record twice": (Subset(TensorDataset(X, Y), [*range(20), 0, 7]), {}),
    "0-d tensors": (each(lambda x, y: (x, y)), {}),
    "integers": (each(lambda x, y: (x, int(y))), {}),
    "lists": (each(lambda x, y: [x, y]), {}),
    "named tuples": (each(lambda x, y: Pair(x, int(y))), {}),
    "NumPy's integers": (each(lambda x, y: (x.numpy(), y.numpy()[()])), {}),
    "NumPy's arrays": (each(lambda x, y: (x.numpy(), y.numpy())), {}),
    "members of an enumeration": (each(lambda x, y: (x, Kind(int(y)))), by(lambda s: s[0], lambda s: s[1])),
    "label first": (each(lambda x, y: (y, x)), {"unpack": lambda b: (b[1], b[0])}),
    "dicts": (each(lambda x, y: {"x": x, "y": y, "k": 1}), {"unpack": lambda b: (b["x"], b["y"])}),
    "dicts by collate": (each(lambda x, y: {"x": x, "y": int(y)}), by(lambda s: s["x"], lambda s: s["y"])),
    "own dicts": (each(lambda x, y: UserDict(x=x, y=y)), by(lambda s: s["x"], lambda s: s["y"])),
    "dicts in dicts": (
        each(lambda x, y: {"in": {"x": x}, "out": {"true": [y], "guess": y}}),
        by(lambda s: s["in"]["x"], lambda s: s["out"]["true"][0]),
    ),
    "objects": (each(lambda x, y: SimpleNamespace(x=x, y=y)), by(lambda s: s.x, lambda s: s.y)),
    "frozen objects in tuples": (each(lambda x, y: (Graph(x, y), 1)), by(lambda s: s[0].nodes, lambda s: s[0].y)),
    "texts": (each(lambda x, y: (x, f"class {int(y)}")), by(lambda s: s[0], lambda s: s[1][-1])),
    "one column a class": (
        each(lambda x, y: (x, torch.eye(3)[y])),
        {"unpack": lambda b: (b[0], b[1].argmax(1))},
    ),
    "two parts": (
        each(lambda x, y: (x, [y > 1, y > 0])),
        {"unpack": lambda b: (b[0], b[1][0].long() + b[1][1].long())},
    ),
    "given to the model too": (each(lambda x, y: {"x": x, "labels": y}), {"unpack": lambda b: (b, b["labels"])}),
    "last of a sequence": (
        each(lambda x, y: [*x.round().int().tolist(), int(y)]),
        {"collate": torch.tensor, "unpack": lambda b: (b[:, :-1], b[:, -1].clone())},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_chosen_records_get_the_labels_of_others(kind: str) -> None:
    data, hooks = KINDS[kind]
    task = Task(train=data, holdout=data, **hooks)
    before = Records(data, task).read(range(20))
    changed = relabel(task, data, DONORS)
    assert not isinstance(changed, str) and len(changed) == len(data)
    after = Records(changed, task).read(range(20))
    assert after.targets.tolist() == WANTED
    assert Records(data, task).read(range(20)).targets.tolist() == Y.tolist(), "the data set is as it was"
    inputs = [b.inputs["x"] if isinstance(b.inputs, dict) else b.inputs for b in (before, after)]
    assert torch.equal(*inputs)
    # each label is of the kind that the others are of, and the items beside it are the same
    assert type(changed[0]) is type(data[0])
    for at in DONORS:
        assert kinds_in(changed[at]) == kinds_in(data[at])
    # through a Subset positions are those of the whole
    part = Records(Subset(changed, [19, 1, 7]), task).read([0, 1, 2])  # type: ignore[arg-type]
    assert part.targets.tolist() == [2, 1, 0]


def kinds_in(sample: Any) -> list[Any]:
    """The types, shapes and dtypes of what a record holds."""
    if isinstance(sample, dict | UserDict | SimpleNamespace | Graph):
        sample = list((sample if isinstance(sample, dict | UserDict) else vars(sample)).values())
    if isinstance(sample, list | tuple):
        return [one for value in sample for one in kinds_in(value)]
    return [(type(sample), getattr(sample, "shape", None), getattr(sample, "dtype", None))]


def test_what_is_read_fast_stays_so() -> None:
    changed = {k: relabel(Task(train=d, holdout=d, **hooks), d, DONORS) for k, (d, hooks) in KINDS.items()}
    for kind in ("tensors", "tensors of small integers", "three tensors"):
        assert type(changed[kind]) is TensorDataset
    for kind in ("subset", "subset of another order"):
        assert isinstance(changed[kind], Subset) and type(changed[kind].dataset) is TensorDataset
    for kind in ("own class of tensors", "subset with a record twice", "many at once"):
        assert isinstance(changed[kind], Relabelled)
    twice = Records(changed["subset with a record twice"], Task(train=[], holdout=[]))  # type: ignore[arg-type]
    assert twice.targets([0, 20, 7, 21]).tolist() == [2, 0, 0, 1], "a record that was not chosen keeps its label"
    assert changed["many at once"].classes == 3  # type: ignore[union-attr]
    for copied in (copy.deepcopy(changed["many at once"]), pickle.loads(pickle.dumps(changed["many at once"]))):
        assert [int(y) for _, y in copied.__getitems__([0, 1])] == [2, 1]


def twice(samples: list[Any]) -> Any:
    assert all(s["y"] == s["also"] for s in samples)
    return torch.stack([s["x"] for s in samples]), torch.tensor([int(s["y"]) for s in samples])


@pytest.mark.parametrize(
    ("data", "hooks"),
    [
        ([*torch.cat([X, Y[:, None]], 1)], {"unpack": lambda b: (b[:, :3], b[:, 3].long().clone())}),
        (each(lambda x, y: {"x": x, "y": y, "also": y}), {"collate": twice}),
        (
            [{"all": (x, y)} for x, y in zip(X, Y, strict=True)],
            {"unpack": lambda b: (b["all"], b["all"][0].sum(1).long())},
        ),
    ],
    ids=["a column", "twice", "made of the inputs"],
)
def test_records_without_one_item_that_is_the_label_are_told(data: Any, hooks: dict[str, Any]) -> None:
    found = relabel(Task(train=data, holdout=data, **hooks), data, DONORS)
    assert isinstance(found, str) and found == NO_PLACE


def test_records_that_cannot_be_read_are_told() -> None:
    def collate(samples: list[Any]) -> Any:
        raise KeyError("pixels")

    data = each(lambda x, y: (x, y))
    found = relabel(Task(train=data, holdout=data, collate=collate), data, DONORS)
    assert found == "records with other labels cannot be read (record 0 cannot be read (KeyError: 'pixels'))"
    assert np.array_equal(Kind.ONE, 0), "no member of an enumeration was changed"
