"""pandas, polars and datasets: inputs, targets, ids and groups by column."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

import efface
from efface.integrations.tables import make_task
from extras.pages import code_lines, run_page
from extras.rows import FEATURES, Net, classes
from extras.runs import forgot, unlearn

INPUTS = [f"x{k}" for k in range(FEATURES)]


def frame(n: int, seed: int) -> pd.DataFrame:
    x, y = classes(n, seed)
    table = pd.DataFrame(x.numpy(), columns=INPUTS)
    table["y"], table["id"], table["person"] = y.numpy(), [f"r{k}" for k in range(n)], [k // 2 for k in range(n)]
    return table


TRAIN, UNSEEN = frame(300, 0), frame(200, 1)
UNSEEN["person"] += 1000
AS: dict[str, Any] = {
    "pandas": lambda table: table,
    "pandas' own numbers": lambda table: table.convert_dtypes(),
    "polars": pl.from_pandas,
    "datasets": datasets.Dataset.from_pandas,
    "datasets in torch format": lambda table: datasets.Dataset.from_pandas(table).with_format("torch"),
}


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    made, (x, y) = Net(), classes(300, 0)
    optimiser = torch.optim.Adam(made.parameters(), lr=1e-2)
    for _ in range(150):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(made(x), y).backward()
        optimiser.step()
    return made.eval()


@pytest.mark.parametrize("name", AS)
def test_tables_of_every_library_give_the_same_task(name: str) -> None:
    x, y = classes(300, 0)
    task = make_task(AS[name](TRAIN), AS[name](UNSEEN), inputs=INPUTS, target="y", ids="id", groups="person")
    assert torch.equal(task.train.tensors[0], x) and torch.equal(task.train.tensors[1], y)
    assert list(task.ids)[:2] == ["r0", "r1"] and list(task.groups)[:3] == [0, 0, 1]
    assert list(task.holdout_groups)[:3] == [1000, 1000, 1001]


def test_ids_and_groups_name_what_is_erased(model: torch.nn.Module) -> None:
    task = make_task(TRAIN, UNSEEN, inputs=INPUTS, target="y", ids="id", groups="person")
    result = unlearn(model, task, forget=[f"r{k}" for k in range(30)])
    forgot(result)
    by_person = unlearn(model, task, forget=efface.ByGroup(list(range(15))))
    assert {r.id for r in by_person.records} == {f"r{k}" for k in range(30)}


def test_the_index_of_a_filtered_pandas_table_names_its_rows() -> None:
    part = TRAIN[TRAIN.index % 2 == 1]
    task = make_task(part, UNSEEN, inputs=INPUTS, target="y")
    assert list(task.ids)[:3] == [1, 3, 5]
    assert make_task(TRAIN, UNSEEN, inputs=INPUTS, target="y").ids is None


def test_targets_are_classes_values_or_rows() -> None:
    def targets(**given: Any) -> torch.Tensor:
        table = TRAIN.assign(value=TRAIN["y"] + 0.5, is_one=TRAIN["y"] == 1)
        return make_task(table, table.copy(), inputs=INPUTS, **given).train.tensors[1]

    assert targets(target="y").dtype == torch.int64 and targets(target="value").dtype == torch.float32
    assert targets(target="is_one").dtype == torch.int64
    assert targets(target=["y", "value"]).shape == (300, 2)


def test_lists_in_a_column_are_several_inputs() -> None:
    lists = pl.DataFrame({"v": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], "y": [0, 1, 0]})
    task = make_task(lists, lists.clone(), inputs=["v"], target="y")
    assert task.train.tensors[0].tolist() == [[1, 2], [3, 4], [5, 6]]


FAULTS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "a column that is not there": (TRAIN, {"target": "label"}, "train has no column 'label': it has 'x0', 'x1'"),
    "text": (TRAIN, {"inputs": ["x0", "id"]}, "column 'id' holds values that are no numbers, such as 'r0'"),
    "a missing value": (TRAIN.assign(x0=np.nan), {}, "column 'x0' has 300 missing or infinite values"),
    "no table": ({"x0": [1]}, {}, "expected a table of pandas, polars or datasets, got dict"),
    "one name for all": (TRAIN, {"inputs": "x0"}, "expected the names of columns"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_named(name: str) -> None:
    table, given, message = FAULTS[name]
    with pytest.raises(efface.RequestError, match=message):
        make_task(table, UNSEEN, **{"inputs": INPUTS, "target": "y", **given})


def test_the_page_runs_in_five_lines(model: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run_page("tables", {"model": model, "train": TRAIN, "holdout": UNSEEN, "columns": INPUTS})
    assert len(names["result"].records) == 6
    assert len(code_lines("tables")) <= 5


def test_a_table_given_as_records_names_what_makes_the_task(model: torch.nn.Module) -> None:
    for table in (TRAIN, pl.from_pandas(TRAIN)):
        with pytest.raises(efface.RequestError, match=r"or efface\.integrations\.tables\.make_task makes the task"):
            efface.check(model, train=table, holdout=UNSEEN, forget=[1])  # type: ignore[arg-type]
