"""A hash of the code that a result depends on, so that changed code makes it anew and changed words do not."""

import ast
import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import efface

ROOT = Path(efface.__file__).parent
# all methods, of which a result depends on one; and how suites are read, of which it depends on what was read
STOP = {"", "methods", "bench.suite"}


def digest_of(modules: Sequence[str]) -> str:
    """Hash of the syntax of modules of efface ("methods.steer") and of all that they import from it.

    Comments, docstrings and layout are left out. What is imported from packages' own files (`efface.methods`) is not
    followed, so name the module that holds it.
    """
    todo, seen = list(modules), dict[str, str]()
    while todo:
        name = todo.pop()
        if name in seen or name in STOP or _path(name) is None:
            continue
        seen[name], following = _read(name)
        todo += following
    return hashlib.sha256("\n".join(f"{k} {seen[k]}" for k in sorted(seen)).encode()).hexdigest()[:16]


@cache
def _read(name: str) -> tuple[str, tuple[str, ...]]:
    path = _path(name)
    assert path is not None
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = tuple(_imported(tree))
    return hashlib.sha256(ast.dump(_without_words(tree)).encode()).hexdigest(), imports


def _path(name: str) -> Path | None:
    place = ROOT.joinpath(*name.split("."))
    return next((p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()), None)


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "efface":
            module = (node.module or "").removeprefix("efface").removeprefix(".")
            yield module
            yield from (f"{module}.{a.name}".removeprefix(".") for a in node.names)


def _without_words(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            words = [s for s in body if isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)]
            node.body = [s for s in body if s not in words]  # type: ignore[attr-defined]
    return tree
