"""Running the code of a library's page, which the core's tests leave out since they lack the library."""

from pathlib import Path
from typing import Any

import pytest

import efface
from extras.runs import unlearn
from helpers.pages import DOCS, fences

RUN_HERE = "tests_extras runs it"


def run_page(name: str, world: dict[str, Any]) -> dict[str, Any]:
    """Run every block of Python of `docs/howto/NAME.md`, and return the names that it leaves."""
    page: Path = DOCS / "howto" / f"{name}.md"
    names = {**world, "__name__": "page"}
    blocks = [block for block in fences(page) if block.language == "python"]
    assert blocks and all(block.not_run and RUN_HERE in block.not_run for block in blocks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(efface, "unlearn", briefly)
        for block in blocks:
            exec(compile("\n" * block.line + block.text, str(page), "exec"), names)
    return names


def briefly(model: Any, *, task: efface.Task, forget: Any) -> efface.Result:
    """`efface.unlearn` as the pages call it, with a few steps."""
    return unlearn(model, task, forget=forget)


def code_lines(name: str) -> list[str]:
    """The lines of code of the first block of a page, without imports, comments and empty lines."""
    block = next(b for b in fences(DOCS / "howto" / f"{name}.md") if b.language == "python")
    lines = [line for line in block.text.splitlines() if line.strip() and not line.strip().startswith("#")]
    return [line for line in lines if not line.startswith(("import ", "from ", " ", ")"))]
