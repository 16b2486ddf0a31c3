"""What is in inputs of any kind: the values within objects of a user's own, as far as they can be seen."""

import types
import weakref
from collections.abc import Iterator, Mapping, Set
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import Tensor

PLAIN = frozenset({"builtins", "datetime", "decimal", "fractions", "pathlib", "uuid"})  # their text is their content
NAMED = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.ModuleType,
    type,
    weakref.ReferenceType,
)
MADE_IN_PYTHON = 1 << 9  # the flag of a class made by a class statement; others may hold what no attribute shows


class UncomparableError(TypeError):
    """A value whose content cannot be seen, so that nobody can tell whether another one equals it.

    Args:
        value: The value.
    """

    def __init__(self, value: object) -> None:
        self.kind = type(value).__name__
        super().__init__(f"a {self.kind} cannot be compared by content")


def attributes_of(value: object) -> Mapping[str, Any]:
    """The attributes of an object of a user's own class, by name; UncomparableError if they do not show its content."""
    kinds = [kind for kind in type(value).__mro__ if kind is not object]
    if not all(kind.__flags__ & MADE_IN_PYTHON for kind in kinds):
        raise UncomparableError(value)
    found = dict(getattr(value, "__dict__", {}))
    for kind in kinds:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                found[name] = getattr(value, name)
    if not found:
        raise UncomparableError(value)
    return found


def as_array(value: object) -> Any:
    """An array of what an image, a table or the like holds; None if it is no such thing."""
    if isinstance(value, type) or not (hasattr(value, "__array_interface__") or hasattr(value, "__array__")):
        return None
    return np.asarray(value)


def content_bytes(value: Any, above: tuple[int, ...] = ()) -> bytes:
    """Bytes that are equal for values of equal content, and differ for others.

    Args:
        value: A tensor, array, number, text, a nesting of mappings, lists and tuples, or an object with attributes.
        above: Identities of the objects that hold it, since objects may refer to each other.

    Raises:
        UncomparableError: The content of something within cannot be seen.
    """
    if id(value) in above:
        return b"<above>"
    if isinstance(value, Tensor):
        return b"".join(tensor_bytes(value))
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            return _joined([repr(value.shape).encode(), *(content_bytes(v, above) for v in value.ravel().tolist())])
        return repr((value.shape, value.dtype.str)).encode() + np.ascontiguousarray(value).tobytes()
    inner = (*above, id(value))
    if isinstance(value, Mapping):
        return _joined([part for k, v in value.items() for part in (str(k).encode(), content_bytes(v, inner))])
    if isinstance(value, list | tuple):
        return _joined([content_bytes(v, inner) for v in value])
    if isinstance(value, Set):
        return _joined(sorted(content_bytes(v, inner) for v in value))
    if isinstance(value, Enum | np.generic | str | int | float | torch.dtype | torch.device):
        return repr(value).encode(errors="backslashreplace")
    if isinstance(value, NAMED):
        return str(getattr(value, "__qualname__", type(value).__name__)).encode()
    text = repr(value) if type(value).__module__ in PLAIN else " at 0x"
    if " at 0x" not in text:  # a text that shows an address says nothing of the content
        return text.encode(errors="backslashreplace")
    array = as_array(value)
    return content_bytes(attributes_of(value) if array is None else array, inner)


def tensor_bytes(tensor: Tensor) -> Iterator[bytes]:
    """The content of a tensor, sparse and nested ones included, as the bytes of its parts."""
    for part in dense_parts(tensor):
        part = part.detach().cpu()
        yield repr((tuple(part.shape), str(part.dtype))).encode()
        yield part.reshape(-1).clone(memory_format=torch.contiguous_format).view(torch.uint8).numpy().tobytes()


def dense_parts(tensor: Tensor) -> list[Tensor]:
    """The dense tensors that a sparse or nested tensor is made of; another tensor alone."""
    if tensor.is_nested:
        return list(tensor.unbind())
    if tensor.layout == torch.strided:
        return [tensor]
    coalesced = tensor.detach().to_sparse_coo().coalesce()
    return [coalesced.indices(), coalesced.values(), torch.tensor(coalesced.shape)]


def values_in(tree: Any, above: tuple[int, ...] = ()) -> Iterator[Any]:
    """Every tensor and array in a nesting of mappings, lists, tuples and objects with attributes."""
    if isinstance(tree, Tensor | np.ndarray):
        yield tree
        return
    if id(tree) in above or isinstance(tree, (str, bytes, int, float, *NAMED)) or tree is None:
        return
    if isinstance(tree, Mapping):
        within = list(tree.values())
    elif isinstance(tree, list | tuple):
        within = list(tree)
    else:
        try:
            array = as_array(tree)
            within = list(attributes_of(tree).values()) if array is None else [array]
        except UncomparableError:
            return
    for value in within:
        yield from values_in(value, (*above, id(tree)))


def _joined(parts: list[bytes]) -> bytes:
    """Parts with their lengths, so that bytes moved from one part to the next change the whole."""
    return b"".join(len(part).to_bytes(8, "little") + part for part in [len(parts).to_bytes(8, "little"), *parts])
