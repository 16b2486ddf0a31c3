"""Broken files: refused in one line a problem, with nothing done and no code run, whatever is wrong with them."""

import io
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from benchmarks.harness.suite import read_suite
from efface.cli.ids import IdSource, as_ids, read_id_lines
from efface.data.naming import name_records
from efface.errors import CheckpointError, RequestError
from efface.models.checkpoint import load_weights
from efface.task import Task
from helpers.benchmark_command import bench
from helpers.command_line import UNLEARN, new_files, run
from helpers.fuzzing_inputs import WORDS, checkpoint, ids_file, network, toml_file, trapped
from helpers.tiny import Tiny, bits

LONG = os.environ.get("EFFACE_LONG") == "1"
PART = 200  # inputs of one test case
PARTS = range(20 if LONG else 1)
SUITES = Path(__file__).parent.parent / "benchmarks" / "suites"


def outcome(call: Callable[..., Any], *given: Any, kind: type[RequestError] = RequestError) -> Any:
    """What a call gives, or its refusal, which must be of one kind and one line a problem."""
    try:
        return call(*given)
    except kind as error:
        assert error.problems
        for problem in error.problems:
            assert problem.isprintable() or "\n" not in problem
            assert len(problem) < 4000
        return error


def read_ids(path: Path, task: Task | None) -> Any:
    """The ids in a file; without a task as text."""
    lines = read_id_lines(IdSource(str(path)))
    return [word for _, word in lines.words] if task is None else as_ids(lines, name_records(task, 300, []).ids)


def by_hand(data: bytes) -> list[str] | None:
    """The ids in a file by another way; None where it is no text, or a line is no id."""
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError:
        return None
    words = re.split(r"\r?\n", text)
    words = words[: max((at for at, word in enumerate(words, 1) if word), default=0)]
    return None if "\0" in text or any(not word or "\r" in word for word in words) else words


def is_number(word: str) -> bool:
    return len(word) <= 1000 and re.fullmatch("0|-?[1-9][0-9]*", word) is not None


@pytest.mark.parametrize("part", PARTS)
def test_files_of_ids_are_read_or_refused(part: int, tmp_path: Path, tiny: Tiny) -> None:
    draw, path = np.random.default_rng([1, part]), tmp_path / "ids.txt"
    numbers, words = tiny.task(), tiny.task(ids=[f"person-{i}" for i in range(300)])
    read = refused = 0
    for _ in range(PART):
        data = ids_file(draw)
        path.write_bytes(data)
        wanted = by_hand(data)
        for task in (None, numbers, words):
            found = outcome(read_ids, path, task)
            if isinstance(found, RequestError):
                refused += 1
                assert not wanted or (task is numbers and not all(map(is_number, wanted)))
            else:
                read += 1
                assert found == ([int(w) for w in wanted or ()] if task is numbers else wanted)
    assert min(read, refused) > PART // 4


