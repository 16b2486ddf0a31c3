"""Text by which a function or a network is told from another: equal texts, equal behaviour, within stated limits."""

import dataclasses
import functools
import hashlib
import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from efface.models.checkpoint import weights_digest

SCALARS = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, np.generic, range)
# what every network has: its parameters, buffers, modules and hooks, and its mode
OF_MODULES = frozenset(vars(nn.Module()))
# their versions are told elsewhere
LIBRARIES = {"torch", "torchvision", "numpy", "builtins", "functools", "efface"}


def told_function(function: Any) -> str:
    """What a function does, as text: module, name, source and byte code, defaults, and the values it closes over.

    Values are told where they are scalars, tuples or dicts of such, tensors, arrays, networks, dataclass instances
    or functions; so are the module-level ones that the function names. Not told: lists and sets, which are often
    written to; other objects, of which only the type is; code of classes and of functions in other modules.
    """
    return _tell(function, {})


def structure(model: nn.Module) -> str:
    """Names and types of all modules of a network, and their plain attributes other than train or eval mode."""
    return "\n".join(
        f"{name}: {_name(type(module))} {_attributes(module, OF_MODULES, {})}" for name, module in model.named_modules()
    )


def told_network(model: nn.Module) -> str:
    """`structure`, which parameters are frozen, and the code of the user's own module classes; no weights."""
    classes = {c: None for module in model.modules() for c in _own_bases(type(module))}
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    return "\n".join([structure(model), f"frozen: {frozen}", *(_class(c, {}) for c in classes)])


def _tell(value: Any, seen: dict[int, Any]) -> str:
    if isinstance(value, SCALARS):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, type):
        return f"class {_name(value)}"
    if isinstance(value, Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        return f"tensor {value.dtype} {tuple(value.shape)} {_hash(flat.view(torch.uint8).numpy().tobytes())}"
    if isinstance(value, np.ndarray) and value.dtype != object:
        return f"array {value.dtype} {value.shape} {_hash(value.tobytes())}"
    if isinstance(value, tuple):
        return f"({', '.join(_tell(v, seen) for v in value)})"
    if id(value) in seen:
        return "again"
    seen[id(value)] = value  # held, or another object could get its id
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_tell(k, seen)}: {_tell(v, seen)}' for k, v in value.items())}}}"
    if isinstance(value, functools.partial):
        return f"partial {_tell(value.func, seen)} {_tell(value.args, seen)} {_tell(value.keywords, seen)}"
    if isinstance(value, MethodType):
        return f"method {_tell(value.__func__, seen)} of {_tell(value.__self__, seen)}"
    if isinstance(value, FunctionType):
        return _function(value, seen)
    if isinstance(value, nn.Module):
        return f"network {structure(value)} {weights_digest(value)}"
    if dataclasses.is_dataclass(value) or (callable(value) and hasattr(value, "__dict__")):
        code = "".join(_class(c, seen) for c in _own_bases(type(value)))
        return f"{_name(type(value))} {_attributes(value, frozenset(), seen)} {code}"
    return f"a {_name(type(value))}"


def _function(function: FunctionType, seen: dict[int, Any]) -> str:
    name = _name(function)
    if _library(function):
        return f"function {name}"
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):  # typed at a prompt
        source = ""
    code = function.__code__
    cells = [c.cell_contents if _filled(c) else "empty" for c in function.__closure__ or ()]
    held = dict(zip(code.co_freevars, cells, strict=True))
    for word in sorted(set(_words(code))):
        value = function.__globals__.get(word)
        # of other modules' functions the name that the code calls them by must do
        if not isinstance(value, FunctionType) or value.__module__ == function.__module__:
            held.setdefault(word, value)
    parts = [source, *_codes(code), _tell(function.__defaults__, seen), _tell(function.__kwdefaults__, seen)]
    return f"function {name}\n" + "\n".join([*parts, _tell(held, seen)])


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _codes(code: CodeType) -> Iterator[str]:
    """The byte code, which is what runs even where the source file has changed since it was imported."""
    yield f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {code.co_freevars}"
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _codes(const)
        else:
            # the order of a frozen set differs from process to process
            yield repr(sorted(map(repr, const)) if isinstance(const, frozenset) else const)


def _words(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _words(const)


def _class(kind: type, seen: dict[int, Any]) -> str:
    members = (v.__func__ if isinstance(v, classmethod | staticmethod) else v for v in vars(kind).values())
    return f"class {_name(kind)}\n" + "\n".join(_tell(v, seen) for v in members if isinstance(v, FunctionType))


def _own_bases(kind: type) -> list[type]:
    return [c for c in kind.__mro__ if not _library(c)]


def _attributes(value: Any, without: frozenset[str], seen: dict[int, Any]) -> str:
    held = {k: v for k, v in vars(value).items() if k not in without}
    return _tell(dict(sorted(held.items())), seen)


def _library(what: Any) -> bool:
    return str(what.__module__).partition(".")[0] in LIBRARIES


def _name(what: Any) -> str:
    return f"{what.__module__}.{what.__qualname__}"


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
