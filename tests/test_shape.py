"""What keeps the code easy to enter: short signatures, one class of a name, small files, types that can be found."""

import ast
import dataclasses
import inspect
import typing
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import efface
import efface.store

SOURCE = Path(efface.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
MAX_PARAMETERS, MAX_PUBLIC = 7, 10
PUBLIC_CALLS = {"unlearn", "check", "audit", "audit_models"}
MAX_LINES = 300


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Names of a function's parameters, without the object that a method is called on."""
    given = function.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def is_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether it is a command, whose parameters are the words of a command line."""
    return any(".command" in ast.unparse(d) or ".callback" in ast.unparse(d) for d in function.decorator_list)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_signatures_are_short(path: Path) -> None:
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_command(node):
            most = MAX_PUBLIC if node.name in PUBLIC_CALLS else MAX_PARAMETERS
            assert len(parameters(node)) <= most, (
                f"{node.name} takes {len(parameters(node))}: group what travels together"
            )


def test_no_class_name_stands_twice() -> None:
    names = Counter(node.name for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert not [name for name, times in names.items() if times > 1]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_files_are_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def classes_in(hint: Any) -> Iterator[type]:
    """The classes of efface that a type hint names."""
    if inspect.isclass(hint) and hint.__module__.startswith("efface"):
        yield hint
    for part in typing.get_args(hint):
        yield from classes_in(part)


def hints(value: Any) -> Iterator[Any]:
    """All type hints of a public function, or of a public class: its fields, its methods and its properties."""
    if inspect.isfunction(value):
        yield from typing.get_type_hints(value, localns=NAMES).values()
    elif inspect.isclass(value):
        if dataclasses.is_dataclass(value):
            yield from typing.get_type_hints(value, localns=NAMES).values()
        for name, member in vars(value).items():
            function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            if inspect.isfunction(function) and (not name.startswith("_") or name == "__init__"):
                yield from typing.get_type_hints(function, localns=NAMES).values()


PUBLIC = {f"efface.{name}": getattr(efface, name) for name in efface.__all__}
PUBLIC |= {f"efface.store.{name}": getattr(efface.store, name) for name in efface.store.__all__}
# a module that is light to import names types that it does not load
NAMES = {"nn": nn, **{name.rpartition(".")[2]: value for name, value in PUBLIC.items()}}


# what a report or a method holds within: exported as types, while their parts are described by their own modules
INNER = {"efface.AuditInputs", "efface.AuditResult", "efface.CounterfactualLogits", "efface.Table"}


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - INNER))
def test_every_type_in_a_public_signature_can_be_imported_from_the_front(name: str) -> None:
    known = {value for value in PUBLIC.values() if inspect.isclass(value)}
    used = {c for hint in hints(PUBLIC[name]) for c in classes_in(hint)}
    missing = sorted(f"{c.__module__}.{c.__qualname__}" for c in used - known)
    assert not missing, f"{name} names types that are not public: export them"
    for c in used:
        assert inspect.getdoc(c), f"{c.__qualname__} has no docstring"
