"""Hashes of functions and networks by content: equal hashes mean equal behaviour.

A user's function is hashed by its byte code, its defaults, and the values in its closure and in its module that it
names; functions, methods, classes, modules and objects among these values are hashed in the same way, objects by what
pickle takes of them, dicts in their order. Code of installed packages is hashed by names, byte code and version only.
What code reaches in other ways than by name, such as a registry, an environment variable or a file, is not part of the
hash.
"""

import dis
import importlib
import pickle
import sys
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import (
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any

import torch
from joblib.hashing import NumpyHasher  # type: ignore[import-untyped]
from torch import Tensor, nn

from efface.errors import describe_error

LIBRARIES = {"efface", "torch", "numpy", *sys.stdlib_module_names}
INSTALLED = {"site-packages", "dist-packages"}
SIMPLE = {str, bytes, int, float, bool}  # types of which repr says all
DESCRIPTORS = ("fget", "fset", "__func__", "func")  # what they hold
# what decides how byte code runs
CODE = ("code", "names", "varnames", "freevars", "cellvars", "consts", "exceptiontable", "flags")
ARGUMENTS = ("argcount", "posonlyargcount", "kwonlyargcount")
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

    def _batch_setitems(self, items: Any, *how: Any) -> None:
        # joblib sorts them, some by hash(key), but the order of a dict of steps is part of a recipe
        pickle._Pickler._batch_setitems(self, items, *how)  # type: ignore[attr-defined]

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
        if isinstance(value, set | frozenset):  # its order differs from process to process
            each = sorted(repr(one) if type(one) in SIMPLE else content_hash(one, self._known) for one in value)
            return str, ("set", each), [type(value), getattr(value, "__dict__", None)]
        if isinstance(value, MappingProxyType):
            return str, ("mapping",), dict(value)
        if isinstance(value, CodeType):
            return str, tuple(getattr(value, f"co_{name}") for name in (*CODE, *ARGUMENTS))
        if isinstance(value, FunctionType):
            return str, ("function", _name(value)), _of_function(value)
        if isinstance(value, type) and value is not str:
            return str, ("class", _name(value)), None if _from_library(value.__module__) else _of_class(value)
        if isinstance(value, ModuleType):
            return str, ("module", value.__name__), None if _from_library(value.__name__) else _of_module(value)
        if isinstance(value, property | classmethod | staticmethod | cached_property):
            return str, ("descriptor",), [type(value), *(getattr(value, name, None) for name in DESCRIPTORS)]
        return NotImplemented


def _of_function(function: FunctionType) -> list[Any]:
    held = [cell.cell_contents for cell in function.__closure__ or ()]
    # not __module__, which functools.wraps changes
    if not _from_library(function.__globals__.get("__name__") or ""):
        code = _codes(function.__code__)
        words = sorted({word for part in code for word in part.co_names})
        held.append({word: function.__globals__[word] for word in words if word in function.__globals__})
        imports = [i.argval for part in code for i in dis.get_instructions(part) if i.opname == "IMPORT_NAME"]
        held += [importlib.import_module(name) for name in imports]
    return [function.__code__, function.__defaults__, function.__kwdefaults__, vars(function), *held]


def _of_class(kind: type) -> list[Any]:
    slots = GetSetDescriptorType | MemberDescriptorType
    held = {k: v for k, v in vars(kind).items() if not isinstance(v, slots) and k != "_abc_impl"}
    # of the names with underscores on both sides those that do something, such as __call__
    return [type(kind), kind.__bases__, {k: v for k, v in held.items() if not _is_special(k) or _acts(v)}]


def _of_module(module: ModuleType) -> dict[str, Any]:
    # sorted, since modules below it are added in the order in which they are imported
    return {k: v for k, v in sorted(vars(module).items()) if not _is_special(k)}


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _acts(value: Any) -> bool:
    return callable(value) or hasattr(type(value), "__get__")


def _codes(code: CodeType) -> list[CodeType]:
    inner = [part for const in code.co_consts if isinstance(const, CodeType) for part in _codes(const)]
    return [code, *inner]


def _from_library(module: str) -> bool:
    if module.partition(".")[0] in LIBRARIES:
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and not INSTALLED.isdisjoint(Path(file).parts)


def _name(value: Any) -> str:
    """A name, with the version of the package that it is from."""
    package = (value.__module__ or "").partition(".")[0]
    version = "" if package in LIBRARIES else getattr(sys.modules.get(package), "__version__", "")
    return f"{value.__module__}.{value.__qualname__} {version}"
