"""Stored values: how a case's numbers are kept in a file that is readable in a diff, and when they count as changed."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "stored"
RTOL = 1e-3
# Smaller numbers are compared as if they were so large: a share of the largest number of their column, and what is
# nothing but rounding.
SMALLEST, NOTHING = 0.05, 1e-9
DIGITS = 7
Number = float | None


@dataclass(frozen=True)
class Case:
    """Numbers under a version that is raised by hand when they change: `exact` ones and words, and `values`."""

    version: int
    exact: dict[str, list[Any]]
    values: dict[str, list[Number]]

    @property
    def size(self) -> int:
        """How many numbers and words are stored."""
        return sum(len(column) for part in (self.exact, self.values) for column in part.values())


def of_tree(tree: Mapping[str, Any], version: int) -> Case:
    """A nesting of mappings, lists and scalars as columns; mappings in a list become one column for each of their keys.

    Floats are values; whole numbers, truth values and words must be equal. A column without an entry is left out.
    """
    found = {path: column for path, column in _columns("", tree) if any(v is not None for v in column)}
    values = {path: column for path, column in found.items() if _is_float(column)}
    return Case(
        version,
        {path: column for path, column in found.items() if path not in values},
        {path: [None if v is None or not math.isfinite(v) else float(v) for v in c] for path, c in values.items()},
    )


def deviations(stored: Mapping[str, list[Number]], now: Mapping[str, list[Number]]) -> Iterator[tuple[str, float]]:
    """By how much each column changed, relative to its numbers; infinitely where it has others or none."""
    for path in sorted({*stored, *now}):
        ours, theirs = stored.get(path, []), now.get(path, [])
        if len(ours) != len(theirs) or any((a is None) != (b is None) for a, b in zip(ours, theirs, strict=True)):
            yield path, math.inf
            continue
        pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
        least = max(NOTHING, SMALLEST * max((abs(a) for a, _ in pairs), default=0.0))
        yield path, max((abs(b - a) / max(abs(a), least) for a, b in pairs), default=0.0)


def differences(stored: Case, now: Case) -> list[str]:
    """What changed, a line each."""
    exact = [
        f"{path}: {stored.exact.get(path)} became {now.exact.get(path)}"
        for path in sorted({*stored.exact, *now.exact})
        if stored.exact.get(path) != now.exact.get(path)
    ]
    return exact + [
        f"{path}: off by {off:.2g} of its numbers, {RTOL:g} allowed" if math.isfinite(off) else f"{path}: other entries"
        for path, off in deviations(stored.values, now.values)
        if off > RTOL
    ]


def nameless(case: Case) -> Case:
    """The numbers of a case in order of size, and how often each of its words occurs, without any names."""
    exact = [v for column in case.exact.values() for v in column]
    counts = sorted(Counter(v for v in exact if isinstance(v, str)).values())
    others = sorted(str(v) for v in exact if not isinstance(v, str))
    values = sorted(v for column in case.values.values() for v in column if v is not None)
    return Case(case.version, {"counts": counts, "others": others}, {str(k): [v] for k, v in enumerate(values)})


def read(path: Path) -> dict[str, Case]:
    """The cases of a file; none where there is no file."""
    if not path.exists():
        return {}
    return {name: Case(**case) for name, case in json.loads(path.read_text(encoding="ascii")).items()}


def write(path: Path, cases: Mapping[str, Case]) -> None:
    """Write the cases in order of name, a line for each column, with seven digits."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(_text({name: asdict(cases[name]) for name in sorted(cases)}, depth=3) + "\n", encoding="ascii")


def _text(tree: Any, depth: int, indent: str = "") -> str:
    """JSON whose mappings have a line for each key down to a depth."""
    if not (depth and isinstance(tree, dict) and tree):
        return json.dumps(_rounded(tree), allow_nan=False)
    lines = [f"{indent} {json.dumps(key)}: {_text(value, depth - 1, indent + ' ')}" for key, value in tree.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    if not isinstance(value, float):
        return value
    return float(f"{value:.{DIGITS}g}") if abs(value) > NOTHING / 1e3 else 0.0


def _columns(path: str, tree: Any) -> Iterator[tuple[str, list[Any]]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _columns(f"{path}.{key}" if path else key, value)
    elif isinstance(tree, Sequence) and not isinstance(tree, str):
        if not any(isinstance(row, Mapping) for row in tree):
            yield path, list(tree)
            return
        rows = [dict(_columns(path, row)) for row in tree]
        for key in dict.fromkeys(key for row in rows for key in row):
            yield key, [row[key][0] if key in row else None for row in rows]
    else:
        yield path, [tree]


def _is_float(column: Sequence[Any]) -> bool:
    return any(isinstance(v, float) for v in column)
