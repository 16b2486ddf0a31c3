"""What is no network or no dataset is refused, with what to give instead."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import efface
from efface import RequestError, Task
from efface.runtime.kinds import dataset_problem, network_problem
from helpers.tiny import Tiny, mlp

X, Y = torch.zeros(8, 2), torch.zeros(8, dtype=torch.long)


class Trainer:
    def __init__(self, **held: object) -> None:
        self.__dict__.update(held)


class Untrained:
    """A skorch net before it was trained."""

    def initialize(self) -> None:
        pass


class Stubborn:
    @property
    def model(self) -> nn.Module:
        raise RuntimeError("nothing was trained yet")


def from_library(module: str, **held: object) -> object:
    """An object of a class that comes from another library."""
    return type("Theirs", (Trainer,), {"__module__": module})(**held)


def build() -> nn.Module:
    return mlp()


NETWORKS: list[tuple[object, str]] = [
    (Trainer(model=mlp()), "got Trainer: give the network within it, its .model"),
    (Trainer(module=nn.Linear, module_=mlp()), "got Trainer: give the network within it, its .module_"),
    (
        from_library("skorch.classifier", module_=mlp()),
        "got Theirs: give the network within it, its .module_; or efface.integrations.skorch.make_task makes the task",
    ),
    (
        from_library("transformers.trainer"),
        "got Theirs: efface.integrations.transformers.make_task makes the task of it",
    ),
    (Untrained(), "got Untrained: fit or initialize it first, and give its .module_"),
    (Stubborn(), "got Stubborn"),
    (mlp().state_dict(), "got OrderedDict: load the state dict into a network by load_state_dict, and give that"),
    ("model.pt", "got str: load the weights into a network, and give that; the command line takes files"),
    (Path("model.pt"), "Path: load the weights into a network"),
    (nn.Linear, "got the class Linear: give a network of it, with the trained weights loaded"),
    (build, "got function: call it, and give the network"),
    (None, "got NoneType"),
    (3, "got int"),
]


@pytest.mark.parametrize(("value", "message"), NETWORKS)
def test_what_holds_a_network_is_refused_by_where_it_is(value: Any, message: str, tiny: Tiny) -> None:
    assert network_problem(mlp()) is None
    line = network_problem(value)
    assert line is not None and line.startswith("expected a torch.nn.Module, got ") and message in line
    with pytest.raises(RequestError) as caught:
        efface.unlearn(value, forget=tiny.forget, task=tiny.task())
    assert f"model: {line}" in caught.value.problems
    task = tiny.task()
    for one, other in ((value, tiny.model), (tiny.model, value)):
        with pytest.raises(RequestError) as caught:
            efface.audit_models(one, other, forget=tiny.forget, task=task, level="quick")
        assert any(line in problem for problem in caught.value.problems)


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[Any]:
        return iter(())


class Table:
    """What efface sees of a data frame."""

    columns, iloc = ("a", "b"), None

    def __len__(self) -> int:
        return 8

    def __getitem__(self, name: str) -> Any:
        raise KeyError(name)

    def to_numpy(self) -> Any:
        return X.numpy()


class Rows(Dataset):
    """A dataset that keeps its table where others have columns."""

    columns, iloc, to_numpy, edge_index = (), None, None, None

    def __len__(self) -> int:
        return 8

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        return X[at], Y[at]


DATASETS: list[tuple[object, str]] = [
    (DataLoader(TensorDataset(X, Y)), "got DataLoader: give its .dataset"),
    (
        Trainer(train_dataloader=build),
        "got Trainer: give the dataset within it, such as .train_dataloader().dataset (or .val_...) after",
    ),
    (
        from_library("lightning.pytorch.core.datamodule", train_dataloader=build),
        "after its setup(); or efface.integrations.lightning.make_task makes the task of it: file:",
    ),
    (from_library("pandas.core.frame", iloc=None), "y = table[label].to_numpy(); or efface.integrations.tables.make"),
    (Stream(), "got Stream: records are asked for by their number: give a list of them, list(...), if they fit"),
    (iter([]), "records are asked for by their number"),
    (Table(), "got Table: give torch.utils.data.TensorDataset(torch.as_tensor(X), torch.as_tensor(y)), with X ="),
    ((X, Y), "got tuple: give torch.utils.data.TensorDataset(torch.as_tensor(X), torch.as_tensor(y))"),
    ((X.numpy(), Y.numpy()), "got tuple: give torch.utils.data.TensorDataset("),
    ([X, Y.tolist()], "got list: give torch.utils.data.TensorDataset("),
    (X, "got Tensor: a record is a pair of input and label: give torch.utils.data.TensorDataset("),
    (X.numpy(), "got ndarray: a record is a pair"),
    ({"x": X, "y": Y}, "got dict: give torch.utils.data.TensorDataset("),
    ({"train": TensorDataset(X, Y)}, "got dict: give one of its parts, such as ['train']"),
    (SimpleNamespace(edge_index=X, x=X), "a graph is one record"),
    ("data.csv", "got str: read it, and give the records"),
    (Path("data.csv"), "Path: read it, and give the records"),
    (TensorDataset, "got the class TensorDataset: make one"),
    (3, "got int"),
]


@pytest.mark.parametrize(("value", "message"), DATASETS)
def test_what_holds_records_is_refused_with_what_to_give(value: Any, message: str, tiny: Tiny) -> None:
    line = dataset_problem(value)
    assert line is not None and line.startswith("expected a map-style dataset with a length and an index, got ")
    assert message in line
    for name in ("train", "holdout", "test"):
        with pytest.raises(RequestError) as caught:
            efface.unlearn(tiny.model, forget=tiny.forget, task=tiny.task(**{name: value}))
        assert f"{name}: {line}" in caught.value.problems


@pytest.mark.parametrize(
    "value",
    [TensorDataset(X, Y), list(zip(X, Y, strict=True)), tuple(zip(X, Y, strict=True)), Rows(), {0: (X[0], Y[0])}, []],
)
def test_datasets_are_taken(value: Any) -> None:
    assert dataset_problem(value) is None


def test_rows_that_a_hook_splits_are_taken() -> None:
    for rows in (X, X.numpy()):
        assert dataset_problem(rows) is not None and dataset_problem(rows, has_hooks=True) is None


def test_the_line_that_is_given_is_one_that_works(tiny: Tiny) -> None:
    x, y = tiny.x.numpy(), tiny.y.numpy()
    line = dataset_problem((x, y))
    assert line is not None
    made = eval(line.partition("give ")[2], {"torch": torch, "X": x, "y": y})
    task = Task(train=made, holdout=TensorDataset(tiny.holdout_x, tiny.holdout_y))
    assert efface.unlearn(tiny.model, forget=tiny.forget, task=task, method="noop").forget == tiny.forget


def test_rows_of_a_librarys_data_set_that_cannot_be_read_name_what_reads_them(tiny: Tiny) -> None:
    class Unreadable(Dataset):
        __module__ = "datasets.arrow_dataset"

        def __len__(self) -> int:
            return 300

        def __getitem__(self, at: int) -> dict[str, str]:
            return {"text": "some words"}

    with pytest.raises(RequestError, match=r"Task\.collate; or efface\.integrations\.transformers\.make_task makes"):
        efface.unlearn(tiny.model, forget=tiny.forget, task=tiny.task(train=Unreadable()))
