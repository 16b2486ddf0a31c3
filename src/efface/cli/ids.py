"""Reading record ids, or keys of groups, from a file with one on each line: as text, or as JSON lines."""

import json
import re
import sys
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from efface.errors import RequestError, reason_of, shorten

if TYPE_CHECKING:  # the file is read before torch is imported
    from efface.types import RecordId

TEXT, JSONL = "text", "jsonl"
FORMATS = (TEXT, JSONL)
INTEGER = re.compile(r"0|-?[1-9][0-9]*", re.ASCII)
LIKE_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*", re.ASCII)
MAX_WORD = 40
MAX_DIGITS = 1000  # of an integer; Python refuses to read very long numbers
JSON_LINES = "write JSON lines, which can say every id (a file that ends in .jsonl)"


@dataclass(frozen=True)
class IdSource:
    """Where a command reads ids from.

    Args:
        path: a file, or `-` for standard input.
        option: the option that gave it, for messages.
        style: "text" or "jsonl"; by default JSON lines where the file's name ends in .jsonl, else text.
        by_group: whether the lines are keys of groups.
        style_option: the option that gave the style, for messages; by default that of the path with `-format`.
    """

    path: str
    option: str = "--forget"
    style: str | None = None
    by_group: bool = False
    style_option: str | None = None


@dataclass(frozen=True)
class IdLines:
    """The ids in a file.

    Args:
        name: name of the file in messages.
        words: each id with the number of its line, from 1.
        is_text: whether they are lines of text, which become integers where the task's ids are integers.
        by_group: whether they are keys of groups.
    """

    name: str
    words: "tuple[tuple[int, RecordId], ...]"
    is_text: bool = True
    by_group: bool = False

    @property
    def what(self) -> str:
        """What the lines are: ids or groups."""
        return "groups" if self.by_group else "ids"


def read_id_lines(source: IdSource) -> IdLines:
    """Read a file of ids, before it is known whether the task's ids are integers or strings.

    An id is exactly its line, without the line's end: blanks belong to it, and there are no comments. With JSON lines,
    each line is a JSON string or integer.

    Raises:
        RequestError: the file cannot be read, is not UTF-8 text, holds no id, or a line cannot be an id.
    """
    if source.style is not None and source.style not in FORMATS:
        option = source.style_option or f"{source.option}-format"
        raise RequestError(f"format of ids: expected text or jsonl, got {source.style!r} ({option})")
    name = "standard input" if source.path == "-" else source.path
    is_text = (source.style or (JSONL if source.path.lower().endswith(".jsonl") else TEXT)) == TEXT
    lines = _lines(_bytes(source.path, source.option), name, is_text)
    if not lines:
        raise RequestError(f"{name}: names no {'group' if source.by_group else 'record id'} (one a line)")
    if empty := [at for at, line in enumerate(lines, 1) if not line]:
        raise RequestError(
            f"{name}: line {shorten(empty)} is empty: an id is exactly its line, so remove empty lines; if an id is an "
            f"empty text, {JSON_LINES}"
        )
    words = lines if is_text else _parsed(lines, name)
    return IdLines(name, tuple(enumerate(words, 1)), is_text, source.by_group)


def as_ids(lines: IdLines, known: "Iterable[RecordId]") -> "list[RecordId]":
    """Convert ids from text to the type of the task's ids; those of JSON lines have types of their own.

    Args:
        lines: the ids.
        known: the ids of all training records, or the keys of all groups.

    Returns:
        Integers if all known ids are integers, strings if all are strings; else whichever is known.

    Raises:
        RequestError: some lines cannot be ids of the task.
    """
    return typed_ids(lines, *kinds_and_those(known, possible_ids(lines) if lines.is_text else set()))


def possible_ids(lines: IdLines, kinds: "Container[type]" = (int, str)) -> "set[RecordId]":
    """Every id of some types that the lines can mean: a line of text may be an integer or a string."""
    if not lines.is_text:
        return {word for _, word in lines.words}
    words = {str(word) for _, word in lines.words}
    numbers = set(_numbers(lines).values()) if int in kinds else set()
    return {*numbers, *(words if str in kinds else ())}


def kinds_and_those(known: "Iterable[RecordId]", wanted: "set[RecordId]") -> "tuple[set[type], set[RecordId]]":
    """The types of all known ids, and those of the wanted ones that are known.

    Args:
        known: the ids of all training records, or the keys of all groups.
        wanted: some ids.
    """
    if isinstance(known, range):
        return {int}, {name for name in wanted if isinstance(name, int) and name in known}
    kinds: set[type] = set()
    there: set[RecordId] = set()
    for name in known:
        kinds.add(type(name))
        if name in wanted:
            there.add(name)
    return kinds or {int}, there


