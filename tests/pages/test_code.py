"""Every block of Python on a page is run, in the order of the page, unless a comment before it says why not."""

import ast
import importlib
import inspect
import socket
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

import efface
from helpers.page_world import make_world, with_many_ids, with_store
from helpers.pages import PAGES, fences, name_of

CALLS = ("efface.unlearn", "efface.audit", "efface.audit_models")
LANGUAGES = {"python", "sh", "text"}
BLOCKS = [block for page in PAGES for block in fences(page) if block.language == "python"]
RUN = [page for page in PAGES if any(block.page == page and not block.not_run for block in BLOCKS)]
# what a page needs beyond the names that all may use
SETTINGS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "README.md": with_many_ids,
    "docs/store.md": with_store,
}


@pytest.fixture(scope="module")
def world() -> dict[str, Any]:
    return make_world()


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What torchrun sets, for a group of one process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    values = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


@pytest.mark.usefixtures("brief", "one_process")
@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_the_code_of_a_page_runs(
    page: Path, world: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = SETTINGS.get(name_of(page), dict)(world) | {"__name__": "page"}
    for block in fences(page):
        if block.language == "python" and not block.not_run:
            exec(compile("\n" * block.line + block.text, str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_block_escapes(page: Path) -> None:
    assert [b.place for b in fences(page) if b.language not in LANGUAGES] == [], f"say which of {LANGUAGES} it is"
    assert [b.place for b in fences(page) if b.not_run and b.language != "python"] == []
    # code without a fence would not be seen here; an item's further lines are indented by less
    lines = page.read_text(encoding="utf-8").splitlines()
    indented = [n for n, line in enumerate(lines, 1) if line.startswith("    ") and not lines[n - 2].strip()]
    inside = {n for b in fences(page) for n in range(b.line, b.line + b.text.count("\n") + 2)}
    assert [f"{name_of(page)}:{n}" for n in indented if n not in inside and not lines[n - 1].startswith("      ")] == []


@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: b.place)
def test_names_and_arguments_in_code_exist(block: Any) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "efface":
            module = importlib.import_module(node.module or "")
            for alias in node.names:  # a module of a package is no attribute of it before its first import
                is_module = hasattr(module, "__path__") and find_spec(f"{node.module}.{alias.name}")
                assert hasattr(module, alias.name) or is_module, ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in CALLS:
            known = inspect.signature(getattr(efface, ast.unparse(node.func).split(".")[1])).parameters
            assert {k.arg for k in node.keywords if k.arg} <= known.keys(), ast.unparse(node)


def test_a_comment_before_a_fence_says_why_it_is_not_run() -> None:
    text = "a\n\n<!-- not run: it needs two GPUs -->\n```python\nx\n```\n\n```python\ny\n```\n"
    assert [(b.line, b.text, b.not_run) for b in fences(PAGES[0], text)] == [
        (4, "x\n", "it needs two GPUs"),
        (8, "y\n", None),
    ]
