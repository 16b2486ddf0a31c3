"""Reading record ids from a text file with one id on each line."""

import re
import sys
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING

from efface.errors import RequestError, shorten

if TYPE_CHECKING:  # the file is read before torch is imported
    from efface.task import Task
    from efface.types import RecordId

INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
MAX_WORD = 40


@dataclass(frozen=True)
class IdLines:
    """The ids in a file, as text.

    Args:
        name: name of the file in messages.
        words: each id with the number of its line, from 1.
    """

    name: str
    words: tuple[tuple[int, str], ...]


def read_id_lines(source: str, option: str = "--forget") -> IdLines:
    """Read a file of ids as text, before it is known whether the task's ids are integers or strings.

    Blank lines and lines that start with # are left out.

    Args:
        source: a path, or `-` for standard input.
        option: the option that gave it, for messages.

    Raises:
        RequestError: the file cannot be read, is not UTF-8 text, or holds no id.
    """
    name = "standard input" if source == "-" else source
    lines = [(at, line.strip()) for at, line in enumerate(_lines(_bytes(source, option), name), 1)]
    words = tuple((at, word) for at, word in lines if word and not word.startswith("#"))
    if not words:
        raise RequestError(f"{name}: names no record id (one a line; lines that start with # are comments)")
    return IdLines(name, words)


def as_ids(lines: IdLines, task: "Task") -> "list[RecordId]":
    """Convert ids from text to the type of the task's ids.

    Args:
        lines: the ids as text.
        task: the task.

    Returns:
        Integers if the task's ids are integers, else strings.

    Raises:
        RequestError: the task's ids are integers, and some lines are not.
    """
    if task.ids is not None and not all(isinstance(i, Integral) for i in task.ids):
        return [word for _, word in lines.words]
    wrong = [f"line {at}: {word[:MAX_WORD]!r}" for at, word in lines.words if not INTEGER.fullmatch(word)]
    if wrong:
        raise RequestError(f"{lines.name}: the task's ids are integers, but {shorten(wrong, show=str)}")
    return [int(word) for _, word in lines.words]


def _bytes(source: str, option: str) -> bytes:
    if source == "-":
        if sys.stdin is None:  # closed before the process began
            raise RequestError("standard input is closed, so no ids can be read from it")
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except FileNotFoundError:
        raise RequestError(f"{source}: there is no such file ({option})") from None
    except IsADirectoryError:
        raise RequestError(f"{source}: is a folder, not a file of ids ({option})") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"{source}: cannot be read: {reason} ({option})") from error


def _lines(data: bytes, name: str) -> list[str]:
    if b"\0" in data:
        raise RequestError(f"{name}: holds NUL bytes, so it is not UTF-8 text with one id a line")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(f"{name}: is not UTF-8 text (byte {error.start})") from None
    # not str.splitlines, which also cuts at separators that an id may hold
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
