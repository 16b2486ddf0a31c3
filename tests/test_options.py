"""Options check themselves, and are read from words."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from efface.errors import RequestError
from efface.options import Options, nearest, option


@dataclass(frozen=True)
class Some(Options):
    """Options of each kind."""

    key: ClassVar[str] = "some"

    steps: int = option(3, "how many", low=1, high=10)
    rate: float = option(0.5, "how fast", low=0.0)
    drop: float = option(0.0, "how little", high=1.0)
    fresh: bool = option(False, "whether anew")
    kind: str = option("a", "which")


def problems_of(**values: Any) -> tuple[str, ...]:
    with pytest.raises(RequestError) as refused:
        Some(**values)
    return refused.value.problems


def test_whole_numbers_are_taken_for_floats_and_nothing_else_is() -> None:
    made = Some(rate=1)
    assert made.rate == 1.0 and type(made.rate) is float
    assert problems_of(steps=3.0) == ("option steps of some: expected int, got 3.0",)
    assert problems_of(steps=True) == ("option steps of some: expected int, got True",)
    assert problems_of(rate=True) == ("option rate of some: expected float, got True",)
    assert problems_of(fresh=1) == ("option fresh of some: expected bool, got 1",)


def test_ranges_are_closed_and_all_problems_come_at_once() -> None:
    assert (Some(steps=1).steps, Some(steps=10).steps, Some(rate=0.0).rate, Some(drop=1.0).drop) == (1, 10, 0.0, 1.0)
    assert problems_of(steps=0, rate=-0.5, drop=1.5, kind=None) == (
        "option steps of some: expected 1 to 10, got 0",
        "option rate of some: expected at least 0.0, got -0.5",
        "option drop of some: expected at most 1.0, got 1.5",
        "option kind of some: expected str, got None",
    )
    assert problems_of(rate=math.nan) == ("option rate of some: expected at least 0.0, got nan",)


@pytest.mark.parametrize(
    ("word", "value"), [("yes", True), ("True", True), ("1", True), ("no", False), ("FALSE", False), ("0", False)]
)
def test_words_of_a_command_line_are_read(word: str, value: bool) -> None:
    assert Some.parse({"fresh": word, "steps": "7", "rate": "1e-3", "kind": "b"}) == Some(7, 1e-3, 0.0, value, "b")


def test_wrong_words_are_refused_all_at_once() -> None:
    with pytest.raises(RequestError) as refused:
        Some.parse({"stepz": "3", "steps": "many", "fresh": "maybe", "rate": "-1"})
    assert refused.value.problems == (
        "some has no option 'stepz' (did you mean 'steps'?)",
        "option steps of some: expected int, got 'many'",
        "option fresh of some: expected bool, got 'maybe'",
        "option rate of some: expected at least 0.0, got -1.0",
    )


def test_the_nearest_word_or_all_known_ones() -> None:
    assert nearest("finetun", ["steer", "finetune"]) == "did you mean 'finetune'?"
    assert nearest("zzz", ["steer", "finetune"]) == "known: steer, finetune"
