"""What users read is there and true: docstrings and help texts; the pages have tests of their own in tests/pages."""

import dataclasses
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

import efface
from efface.cli.main import app
from efface.methods import REGISTRY
from helpers.pages import PAGES, commands_of

COMMANDS = commands_of(app)


def all_modules() -> list[str]:
    found = pkgutil.walk_packages(efface.__path__, prefix="efface.")
    # importing __main__ runs the command line
    return ["efface", *(m.name for m in found if not m.name.endswith("__main__"))]


MODULES = all_modules()


def public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Functions, classes and their methods that a module defines and does not hide."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            yield name, value
            for inner, member in vars(value).items():
                if not inner.startswith("_") and (inspect.isroutine(member) or isinstance(member, property)):
                    yield f"{name}.{inner}", getattr(value, inner)
        elif inspect.isfunction(value):
            yield name, value


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_says_what_it_is(name: str) -> None:
    module = importlib.import_module(name)
    # getdoc gives an override the words of what it overrides, and a dataclass without any its signature
    silent = [
        inner for inner, value in public(module) if not (told := inspect.getdoc(value)) or told.startswith(f"{inner}(")
    ]
    assert not silent, f"{name} has no docstring for {', '.join(silent)}"
    # a file that only makes a folder a package is empty
    assert module.__doc__ or not Path(module.__file__ or "").read_text(), f"{name} has no docstring"


def test_a_missing_docstring_would_be_found() -> None:
    module = ModuleType("made")
    exec("from dataclasses import dataclass\n@dataclass\nclass A:\n  a: int\n  def b(self): ...", vars(module))
    assert [name for name, _ in public(module)] == ["A", "A.b"]
    assert all(not (d := inspect.getdoc(v)) or d.startswith(f"{n}(") for n, v in public(module))


def test_what_efface_exports_is_sorted_and_there() -> None:
    assert efface.__all__ == sorted(efface.__all__)
    for name in efface.__all__:
        assert inspect.getdoc(getattr(efface, name)), name


@pytest.mark.parametrize("key", REGISTRY)
def test_every_method_tells_its_equation_source_and_options(key: str) -> None:
    method = REGISTRY[key]
    assert method.key == key and method.summary and method.source
    assert re.search(r"<-|=|\|", method.__doc__ or ""), "a method's docstring holds the equation that it follows"
    for field in dataclasses.fields(method):
        assert field.metadata.get("help"), f"option {field.name} has no line of help"
        assert {"low", "high"} <= field.metadata.keys(), field.name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_an_example(name: str) -> None:
    command = COMMANDS[name]
    assert command.callback is not None and inspect.getdoc(command.callback)
    assert re.search(rf"Example:\s+efface {name}\b", command.epilog or "")
    built: Any = typer.main.get_command(app)
    for word in name.split():
        built = built.commands[word]
    for parameter in built.params:
        assert getattr(parameter, "help", None), f"{parameter.name} of efface {name} has no help"


def text_of(page: Path) -> str:
    if not page.is_file():
        pytest.skip(f"{page.name} is not there yet")
    return page.read_text(encoding="utf-8")


def test_every_command_can_be_read_about() -> None:
    assert {"unlearn", "request add"} <= COMMANDS.keys()
    pages = "".join(text_of(page) for page in PAGES)
    assert [name for name in COMMANDS if f"efface {name}" not in pages] == []
    assert [key for key in REGISTRY if f"`{key}`" not in pages] == []


def test_the_page_of_stores_names_the_format_of_their_database() -> None:
    from efface.store.database import FORMAT

    said = {page.name: re.findall(r"database(?: of a store)?\s+has format (\d+)", page.read_text()) for page in PAGES}
    assert {name: found for name, found in said.items() if found} == {"store-reference.md": [str(FORMAT)]}
