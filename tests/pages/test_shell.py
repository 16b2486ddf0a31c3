"""Commands on the pages exist, and take what they are given there."""

import dataclasses
import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer

import efface
from efface.cli.main import app
from helpers.pages import DOCS, PAGES, ROOT, commands_of, fences, name_of

EFFACE: Any = typer.main.get_command(app)
NAMES = commands_of(app)
REMOVED = {"bench"}  # commands of earlier versions, which only the research log names
# what a page may call besides efface, and is not looked at further
OTHERS = {"git", "pip", "cd", "PYTHONPATH=tests", "PYTHONPATH=src:tests", "torchrun", "npm", "."}
BENCHMARKS = re.compile(r"python -m (benchmarks[\w.]*|tools[\w.]*|helpers[\w.]*)")


def lines_of(text: str) -> Iterator[list[str]]:
    """The words of each command of a block, without comments; lines that end in a backslash are joined."""
    for line in text.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def commands(words: list[str]) -> Iterator[list[str]]:
    """Each call of efface among the words of a line, up to what redirects or ends it."""
    for at, word in enumerate(words):
        if word == "efface" or word.endswith("/efface"):
            rest = words[at + 1 :]
            ends = [k for k, w in enumerate(rest) if w[0] in "|&;<>" or re.match(r"\d>", w)]
            yield rest[: ends[0]] if ends else rest


def parse(words: list[str]) -> None:
    """Parse the words of a call as the command line does, without running it."""
    context, command = EFFACE.make_context("efface", [], resilient_parsing=True), EFFACE
    while hasattr(command, "commands"):
        name, command, words = command.resolve_command(context, words)
        if command is None:
            context.fail(f"there is no command {name}")
        if hasattr(command, "commands"):
            context = command.make_context(name, [], parent=context, resilient_parsing=True)
    command.make_context(command.name, words, parent=context)


def targets() -> set[str]:
    return set(re.findall(r"^([.\w-]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_of_blocks_can_be_given(page: Path) -> None:
    for block in fences(page):
        if block.language != "sh":
            continue
        for words in lines_of(block.text):
            found = list(commands(words))
            for call in found:
                parse(call)
            if words[0] == "make":
                assert set(words[1:]) <= targets(), block.place
            elif words[0] == "python":
                target = words[2] if words[1] == "-m" else words[1]
                there = (
                    find_spec(target) if words[1] == "-m" else (ROOT / target).exists() or target == "digits_task.py"
                )
                assert there, f"{block.place}: {shlex.join(words)}"
            else:
                assert found or words[0] in OTHERS, f"{block.place}: {shlex.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_sentences_exist_with_their_options(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for call in re.findall(r"`efface ([^`]+)`", text):
        words = call.split()
        name = " ".join(words[:2]) if words[0] == "request" and len(words) > 1 else words[0]
        if name in {"request", "--help"}:
            continue
        if page.name == "research-log.md" and name in REMOVED:
            continue
        assert name in NAMES, f"{name_of(page)}: efface {call}"
        command = EFFACE
        for word in name.split():
            command = command.commands[word]
        known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}
        assert {w.split("=")[0] for w in words if w.startswith("--")} <= known, f"{name_of(page)}: efface {call}"
    for module in BENCHMARKS.findall(text):
        assert find_spec(module), f"{name_of(page)}: python -m {module}"


@pytest.mark.parametrize("call", ["unlern x", "unlearn my_task:task", "unlearn --ot run", "status --within soon"])
def test_what_the_command_line_refuses_is_found(call: str) -> None:
    with pytest.raises(Exception) as caught:
        parse(call.split())
    assert any(kind.__name__ == "ClickException" for kind in type(caught.value).__mro__)


def test_options_of_methods_on_their_page_are_taken() -> None:
    found = 0
    for block in fences(DOCS / "method-options.md"):
        if block.language == "sh":
            words = next(commands(next(lines_of(block.text))))
            values = [words[k + 1].split("=") for k, w in enumerate(words) if w == "--option"]
            efface.methods.get(words[words.index("--method") + 1], dict(values))
            found += 1
    assert found == len([m for m in efface.methods.REGISTRY.values() if dataclasses.fields(m)])
