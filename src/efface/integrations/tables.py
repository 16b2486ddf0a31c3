"""pandas, polars and `datasets.Dataset` tables as tasks: inputs and target by column, ids and groups kept."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import TensorDataset

from efface.errors import RequestError, collect_errors, shorten
from efface.runtime.options import clear_calls
from efface.task import Task
from efface.types import RecordId


@clear_calls()
def make_task(
    train: Any,
    holdout: Any,
    *,
    inputs: Sequence[str],
    target: str | Sequence[str],
    ids: str | None = None,
    groups: str | None = None,
    **fields: Any,
) -> Task:
    """A task from tables of pandas, polars or `datasets`, whose inputs are numbers.

    Args:
        train: All records that the original model was trained on.
        holdout: Records that it never saw, with the same columns.
        inputs: The columns that the model reads, in its order; a record is a row of them, float32. A column may hold
            lists of one length.
        target: The column of the target: whole numbers for classes, other numbers for real values. Several columns make
            a row of them, float32.
        ids: The column of `train` that holds a permanent id for each record. By default the index of a pandas table,
            and else the number of the row.
        groups: The column of all tables that holds the person, or other group, of each record.
        fields: Other fields of the task, such as `test`, a table too, `kind`, or `build_model`.

    Raises:
        RequestError: A column is missing, or holds text or missing values; all problems are listed.
    """
    problems: list[str] = []
    tables = {"train": train, "holdout": holdout, "test": fields.pop("test", None)}
    made: dict[str, Any] = {}
    for name, table in tables.items():
        if table is None:
            continue
        x = collect_errors(problems, _matrix, table, inputs, name)
        y = collect_errors(problems, _targets, table, target, name)
        if x is not None and y is not None:
            made[name] = TensorDataset(x, y)
        if groups is not None:
            field = "groups" if name == "train" else f"{name}_groups"
            made[field] = collect_errors(problems, keys, table, groups, name)
    made["ids"] = collect_errors(problems, keys, train, ids, "train") if ids is not None else index_of(train)
    if problems:
        raise RequestError(problems)
    return Task(**made, **fields)


def keys(table: Any, column: str, name: str) -> list[RecordId]:
    """Ids, or keys of groups, from a column, as Python's own integers and strings; the task checks them.

    Args:
        table: A table of pandas, polars or `datasets`.
        column: The column.
        name: The name of the table in messages, such as `train`.

    Raises:
        RequestError: There is no such column.
    """
    values = _column(table, column, name)
    listed = values.tolist() if isinstance(values, np.ndarray) else list(values)
    # pandas makes whole numbers into floats where one is missing; the task refuses what is no id
    return listed


def index_of(table: Any) -> list[RecordId] | None:
    """The index of a pandas table as ids; None for other tables, and where the index is the number of the row."""
    index = getattr(table, "index", None)
    if index is None or callable(index) or not hasattr(table, "iloc"):
        return None
    listed: list[RecordId] = index.tolist()
    return None if listed == list(range(len(listed))) else listed


def _column(table: Any, column: str, name: str) -> Any:
    """One column of a table, as an array where it can be one."""
    known = getattr(table, "column_names", None) or getattr(table, "columns", None)
    if known is None or isinstance(table, Mapping):
        raise RequestError(f"{name}: expected a table of pandas, polars or datasets, got {type(table).__name__}")
    names = list(known)
    if column not in names:
        raise RequestError(f"{name} has no column {column!r}: it has {shorten(names, 8)}")
    if hasattr(table, "with_format"):  # a datasets.Dataset, whose own format may be that of another library
        return table.with_format("numpy")[column][:]
    values = table[column]
    return values.to_numpy()


def _numbers(table: Any, column: str, name: str) -> NDArray[Any]:
    values = np.asarray(_column(table, column, name))
    if values.dtype == object:  # lists of one length, pandas' own numbers with missing values, or text
        try:
            values = np.stack([np.asarray(v, dtype=np.float64) for v in values])
        except (TypeError, ValueError):
            raise RequestError(
                f"{name}: column {column!r} holds values that are no numbers, such as {_odd(values)!r}: encode it as "
                "for training, and give the encoded columns"
            ) from None
    if values.dtype.kind not in "biuf":
        raise RequestError(
            f"{name}: column {column!r} holds {values.dtype}, no numbers: encode it as for training, and give the "
            "encoded columns"
        )
    if values.dtype.kind == "f" and (missing := int((~np.isfinite(values)).sum())):
        raise RequestError(f"{name}: column {column!r} has {missing} missing or infinite values: fill them first")
    return values


def _odd(values: NDArray[Any]) -> object:
    return next((v for v in values if isinstance(v, str) or v is None), values[0])


def _matrix(table: Any, inputs: Sequence[str], name: str) -> Tensor:
    if isinstance(inputs, str) or not len(inputs):
        raise RequestError(f"inputs: expected the names of columns, such as ['age', 'income'], got {inputs!r}")
    problems: list[str] = []
    columns = [collect_errors(problems, _numbers, table, column, name) for column in inputs]
    if problems:
        raise RequestError(problems)
    flat = [c.reshape(len(c), -1) for c in columns if c is not None]
    return torch.from_numpy(np.concatenate(flat, 1).astype(np.float32))


def _targets(table: Any, target: str | Sequence[str], name: str) -> Tensor:
    if not isinstance(target, str):
        return _matrix(table, target, name)
    values = _numbers(table, target, name)
    return torch.from_numpy(values.astype(np.float32 if values.dtype.kind == "f" or values.ndim > 1 else np.int64))
