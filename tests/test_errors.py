"""The tree of exceptions, problems gathered, and texts of bounded length."""

import importlib
import pickle
import pkgutil
import re
from collections.abc import Iterator

import pytest

import efface
from efface import errors
from efface.errors import (
    CheckpointError,
    DivergedError,
    EffaceError,
    RequestError,
    collect_errors,
    describe_error,
    shorten,
)


def described() -> Iterator[tuple[int, str]]:
    """Depth and name of each exception in the docstring's tree."""
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"((?:│   |    )*)(?:[├└]── )?([A-Z]\w+Error)\b", line):
            yield (found.start(2) // 4, found[2])


def actual(kind: type[EffaceError] = EffaceError, depth: int = 0) -> Iterator[tuple[int, str]]:
    yield depth, kind.__name__
    for below in kind.__subclasses__():
        if below.__module__.startswith("efface.") and not below.__name__.startswith("_"):
            yield from actual(below, depth + 1)


def test_the_tree_is_complete() -> None:
    for module in pkgutil.walk_packages(efface.__path__, prefix="efface."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    tree = list(described())
    assert tree[:2] == [(0, "EffaceError"), (1, "RequestError")]
    assert sorted(tree) == sorted(actual())


def test_a_refusal_holds_its_problems() -> None:
    one, two = RequestError("a is missing"), CheckpointError(["a is missing", "b is odd"])
    assert one.problems == ("a is missing",)
    assert str(one) == "the request was refused:\n  - a is missing"
    assert str(two) == "the request was refused for 2 reasons:\n  - a is missing\n  - b is odd"
    again = pickle.loads(pickle.dumps(two))
    assert type(again) is CheckpointError and again.problems == two.problems


def test_problems_of_several_calls_are_gathered_and_other_errors_are_not() -> None:
    def call(number: int, scale: int = 1) -> int:
        if number < 0:
            raise CheckpointError([f"{number} is negative", "so it is"])
        if number == 0:
            raise DivergedError("nothing is left")
        return number * scale

    problems = ["before"]
    assert collect_errors(problems, call, 3, scale=2) == 6
    assert collect_errors(problems, call, -1) is None
    assert problems == ["before", "-1 is negative", "so it is"]
    with pytest.raises(DivergedError):
        collect_errors(problems, call, 0)


def test_an_exception_is_one_line() -> None:
    assert describe_error(KeyError("a")) == "KeyError: 'a'"
    assert describe_error(MemoryError()) == "MemoryError"
    assert describe_error(ValueError("first\n\n  second\tthird")) == "ValueError: first second third"
    assert describe_error(RequestError(["a", "b"])) == "a; b"
    assert describe_error(ValueError("x" * 5000)) == f"ValueError: {'x' * (errors.MAX_LINE - 12)} ..."


def test_many_items_are_shortened() -> None:
    assert shorten([]) == ""
    assert shorten(["a", 1]) == "'a', 1"
    assert shorten(iter(range(5))) == "0, 1, 2 and 2 more"
    assert shorten(["a", "b", "c"], most=2, show=str) == "a, b and 1 more"
    assert shorten(["x" * 100], show=str) == f"{'x' * 57}..."
