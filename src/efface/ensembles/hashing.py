"""Hashes of functions and networks by content: equal hashes mean equal behaviour.

A user's function is hashed by its byte code, its defaults, and the values in its closure and in its module that it
names; functions, classes and modules among these values are hashed in the same way. Code of installed packages is
hashed by names and byte code only. What code reaches in other ways than by name, such as a registry, an environment
variable or a file, is not part of the hash.
"""

import dis
import importlib
import sys
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from joblib.hashing import NumpyHasher  # type: ignore[import-untyped]
from torch import Tensor, nn

from efface.errors import describe_error

LIBRARIES = {"efface", "torch", "numpy", *sys.stdlib_module_names}
INSTALLED = {"site-packages", "dist-packages"}
# the parts of a network that the state dict and the list of modules hold
IN_STATE = {"_parameters", "_buffers", "_modules", "training"}


class UnhashableError(Exception):
    """A value has no hash that is the same in every process."""


def content_hash(value: Any, known: Mapping[int, str] | None = None) -> str:
    """Hash a value with everything that it contains.

    Args:
        value: The value.
        known: Names of objects, by `id`, that are hashed by their name only.

    Returns:
        The SHA-256 hash, in hexadecimal.

    Raises:
        UnhashableError: The value has no stable hash.
    """
    try:
        return str(_ContentHasher(known or {}).hash(value))
    except Exception as error:  # a user's own objects can raise anything here
        raise UnhashableError(describe_error(error)) from error


def structure(model: nn.Module) -> str:
    """Hash a network's modules with their code and attributes, and the names, shapes and dtypes of its state.

    The hash does not depend on weights or on train and eval mode.
    """
    state = model.state_dict()
    modules = [(name, type(module), _attributes(module)) for name, module in model.named_modules()]
    odd = {name: value for name, value in state.items() if not isinstance(value, Tensor)}
    passing = {name: buffer for name, buffer in model.named_buffers() if name not in state}
    shapes = [(name, tuple(t.shape), str(t.dtype)) for name, t in state.items() if isinstance(t, Tensor)]
    # modules may hold weights, and hooks the modules themselves, in attributes too: an LSTM does
    weights = [(name, t) for name, t in [*model.named_parameters(), *model.named_buffers()] if name in state]
    known = {id(part): name for name, part in [*weights, *model.named_modules()]}
    return content_hash([modules, odd, passing, shapes], known)


def _attributes(module: nn.Module) -> dict[str, Any]:
    # hooks are numbered as they are made, all through the process
    held = {k: list(v.values()) if isinstance(v, OrderedDict) else v for k, v in vars(module).items()}
    return {k: v for k, v in held.items() if k not in IN_STATE}


def same_structure(one: nn.Module, other: nn.Module) -> bool:
    """Whether two networks have the same `structure`, so that they are equal once one has loaded the other's state."""
    try:
        return structure(one) == structure(other)
    except UnhashableError:
        return False


class _ContentHasher(NumpyHasher):  # type: ignore[misc]
    """joblib's hash, but of functions, classes and modules by content, where joblib takes their names."""

    def __init__(self, known: Mapping[int, str]) -> None:
        super().__init__("sha256")
        self._known = known

    def save(self, value: Any) -> None:
        """Take a method for its function and its object."""
        super().save(("method", value.__func__, value.__self__) if isinstance(value, MethodType) else value)

    def save_global(self, value: Any, name: str | None = None, **how: Any) -> None:
        """Take what pickle knows by its name alone, such as a function with an lru_cache, for what it wraps."""
        if _from_library(getattr(value, "__module__", "builtins") or "builtins"):
            super().save_global(value, name, **how)
        else:
            self.save(value.__wrapped__)

    def reducer_override(self, value: Any) -> Any:
        """What pickle is to take for a value: a function and arguments that are hashed in its place, and a state."""
        if id(value) in self._known:
            return str, ("known", self._known[id(value)])
        if isinstance(value, weakref.ref):
            return str, ("reference",), [value()]
        if isinstance(value, Tensor):
            flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            return str, (str(value.dtype), tuple(value.shape), value.requires_grad, flat)
        if isinstance(value, frozenset):  # its order differs from process to process
            return str, ("frozenset", sorted(map(repr, value)))
        if isinstance(value, CodeType):
            return str, (value.co_code, value.co_names, value.co_varnames, value.co_freevars, value.co_consts)
        if isinstance(value, FunctionType):
            return str, ("function", _name(value)), _of_function(value)
        if isinstance(value, type) and value is not str:
            return str, ("class", _name(value)), None if _from_library(value.__module__) else _of_class(value)
        if isinstance(value, ModuleType):
            return str, ("module", value.__name__), None if _from_library(value.__name__) else _public(vars(value))
        if isinstance(value, property | classmethod | staticmethod):
            return str, ("descriptor",), [getattr(value, name, None) for name in ("fget", "fset", "__func__")]
        return NotImplemented


def _of_function(function: FunctionType) -> list[Any]:
    held = [cell.cell_contents for cell in function.__closure__ or ()]
    if not _from_library(function.__module__ or ""):
        code = _codes(function.__code__)
        words = sorted({word for part in code for word in part.co_names})
        held.append({word: function.__globals__[word] for word in words if word in function.__globals__})
        imports = [i.argval for part in code for i in dis.get_instructions(part) if i.opname == "IMPORT_NAME"]
        held += [importlib.import_module(name) for name in imports]
    return [function.__code__, function.__defaults__, function.__kwdefaults__, vars(function), *held]


def _of_class(kind: type) -> list[Any]:
    code = {k: v for k, v in vars(kind).items() if isinstance(v, FunctionType | property | classmethod | staticmethod)}
    values = {k: v for k, v in _public(vars(kind)).items() if k not in code and k != "_abc_impl"}
    return [type(kind), kind.__bases__, code, values]


def _public(names: Any) -> dict[str, Any]:
    return {k: v for k, v in names.items() if not (k.startswith("__") and k.endswith("__"))}


def _codes(code: CodeType) -> list[CodeType]:
    inner = [part for const in code.co_consts if isinstance(const, CodeType) for part in _codes(const)]
    return [code, *inner]


def _from_library(module: str) -> bool:
    if module.partition(".")[0] in LIBRARIES:
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and not INSTALLED.isdisjoint(Path(file).parts)


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"
