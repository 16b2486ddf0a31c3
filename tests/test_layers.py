"""Imports point downwards: a room imports only from rooms before it in ORDER; docs/architecture.md describes them."""

import ast
import re
from pathlib import Path

import pytest

import efface
from helpers.import_graph import imported, imports_of, modules, room_graph

SOURCE = Path(efface.__file__).parent
PAGE = SOURCE.parents[1] / "docs" / "architecture.md"

# Lowest first. A room is a module or a folder; a new one gets a line here and a paragraph in docs/architecture.md.
ORDER = (
    "errors",
    "types",
    "runtime",
    "numerics",
    "kinds",
    "task",
    "data",
    "models",
    "request",
    "calibration",
    "methods",
    "metrics",
    "attacks",
    "unlearning",
    "auditing",
    "store",
    "integrations",
    "__init__",  # what users import, and what the following may
    "cli",
    "__main__",
)
MAX_ROOMS = 20

# What several methods share; every other file in methods is one method.
SHARED = {"base", "curvature", "descent", "relabelling", "init", "adversarial", "rates", "newton"}

# A method must not see the evidence that judges it.
JUDGES = {"attacks", "metrics", "unlearning", "auditing"}

METHODS = [module for module in modules(SOURCE) if module[0] == "methods"]


@pytest.mark.parametrize("room", sorted(room_graph(SOURCE)))
def test_imports_point_downwards(room: str) -> None:
    assert room in ORDER, f"efface.{room} is new: add it to ORDER in tests/test_layers.py, above all that it imports"
    above = {other for other in room_graph(SOURCE)[room] if ORDER.index(other) > ORDER.index(room)}
    assert not above, f"efface.{room} imports from {', '.join(sorted(above))}, which stand above it in ORDER"


def test_the_front_door_is_small_and_described() -> None:
    rooms = set(room_graph(SOURCE))
    assert rooms == set(ORDER) and len(rooms) <= MAX_ROOMS
    described = set(re.findall(r"^### `(\w+?)(?:\.py|/)`", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert described == rooms


@pytest.mark.parametrize("module", METHODS, ids=".".join)
def test_methods_see_no_judge_and_no_other_method(module: tuple[str, ...]) -> None:
    found = imports_of(SOURCE, module)
    assert not JUDGES & {parts[0] for parts in found if parts}
    if module[1] != "__init__":
        siblings = {parts[1] for parts in found if parts[0] == "methods"}
        assert siblings <= (set() if module[1] == "base" else SHARED), f"a method imports only {SHARED} of its room"


def test_lazy_and_plain_imports_are_both_read() -> None:
    code = (
        "import efface.cli.main\ndef f():\n    from efface.data import sets\n    import numpy\nfrom efface import audit"
    )
    assert set(imported(ast.parse(code))) == {("cli", "main"), ("data", "sets"), ("audit",)}
