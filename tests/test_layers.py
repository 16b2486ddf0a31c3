"""Imports point downwards: each module imports only from modules before it in ORDER, or from its own package."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import efface

SOURCE = Path(efface.__file__).parent

# Lowest first. A folder of modules is one entry; a new module gets a line here.
ORDER = (
    "errors",
    "types",
    "runtime",
    "options",
    "task",
    "checkpoint",
    "data",
    "numerics",
    "models",
    "features",
    "reference",
    "expected",
    "methods",
    "stopping",
    "result",
    "attacks",
    "metrics",
    "relearn",
    "exchange",
    "requests",
    "assumptions",
    "evidence",
    "progress",
    "ensembles",
    "verdict",
    "scores",
    "tables",
    "unlearning",
    "subject",
    "shadows",
    "canaries",
    "traces",
    "strong",
    "judging",
    "report",
    "audit",
    "parallel",
    "store",
    "__init__",  # what users import, and what the following may
    "demo",
    "cli",
    "__main__",
)

# What several methods share; every other file in methods is one method.
SHARED = ("base", "curvature", "descent", "fresh", "targets", "telling")

# A method must not see the evidence that judges it.
JUDGES = {"attacks", "metrics", "stopping", "evidence"}

MODULES = sorted(path.relative_to(SOURCE).with_suffix("").parts for path in SOURCE.rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[tuple[str, ...]]:
    """Dotted parts below `efface` of everything imported anywhere in a module, inside functions too."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = tuple(name.split("."))
            if parts[0] == "efface":
                yield parts[1:]


def imports_of(module: tuple[str, ...]) -> list[tuple[str, ...]]:
    return list(imported(ast.parse(SOURCE.joinpath(*module).with_suffix(".py").read_text())))


def names(modules: list[tuple[str, ...]]) -> list[str]:
    return [".".join(m) for m in modules]


@pytest.mark.parametrize("module", MODULES, ids=".".join)
def test_imports_point_downwards(module: tuple[str, ...]) -> None:
    own = module[0]
    assert own in ORDER, (
        f"efface.{own} is new: add a line for it to ORDER in tests/test_layers.py, above all it imports"
    )
    for parts in imports_of(module):
        # `from efface import name` is an entry's own name, or one that `efface/__init__` re-exports
        other = parts[0] if parts and parts[0] in ORDER else "__init__"
        lower = other == own or ORDER.index(other) < ORDER.index(own)
        assert lower, f"efface.{'.'.join(module)} imports efface.{'.'.join(parts)}, which is not below {own} in ORDER"


@pytest.mark.parametrize("module", [m for m in MODULES if m[0] == "methods"], ids=".".join)
def test_methods_see_no_judge_and_no_other_method(module: tuple[str, ...]) -> None:
    found = imports_of(module)
    assert not JUDGES & {parts[0] for parts in found if parts}, names(found)
    if module[1] == "__init__":
        return
    siblings = {parts[1] for parts in found if parts[0] == "methods"}
    assert siblings <= set(SHARED), f"a method imports only {', '.join(SHARED)} of its package, not {siblings}"
    if module[1] == "base":
        assert not siblings


def test_lazy_and_plain_imports_are_both_read() -> None:
    code = (
        "import efface.cli.main\ndef f():\n    from efface.data import sets\n    import numpy\nfrom efface import audit"
    )
    assert set(imported(ast.parse(code))) == {("cli", "main"), ("data", "sets"), ("audit",)}