@pytest.mark.parametrize("word", WORDS, ids=ascii)
def test_each_odd_word_between_two_ids(word: str, tmp_path: Path, tiny: Tiny) -> None:
    path = tmp_path / "ids.txt"
    for end in ("\n", "\r\n"):
        path.write_bytes(end.join(["5", word, "6"]).encode("utf-8"))
        found = outcome(read_ids, path, tiny.task())
        if not word:
            assert isinstance(found, RequestError) and "line 2 is empty" in found.problems[0]
        elif is_number(word):
            assert found == [5, int(word), 6]
        else:
            assert isinstance(found, RequestError)
            assert f"line 2: {word[:40]!r}" in found.problems[0]
            assert outcome(read_ids, path, None) == ["5", word, "6"]
            assert ("no comments" in found.problems[0]) == word.strip().startswith("#")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "names no record id"),
        (b"\n\r\n\n", "names no record id"),
        (b"5\n\n6\n", "line 2 is empty"),
        (b"5\r6\r", "line 1 holds a carriage return"),
        (b"\xef\xbb\xbf", "names no record id"),
        ("5\n6".encode("utf-16"), "is not UTF-8 text"),
        ("5\n6".encode("utf-16-le"), "holds NUL bytes"),
        (b"5\n\xe9\n", "is not UTF-8 text (byte 2)"),
        (b"5\n6\0\n", "holds NUL bytes"),
    ],
)
def test_files_that_are_no_text_are_refused(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_bytes(data)
    found = outcome(read_ids, tmp_path / "ids.txt", None)
    assert isinstance(found, RequestError)
    assert said in found.problems[0]


def test_a_million_lines_and_a_line_of_a_million_signs_are_read(tmp_path: Path, tiny: Tiny) -> None:
    path = tmp_path / "ids.txt"
    path.write_bytes(b"\r\n".join(b"%d" % i for i in range(10**6)))
    found = read_ids(path, tiny.task())
    assert (len(found), found[-1]) == (10**6, 10**6 - 1)
    path.write_text("x" * 10**6)
    assert read_ids(path, None) == ["x" * 10**6]
    (problem,) = outcome(read_ids, path, tiny.task()).problems
    assert len(problem) < 300


@pytest.mark.parametrize("part", PARTS)
def test_suites_are_read_or_refused(part: int, tmp_path: Path) -> None:
    draw = np.random.default_rng([2, part])
    sound = {name: (SUITES / f"{name}.toml").read_text() for name in ("smoke", "methods")}
    read = refused = 0
    for at in range(PART):
        for name, text in sound.items():
            (tmp_path / f"{name}.toml").write_text(text)
        name = ("smoke", "methods")[at % 2]
        (tmp_path / f"{name}.toml").write_bytes(toml_file(draw, sound[name]))
        found = outcome(read_suite, tmp_path / "smoke.toml")
        refused += isinstance(found, RequestError)
        read += not isinstance(found, RequestError)
    assert read
    assert refused > PART // 2


@pytest.mark.parametrize("part", PARTS)
def test_checkpoints_are_loaded_whole_or_not_at_all(part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, traps = np.random.default_rng([3, part]), tmp_path / "traps"
    traps.mkdir()
    files = [checkpoint(draw, traps) for _ in range(PART)]
    run_by_somebody: list[object] = []
    for name in ("os.system", "posix.system", "subprocess.Popen"):
        monkeypatch.setattr(name, lambda *words, **_: run_by_somebody.append(words))
    model = network()
    loaded = refused = 0
    for ending, data in files:
        path = tmp_path / f"weights{ending}"
        path.write_bytes(data)
        before = bits(model)
        found = outcome(load_weights, model, path, kind=CheckpointError)
        if isinstance(found, CheckpointError):
            refused += 1
            assert bits(model) == before
        else:
            loaded += 1
        assert path.read_bytes() == data
        assert not run_by_somebody
        assert not list(traps.iterdir())
        path.unlink()
    assert refused > PART // 2
    assert loaded  # some only changed a weight


def test_the_traps_go_off_where_they_are_read_without_care(tmp_path: Path) -> None:
    draw = np.random.default_rng(4)
    for sprung in range(30):
        data = trapped(draw, {}, tmp_path)
        if data.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(data)) as file:
                data = file.read(next(name for name in file.namelist() if name.endswith("data.pkl")))
        pickle.loads(data)
        assert len(list(tmp_path.iterdir())) == sprung + 1


# the same on the command line


def check_refused(*words: str, command: Callable[..., Result] = run) -> None:
    found = command(*words)
    assert found.exit_code == 2, found.output
    assert "Traceback" not in found.output
    assert re.match(r"efface: (the \w+ was refused|nothing was done)", found.output)


def test_broken_files_of_ids_are_refused_on_the_command_line(here: Path) -> None:
    draw, tried = np.random.default_rng(5), 0
    while tried < 25:
        data = ids_file(draw)
        words = by_hand(data)
        if words and all(re.fullmatch(r"[0-9]{1,3}", w) for w in words):
            continue  # a sound one
        tried += 1
        (here / "ids.txt").write_bytes(data)
        check_refused(*UNLEARN)
        assert new_files(here) == []


def test_broken_checkpoints_are_refused_on_the_command_line(here: Path) -> None:
    """All of them, since none is of the network of the task."""
    draw, traps = np.random.default_rng(6), here.parent / "traps"
    traps.mkdir()
    for _ in range(25):
        ending, data = checkpoint(draw, traps)
        (here / f"weights{ending}").write_bytes(data)
        check_refused(*(f"weights{ending}" if word == "model.safetensors" else word for word in UNLEARN))
        (here / f"weights{ending}").unlink()
        assert new_files(here) == []
    assert not list(traps.iterdir())


def test_broken_suites_are_refused_on_the_command_line(here: Path) -> None:
    draw, tried = np.random.default_rng(7), 0
    text = (SUITES / "smoke.toml").read_text()
    (here / "methods.toml").write_text((SUITES / "methods.toml").read_text())
    while tried < 25:
        (here / "suite.toml").write_bytes(toml_file(draw, text))
        if not isinstance(outcome(read_suite, here / "suite.toml"), RequestError):
            continue
        tried += 1
        check_refused("run", "suite.toml", "--out", "out", command=bench)
        assert new_files(here) == ["methods.toml", "suite.toml"]
