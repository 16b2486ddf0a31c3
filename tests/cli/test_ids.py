"""An id on the command line is exactly its line; JSON lines can say every id."""

import json
from pathlib import Path
from typing import Any

import pytest

from efface.cli.ids import IdSource, as_ids, read_id_lines
from efface.errors import RequestError

NUMBERS, WORDS, MIXED = range(300), ["u1", "u1 ", "#7", "7"], [5, "u1", "6", 7, "7"]


def read(path: Path, data: str | bytes, known: Any, **how: Any) -> Any:
    """The ids in a file, or the refusal as text."""
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    try:
        return as_ids(read_id_lines(IdSource(str(path), **how)), known)
    except RequestError as error:
        (problem,) = error.problems
        return problem


@pytest.mark.parametrize(
    ("data", "known", "expected"),
    [
        ("3\n4", NUMBERS, [3, 4]),
        ("\ufeff3\r\n4\r\n\r\n", NUMBERS, [3, 4]),
        ("1747382918273645900\n-0\n".replace("-0", "0"), [1747382918273645900, 0], [1747382918273645900, 0]),
        (f"{2**64}\n", NUMBERS, [2**64]),
        ("u1 \n# 7\n#7\n\u00a0\n", WORDS, ["u1 ", "# 7", "#7", "\u00a0"]),
        ("007\n", WORDS, ["007"]),
        ("a\x0bb\u2028c\n", WORDS, ["a\x0bb\u2028c"]),
        ("5\nu1\n6\n", MIXED, [5, "u1", "6"]),
    ],
)
def test_a_line_is_exactly_the_id(tmp_path: Path, data: str, known: Any, expected: list[Any]) -> None:
    assert read(tmp_path / "ids.txt", data, known) == expected


@pytest.mark.parametrize(
    ("data", "known", "said"),
    [
        ("3\n\n4\n", NUMBERS, "line 2 is empty: an id is exactly its line"),
        ("\n3\n", WORDS, "line 1 is empty"),
        ("3\r4\n", WORDS, "line 1 holds a carriage return"),
        *(
            (f"3\n{word}\n", NUMBERS, f"line 2: {word!r}; a line is exactly the id")
            for word in ("007", "+7", " 7", "7 ")
        ),
        *((f"3\n{word}\n", NUMBERS, f"line 2: {word!r}") for word in ("1e3", "1.0", "-0", "--7", "\uff17", "0x7")),
        ("# 7\n", NUMBERS, "line 1: '# 7'; lines that begin with # are no comments: remove them"),
        ("7\n", MIXED, "the task's ids are integers and texts, and line 1: '7' could be either: write JSON lines"),
        ("8\n", MIXED, "line 1: '8' could be either"),
    ],
)
def test_a_line_that_is_no_id_is_refused(tmp_path: Path, data: str, known: Any, said: str) -> None:
    assert said in read(tmp_path / "ids.txt", data, known)


EVERY = ["", " ", "#7", "u1\n", "\r", "\x00", "\u2028", "\ud800", "\ufeff", "7", 7, -7, 2**63, 2**80, 0]


@pytest.mark.parametrize("known", [NUMBERS, WORDS, MIXED])
def test_json_lines_say_every_id_and_its_kind(tmp_path: Path, known: Any) -> None:
    data = "".join(f"{json.dumps(name)}\n" for name in EVERY)
    assert read(tmp_path / "ids.jsonl", data, known) == EVERY
    assert read(tmp_path / "ids.txt", data, known, style="jsonl") == EVERY
    assert read(tmp_path / "ids.JSONL", data.replace("\n", "\r\n"), known) == EVERY
    assert read(tmp_path / "ids.jsonl", "7\n", WORDS, style="text") == ["7"]


@pytest.mark.parametrize("line", ["1e3", "1.0", "null", "true", "[1]", '{"id": 1}', "u1", "'u1'", "1 2", "NaN", "07"])
def test_a_line_that_is_no_json_id_is_refused(tmp_path: Path, line: str) -> None:
    said = read(tmp_path / "ids.jsonl", f'"u1"\n{line}\n', WORDS)
    assert f'expected a JSON string or integer on each line, such as "u1" or 7; got line 2: {line!r}' in said


def test_a_very_long_number_is_refused_in_a_line(tmp_path: Path) -> None:
    for name in ("ids.jsonl", "ids.txt"):
        said = read(tmp_path / name, "9" * 5000, NUMBERS)
        assert isinstance(said, str) and len(said) < 300
