"""Options that check themselves: values that are refused or taken, and options from words."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from efface.errors import RequestError
from efface.runtime.options import Options, as_integer, nearest, option


@dataclass(frozen=True)
class Knobs(Options):
    steps: int = option(10, "steps", 1, 100)
    lr: float = option(0.1, "learning rate", 1e-6)
    drop: float = option(0.0, "most", None, 1.0)
    fast: bool = option(False, "speed")
    name: str = option("adam", "optimiser")
    parts: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 0}, "option steps of Knobs: expected 1 to 100, got 0"),
        ({"steps": 101}, "expected 1 to 100, got 101"),
        ({"steps": 1.0}, "expected int, got 1.0"),
        ({"steps": True}, "expected int, got True"),
        ({"steps": None}, "expected int, got None"),
        ({"lr": 0.0}, "expected at least 1e-06, got 0.0"),
        ({"lr": float("nan")}, "expected at least 1e-06, got nan"),
        ({"lr": "0.1"}, "expected float, got '0.1'"),
        ({"lr": True}, "expected float, got True"),
        ({"drop": 2}, "expected at most 1.0, got 2.0"),
        ({"fast": 1}, "expected bool, got 1"),
        ({"parts": ["a"]}, "expected tuple, got ['a']"),
    ],
)
def test_an_option_that_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        Knobs(**given)
    (line,) = caught.value.problems
    assert message in line


def test_options_that_are_taken() -> None:
    made = Knobs(steps=100, lr=1, drop=-5)
    assert (made.steps, made.lr, made.drop) == (100, 1.0, -5.0)
    assert type(made.lr) is float  # a whole number is a float too
    assert Knobs(parts=("a",)).parts == ("a",)


def test_numbers_of_numpy_are_taken_as_pythons() -> None:
    made = Knobs(steps=np.int64(7), lr=np.float32(0.5), drop=np.int8(1))  # type: ignore[arg-type]
    assert made == Knobs(7, 0.5, 1.0)
    assert [type(value) for value in (made.steps, made.lr, made.drop)] == [int, float, float]
    for odd in (True, np.True_, 1.5, "1", None):
        with pytest.raises(RequestError, match="option steps of Knobs: expected int"):
            Knobs(steps=odd)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="option lr of Knobs: expected float"):
        Knobs(lr=10**400)  # no float is as large
    assert [as_integer(value) for value in (np.int16(3), True, 1.0, "1")] == [3, True, 1.0, "1"]
    assert type(as_integer(np.uint8(3))) is int


def test_options_from_words() -> None:
    assert Knobs.parse({}) == Knobs()
    assert Knobs.parse({"steps": "7", "lr": "1e-3", "fast": "Yes", "name": "sgd"}) == Knobs(7, 0.001, 0.0, True, "sgd")
    with pytest.raises(RequestError) as caught:
        Knobs.parse({"stesp": "1", "steps": "x", "lr": "nan", "fast": "maybe"})
    starts = (
        "Knobs has no option 'stesp' (did you mean 'steps'?)",
        "option steps of",
        "option fast of",
        "option lr of",
    )
    assert len(caught.value.problems) == 4
    for line, start in zip(caught.value.problems, starts, strict=True):
        assert line.startswith(start)


def test_the_nearest_word_or_all_known_ones() -> None:
    assert nearest("finetun", ["steer", "finetune"]) == "did you mean 'finetune'?"
    assert nearest("FineTune", ["steer", "finetune"]) == "did you mean 'finetune'?"
    assert nearest("zzz", ["steer", "finetune"]) == "known: steer, finetune"