def typed_ids(lines: IdLines, kinds: "Container[type]", there: "Container[RecordId]") -> "list[RecordId]":
    """Convert ids from text; those of JSON lines have types of their own.

    Args:
        lines: the ids.
        kinds: the types of the task's ids.
        there: those of `possible_ids` that are known.

    Returns:
        Integers if all ids of the task are integers, strings if all are strings; else whichever is known.

    Raises:
        RequestError: some lines cannot be ids of the task.
    """
    if not lines.is_text:
        return [word for _, word in lines.words]
    texts, numbers = [(at, str(word)) for at, word in lines.words], _numbers(lines)
    if int not in kinds:
        return [word for _, word in texts]
    return _either(lines, texts, numbers, there) if str in kinds else _integers(lines, texts, numbers)


def _numbers(lines: IdLines) -> dict[str, int]:
    """The integer that a line of text can mean, by the line."""
    words = {str(word) for _, word in lines.words}
    return {word: int(word) for word in words if len(word) <= MAX_DIGITS and INTEGER.fullmatch(word)}


def _integers(lines: IdLines, texts: list[tuple[int, str]], numbers: dict[str, int]) -> "list[RecordId]":
    wrong = [(at, word) for at, word in texts if word not in numbers]
    if wrong:
        shown = shorten([f"line {at}: {word[:MAX_WORD]!r}" for at, word in wrong], show=str)
        hint = ""
        if any(LIKE_INTEGER.fullmatch(word) for _, word in wrong):
            hint = "; a line is exactly the id: 7, not +7, 007 or 7 with a blank"
        if any(word.lstrip().startswith("#") for _, word in wrong):
            hint += "; lines that begin with # are no comments: remove them"
        raise RequestError(f"{lines.name}: the task's {lines.what} are integers, but {shown}{hint}")
    return [numbers[word] for _, word in texts]


def _either(
    lines: IdLines, texts: list[tuple[int, str]], numbers: dict[str, int], there: "Container[RecordId]"
) -> "list[RecordId]":
    """Ids of a task that has both integers and strings: whichever of the two is there."""
    unclear = [(at, word) for at, word in texts if word in numbers and (word in there) == (numbers[word] in there)]
    if unclear:
        shown = shorten([f"line {at}: {word[:MAX_WORD]!r}" for at, word in unclear], show=str)
        raise RequestError(
            f"{lines.name}: the task's {lines.what} are integers and texts, and {shown} could be either: {JSON_LINES}"
        )
    return [numbers[word] if numbers.get(word) in there else word for _, word in texts]


def _parsed(lines: list[str], name: str) -> "list[RecordId]":
    """The JSON string or integer on each line."""
    found: list[RecordId] = []
    wrong: list[str] = []
    for at, line in enumerate(lines, 1):
        try:
            value = json.loads(line, parse_int=_integer)
        except (ValueError, RecursionError):
            value = None
        if type(value) is int or type(value) is str:
            found.append(value)
        else:
            wrong.append(f"line {at}: {line[:MAX_WORD]!r}")
    if wrong:
        raise RequestError(
            f'{name}: expected a JSON string or integer on each line, such as "u1" or 7; got {shorten(wrong, show=str)}'
        )
    return found


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(digits[:MAX_WORD])
    return int(digits)


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
        raise RequestError(f"{source}: cannot be read: {reason_of(error)} ({option})") from error


def _lines(data: bytes, name: str, is_text: bool) -> list[str]:
    """The lines of a file without their ends, and without empty lines at its end."""
    if b"\0" in data:
        raise RequestError(f"{name}: holds NUL bytes, so it is not UTF-8 text with one id a line")
    try:
        text = data.decode("utf-8-sig")  # without the mark that some editors put at a file's start
    except UnicodeDecodeError as error:
        raise RequestError(f"{name}: is not UTF-8 text (byte {error.start})") from None
    # not str.splitlines, which also cuts at separators that an id may hold
    lines = text.replace("\r\n", "\n").split("\n")
    while lines and not lines[-1]:
        lines.pop()
    if is_text and (odd := [at for at, line in enumerate(lines, 1) if "\r" in line]):
        raise RequestError(
            f"{name}: line {shorten(odd)} holds a carriage return: end lines by a line feed; if it belongs to an id, "
            f"{JSON_LINES}"
        )
    return lines
