"""What to give instead of a trainer, a loader, a table or two arrays, recognised without importing their libraries."""

import inspect
from collections.abc import Iterator, Mapping
from os import PathLike

import numpy as np
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from efface.runtime.pages import page

MAP_STYLE = "expected a map-style dataset with a length and an index"
# where libraries keep the network: skorch; Hugging Face's, Lightning's and other trainers; a wrapper without a class
NETWORKS = ("module_", "model", "module", "lightning_module", "net")
# modules of efface.integrations, by the package that a value's class, or one that it extends, comes from
INTEGRATIONS = {
    "transformers": "transformers",
    "peft": "peft",
    "lightning": "lightning",
    "pytorch_lightning": "lightning",
    "skorch": "skorch",
    "timm": "timm",
    "torchvision": "timm",
    "pandas": "tables",
    "polars": "tables",
    "datasets": "transformers",
}
TENSORS = "torch.utils.data.TensorDataset(torch.as_tensor(X), torch.as_tensor(y))"


def network_problem(value: object) -> str | None:
    """Why a value is no network, with what to give instead; None if it is a torch.nn.Module."""
    if isinstance(value, nn.Module):
        return None
    if isinstance(value, type):
        kind, mend = f"the class {value.__name__}", "give a network of it, with the trained weights loaded"
    else:
        kind, mend = type(value).__name__, or_by_integration(_network_mend(value), value)
    return f"expected a torch.nn.Module, got {kind}{mend and f': {mend}'}"


def dataset_problem(value: object, has_hooks: bool = False) -> str | None:
    """Why a value is no map-style dataset of records, with what to give instead; None if it may be one.

    Args:
        value: What was given as a dataset; no record of it is read.
        has_hooks: Whether the task has a `collate` or `unpack` of its own, which may split a row of an array.
    """
    mend = _dataset_mend(value, has_hooks)
    if mend is not None:
        mend = or_by_integration(mend, value)
    readable = hasattr(value, "__len__") and hasattr(value, "__getitem__") and not isinstance(value, type)
    # an IterableDataset has an inherited __getitem__ that only raises an error
    if mend is None and readable and not isinstance(value, IterableDataset):
        return None
    kind = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
    return f"{MAP_STYLE}, got {kind}{f': {mend}' if mend else ''}"


def _integration_of(value: object) -> str:
    """Which function makes a task of what a library gave, with its page; empty for other values."""
    for kind in type(value).__mro__:
        if (name := INTEGRATIONS.get(kind.__module__.partition(".")[0])) is not None:
            also = (
                " (of a table of numbers, efface.integrations.tables)" if kind.__module__.startswith("datasets") else ""
            )
            return f"efface.integrations.{name}.make_task makes the task of it{also}: {page(f'howto/{name}')}"
    return ""


def or_by_integration(mend: str, value: object) -> str:
    """What mends a problem, and beside it the function that makes a task of what a library gave, if there is one."""
    return "; or ".join(filter(None, (mend, _integration_of(value))))


def _network_mend(value: object) -> str:
    if isinstance(value, str | PathLike):
        return "load the weights into a network, and give that; the command line takes files"
    if isinstance(value, Mapping) and any(isinstance(v, Tensor) for v in value.values()):
        return "load the state dict into a network by load_state_dict, and give that"
    for name in NETWORKS:
        if isinstance(_attribute(value, name), nn.Module):
            return f"give the network within it, its .{name}"
    if hasattr(value, "module_") or hasattr(value, "initialize"):
        return "fit or initialize it first, and give its .module_"
    return "call it, and give the network" if inspect.isfunction(value) or inspect.ismethod(value) else ""


def _dataset_mend(value: object, has_hooks: bool) -> str | None:
    """What to give instead of a value that holds records but is no dataset; None if it is none of these."""
    if isinstance(value, Dataset) and not isinstance(value, IterableDataset):
        return None
    if isinstance(value, DataLoader):
        return "give its .dataset"
    if hasattr(value, "train_dataloader"):
        return "give the dataset within it, such as .train_dataloader().dataset (or .val_...) after its setup()"
    if isinstance(value, IterableDataset | Iterator):
        return "records are asked for by their number: give a list of them, list(...), if they fit into memory"
    if isinstance(value, str | bytes | PathLike):
        return "read it, and give the records"
    if isinstance(value, type):
        return "make one"
    if hasattr(value, "iloc") or (hasattr(value, "columns") and hasattr(value, "to_numpy")):
        return f"give {TENSORS}, with X = table[inputs].to_numpy() and y = table[label].to_numpy()"
    if hasattr(value, "edge_index"):
        return "a graph is one record: give pairs of a node's number and label, and use the graph in Task.forward"
    return _arrays_mend(value, has_hooks)


def _arrays_mend(value: object, has_hooks: bool) -> str | None:
    if isinstance(value, Mapping) and 0 not in value:
        parts = list(value.values())
        if any(isinstance(part, Dataset) or hasattr(part, "features") for part in parts):
            return f"give one of its parts, such as [{next(iter(value))!r}]"
        return f"give {TENSORS}, or a dataset whose records are dicts" if parts else None
    if isinstance(value, np.ndarray | Tensor) and not has_hooks:
        return f"a record is a pair of input and label: give {TENSORS}"
    if isinstance(value, list | tuple) and 1 < len(value) <= 3:
        # columns with a row for each record; fewer than four records would be refused anyway
        dimensions = [_attribute(part, "ndim") or isinstance(part, list) for part in value]
        if all(dimensions) and not all(isinstance(part, list) for part in value):
            return f"give {TENSORS}"
    return None


def _attribute(value: object, name: str) -> object:
    try:
        return getattr(value, name, None)
    except Exception:  # a property may raise anything, such as that nothing was trained yet
        return None
