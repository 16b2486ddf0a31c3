"""Hashes of functions and networks by content: equal hashes, equal behaviour.

A function of the user's own is hashed by its byte code, its defaults, and the values that it closes over or that it
names in its module, and so are the functions, classes and modules among those. Of installed packages the names and
byte code must do. Not seen: what code reaches by other ways than a name, such as a registry, an environment variable
or a file.
"""

import dis
import importlib
import sys
from collections import OrderedDict
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import torch
from joblib.hashing import NumpyHasher  # type: ignore[import-untyped]
from torch import Tensor, nn

from efface.data.checks import told

LIBRARIES = {"efface", "torch", "numpy", *sys.stdlib_module_names}
INSTALLED = {"site-packages", "dist-packages"}
# the parts of a network that the state dict and the list of modules hold
IN_STATE = {"_parameters", "_buffers", "_modules", "training"}


class UnhashableError(Exception):
    """Something has no hash that would be the same in the next process."""


def content_hash(value: Any) -> str:
    """A hash of a value and of all that it holds; UnhashableError where there is none."""
    try:
        return str(_ContentHasher("sha256").hash(value))
    except Exception as error:  # a user's own objects can raise anything here
        raise UnhashableError(told(error)) from error


def structure(model: nn.Module) -> str:
    """A hash of a network's modules, with their code and attributes, and of the names, shapes and types of its state.

    Weights are left out, and so is whether a module is in train mode.
    """
    state = model.state_dict()
    modules = [(name, type(module), _attributes(module)) for name, module in model.named_modules()]
    odd = {name: value for name, value in state.items() if not isinstance(value, Tensor)}
    passing = {name: buffer for name, buffer in model.named_buffers() if name not in state}
    shapes = [(name, tuple(t.shape), str(t.dtype)) for name, t in state.items() if isinstance(t, Tensor)]
    return content_hash([modules, odd, passing, shapes])


def _attributes(module: nn.Module) -> dict[str, Any]:
    # hooks are numbered as they are made, all through the process
    held = {k: list(v.values()) if isinstance(v, OrderedDict) else v for k, v in vars(module).items()}
    return {k: v for k, v in held.items() if k not in IN_STATE}


def same_structure(one: nn.Module, other: nn.Module) -> bool:
    """Whether `one` becomes the same as `other` in all that training sets, once it takes over its state."""
    try:
        return structure(one) == structure(other)
    except UnhashableError:
        return False


class _ContentHasher(NumpyHasher):  # type: ignore[misc]
    """joblib's hash, but of functions, classes and modules by content, where joblib takes their names."""

    def reducer_override(self, value: Any) -> Any:
        """What pickle is to take for a value: a function and arguments that are hashed in its place, and a state."""
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
        if callable(value) and hasattr(value, "__wrapped__"):  # such as a function with an lru_cache
            return str, ("wrapper", _name(type(value))), [value.__wrapped__]
        return NotImplemented


def _of_function(function: FunctionType) -> list[Any]:
    held = [cell.cell_contents for cell in function.__closure__ or ()]
    if not _from_library(function.__module__):
        code = _codes(function.__code__)
        words = sorted({word for part in code for word in part.co_names})
        held.append({word: function.__globals__[word] for word in words if word in function.__globals__})
        imports = [i.argval for part in code for i in dis.get_instructions(part) if i.opname == "IMPORT_NAME"]
        held += [importlib.import_module(name) for name in imports]
    return [function.__code__, function.__defaults__, function.__kwdefaults__, *held]


def _of_class(kind: type) -> list[Any]:
    held = {k: getattr(v, "__func__", getattr(v, "fget", v)) for k, v in vars(kind).items() if k != "_abc_impl"}
    methods = {k: v for k, v in held.items() if isinstance(v, FunctionType)}
    return [kind.__bases__, methods, _public(held)]


def _public(names: Any) -> dict[str, Any]:
    return {k: v for k, v in names.items() if not (k.startswith("__") and k.endswith("__"))}


def _codes(code: CodeType) -> list[CodeType]:
    inner = [part for const in code.co_consts if isinstance(const, CodeType) for part in _codes(const)]
    return [code, *inner]


def _from_library(module: str | None) -> bool:
    if module is None or module.partition(".")[0] in LIBRARIES:
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and not INSTALLED.isdisjoint(Path(file).parts)


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"
