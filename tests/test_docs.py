"""What users read is there and true: docstrings, help texts, and the commands and code of the README."""

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

import efface
from efface.cli.main import app
from efface.methods import REGISTRY

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands_of(typed: typer.Typer, before: str = "") -> dict[str, Any]:
    """Commands by what a user types after `efface`, those of sub-apps among them."""
    own = {f"{before}{c.name or c.callback.__name__}": c for c in typed.registered_commands if c.callback is not None}
    for group in typed.registered_groups:
        if group.typer_instance is not None:
            own |= commands_of(group.typer_instance, f"{before}{group.name} ")
    return own


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
    text = text_of(PAGES[0])
    # commands of sub-apps have pages of their own
    assert [name for name in COMMANDS if " " not in name and f"efface {name}" not in text] == []
    pages = "".join(text_of(page) for page in PAGES)
    assert [name for name in COMMANDS if f"efface {name}" not in pages] == []
    assert [key for key in REGISTRY if key not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_the_code_of_a_page_can_be_compiled_and_its_names_exist(page: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", text_of(page), flags=re.DOTALL | re.MULTILINE)
    assert blocks or page.name != "README.md"
    for block in blocks:
        tree = ast.parse(block)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "efface":
                module = importlib.import_module(node.module or "")
                for alias in node.names:  # a module of a package is no attribute of it before its first import
                    is_module = hasattr(module, "__path__") and find_spec(f"{node.module}.{alias.name}")
                    assert hasattr(module, alias.name) or is_module, ast.unparse(node)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "efface.unlearn",
                "efface.audit",
                "efface.audit_models",
            ):
                called = getattr(efface, ast.unparse(node.func).split(".")[1])
                known = inspect.signature(called).parameters
                assert {k.arg for k in node.keywords if k.arg} <= known.keys(), ast.unparse(node)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_of_a_page_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text_of(page))
    assert [to for to in links if "://" not in to and not (page.parent / to).exists()] == []


def test_the_page_of_stores_names_the_format_of_their_database() -> None:
    from efface.store.database import FORMAT

    said = {page.name: re.findall(r"database(?: of a store)?\s+has format (\d+)", page.read_text()) for page in PAGES}
    assert {name: found for name, found in said.items() if found} == {"store-reference.md": [str(FORMAT)]}
