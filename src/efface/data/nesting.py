"""Inputs in any nesting of mappings, lists and tuples: their tensors, cutting them by record, moving them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def like(tree: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    """A mapping of the type of another one with other values; a dict if that type cannot be made from a dict."""
    if type(tree) is dict:
        return values
    try:
        made = type(tree)(values)  # type: ignore[call-arg]
    except Exception:  # for example a defaultdict, whose first argument is its factory
        return values
    return made if isinstance(made, Mapping) and list(made) == list(values) else values


def like_sequence(tree: Any, parts: Sequence[Any]) -> Any:
    """A list or tuple of the type of another one with other items; named tuples are taken too."""
    return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)


def map_tensors(tree: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to every tensor in a nesting of mappings, lists and tuples.

    Args:
        tree: The nesting; leaves other than tensors stay as they are.
        function: The function.

    Returns:
        The same nesting. A mapping keeps its type if it can be made from a dict, and else becomes a dict.
    """
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, Mapping):
        return like(tree, {k: map_tensors(v, function) for k, v in tree.items()})
    if isinstance(tree, list | tuple):
        return like_sequence(tree, [map_tensors(v, function) for v in tree])
    return tree


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """Every tensor in a nesting of mappings, lists and tuples, in order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping | list | tuple):
        for value in tree.values() if isinstance(tree, Mapping) else tree:
            yield from tensors_in(value)


class UncuttableError(ValueError):
    """Inputs of which nobody can tell which part belongs to which record."""


def how_cut(tree: Any, records: int) -> Any:
    """How inputs are divided by record: a nesting like the inputs, with a word for each leaf.

    Args:
        tree: The inputs.
        records: The number of records in them.

    Raises:
        UncuttableError: A leaf is no tensor, array or list with one row for each record.
    """
    if tree is None:
        return "none"
    if isinstance(tree, Tensor) and tree.layout == torch.strided and not tree.is_nested:
        if tree.ndim and len(tree) == records:
            return "tensor"
    elif isinstance(tree, np.ndarray):
        if tree.ndim and len(tree) == records:
            return "array"
    elif isinstance(tree, Mapping):
        return {key: how_cut(value, records) for key, value in tree.items()}
    elif isinstance(tree, list | tuple):
        if any(isinstance(v, Tensor | np.ndarray | Mapping | list | tuple) for v in tree):
            return [how_cut(value, records) for value in tree]
        if len(tree) == records and type(tree) in (list, tuple):
            return "list"
    shape = f" of shape {tuple(tree.shape)}" if isinstance(tree, Tensor) and not tree.is_nested else ""
    raise UncuttableError(
        f"a batch of {records} records cannot be cut, since its {type(tree).__name__}{shape} does not hold one row for "
        "each record: read the records again by position (Records.read)"
    )


def cut(tree: Any, how: Any, at: Tensor | slice) -> Any:
    """Some records of inputs.

    Args:
        tree: The inputs.
        how: How they are divided, from `how_cut`.
        at: The records, by position in the batch.
    """
    if how == "none":
        return tree
    if how == "tensor":
        return tree[at]
    if how == "array":
        return tree[at if isinstance(at, slice) else at.cpu().numpy()]
    if how == "list":
        positions = np.arange(len(tree))[at if isinstance(at, slice) else at.cpu().numpy()]
        return type(tree)(tree[i] for i in positions.tolist())
    if isinstance(tree, Mapping):
        return like(tree, {key: cut(value, how[key], at) for key, value in tree.items()})
    return like_sequence(tree, [cut(value, part, at) for value, part in zip(tree, how, strict=True)])


def moved(tree: Any, device: torch.device) -> Any:
    """A nesting with all its tensors moved; what has a method `to` of its own is moved by it."""
    own = None if isinstance(tree, type) else getattr(tree, "to", None)
    if callable(own):
        found = own(device)
        return tree if found is None else found
    if isinstance(tree, Mapping):
        return like(tree, {k: moved(v, device) for k, v in tree.items()})
    if isinstance(tree, list | tuple):
        return like_sequence(tree, [moved(v, device) for v in tree])
    return tree
