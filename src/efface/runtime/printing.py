"""Short texts of results and values, which fit on one screen whatever the data."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any

MAX_LINES, MAX_CHARACTERS = 30, 4000  # of one text
MAX_FIELD = 120  # characters of one field's value
MAX_TEXTS = 4  # of one row
SHOWN = 5  # items of a list


class Brief:
    """Base of dataclasses whose text names every field and shortens its value; give them `repr=False`."""

    def __repr__(self) -> str:
        shown = [f"{f.name}={brief(getattr(self, f.name))}" for f in dataclasses.fields(self) if f.repr]  # type: ignore[arg-type]
        name = type(self).__name__
        line = f"{name}({', '.join(shown)})"
        return line if len(line) <= MAX_FIELD else bounded([f"{name}(", *(f"  {part}," for part in shown), ")"])


def brief(value: Any) -> str:
    """One value as one short line: the shape of an array, the first items of a list, the class of a model."""
    return clip(_shown(value, 2), MAX_FIELD)


def clip(text: str, most: int) -> str:
    """A text as one line of at most `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 4]} ..."


def sheet(title: str, rows: Iterable[tuple[str, str | Sequence[str]]], most: int = 240) -> str:
    """A title, and below it a line for each row: its name and its text, or its first texts and how many more.

    Args:
        title: The first line.
        rows: Names and texts; a row without text is left out.
        most: Characters of one text.
    """
    lines = [clip(title, 2 * most)]
    for name, texts in rows:
        every = [texts] if isinstance(texts, str) else list(texts)
        names = [name] + [""] * MAX_TEXTS
        shown = [f"  {n:<9} {clip(text, most)}" for n, text in zip(names, every[:MAX_TEXTS], strict=False) if text]
        lines += [*shown, *([f"  {'':<9} and {len(every) - MAX_TEXTS} more"] if len(every) > MAX_TEXTS else [])]
    return bounded(lines)


def bounded(lines: Sequence[str]) -> str:
    """Lines as one text within MAX_LINES and MAX_CHARACTERS; what is left out is counted."""
    kept: list[str] = []
    length = 0
    for line in lines:
        length += len(line) + 1
        if len(kept) == MAX_LINES - 1 or length > MAX_CHARACTERS - 40:
            break
        kept.append(line)
    left = len(lines) - len(kept)
    if left == 1 and length <= MAX_CHARACTERS:  # the last line needs no more room than a count would
        return "\n".join(lines)
    return "\n".join([*kept, *([f"  ... {left} more lines"] if left else [])])


def how_many(number: int, one: str, many: str | None = None) -> str:
    """A number and what it counts, such as `1 record` and `1,200 records`.

    Args:
        number: How many.
        one: The word for one of them.
        many: The word for several; `one` with an s by default.
    """
    return f"{number:,} {by_number(number, one, many)}"


def how_many_do(number: int, one: str, does: str = "is", do: str = "are") -> str:
    """A number, what it counts, and the verb that fits, such as `1 record is` and `3 records are`.

    Args:
        number: How many.
        one: The word for one of them.
        does: The verb for one of them.
        do: The verb for several.
    """
    return f"{how_many(number, one)} {by_number(number, does, do)}"


def by_number(number: int, one: str, many: str | None = None) -> str:
    """The word that fits a number: `one` for 1, else `many`, which is `one` with an s by default."""
    return one if number == 1 else f"{one}s" if many is None else many


def duration(seconds: float) -> str:
    """Format seconds as seconds, minutes or hours, whichever suits."""
    if seconds < 120:
        return f"{seconds:.3g} s" if seconds < 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _shown(value: Any, depth: int) -> str:
    if value is None or isinstance(value, bool | int | float | Enum):
        return str(value)
    if isinstance(value, str | bytes):
        return repr(value[:MAX_FIELD])
    name = type(value).__name__
    if hasattr(value, "named_parameters") or isinstance(value, type):
        return f"<{name}>"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return _array(value, depth)
    if isinstance(value, Mapping):
        parts = [f"{_shown(k, 0)}: {_shown(v, depth - 1)}" for k, v in _first(value.items())]
        return f"{{{_listed(parts, len(value))}}}" if depth else f"{len(value)} entries"
    if isinstance(value, list | tuple | set | frozenset | range):
        parts = [_shown(v, depth - 1) for v in _first(value)]
        return f"[{_listed(parts, len(value))}]" if depth else f"{len(value)} items"
    if isinstance(value, Brief) or not dataclasses.is_dataclass(value):
        return f"<{name}, {len(value)} items>" if hasattr(value, "__len__") else f"<{name}>"
    text = repr(value)
    return text if "\n" not in text else f"<{name}>"


def _array(value: Any, depth: int) -> str:
    if len(value.shape) == 1 and depth and len(value):
        return f"[{_listed([str(v) for v in value[:SHOWN].tolist()], len(value))}]"
    return f"<{type(value).__name__}, {' x '.join(map(str, value.shape)) or 'a number'}>"


def _first(items: Iterable[Any]) -> list[Any]:
    return [item for item, _ in zip(items, range(SHOWN), strict=False)]


def _listed(parts: Sequence[str], count: int) -> str:
    return ", ".join(parts) + (f" and {count - len(parts)} more" if count > len(parts) else "")
