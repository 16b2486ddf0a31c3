"""Ids that people take for one another are named, and never merged."""

from typing import Any

import numpy as np
import pytest

from efface.data.ids import read_ids
from efface.data.similar import similar_ids, similar_warnings, unknown_ids

NAMES: list[Any] = ["u1", "u1 ", "U2", "u2", "Jos\u00e9", "Jose\u0301", "stra\u00dfe", 7, "8", "\uff11"]


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ('["u1", "u2"]', "; this looks like JSON: give one id a line, or a .jsonl file"),
        ('"u1"', "; this looks like JSON"),
        ("u1, u2", "; these are several ids in one text: give one id a line"),
        ("7,9", "; these are several ids in one text: give one id a line"),
        ("Miller, Ann", ""),
        (",", ""),
    ],
)
def test_text_that_holds_several_ids_or_json_is_named(asked: str, hint: str) -> None:
    line = unknown_ids([asked], NAMES).removeprefix(repr(asked))
    assert line.startswith(hint) if hint else not line


@pytest.mark.parametrize(
    ("asked", "others", "how"),
    [
        ("u1", ["u1 "], "in blanks at its start or end"),
        ("u1\u00a0", ["u1", "u1 "], "in blanks at its start or end"),
        ("U2", ["u2"], "in case"),
        ("Jos\u00e9", ["Jose\u0301"], "in its Unicode form"),
        ("STRASSE", ["stra\u00dfe"], "in case"),
        ("7", [7], "in type: one is a number, the other text"),
        (8, ["8"], "in type: one is a number, the other text"),
        ("1", ["\uff11"], "in its Unicode form"),
    ],
)
def test_similar_ids_are_found_with_their_difference(asked: Any, others: list[Any], how: str) -> None:
    assert similar_ids([asked], NAMES) == {asked: others}
    line = unknown_ids([asked], NAMES)
    assert line.endswith(f"is there: it differs {how}")


def test_ids_that_are_not_similar_say_nothing() -> None:
    assert similar_ids(["u3", 8000, "", "07"], NAMES) == {}
    assert similar_warnings(["stra\u00dfe", 7], NAMES) == {}
    assert unknown_ids(["u3"], NAMES) == "'u3'"


def test_a_comment_is_an_id_and_said_to_be_one() -> None:
    assert "there are no comments" in unknown_ids(["# for Monday"], NAMES)


@pytest.mark.parametrize("names", [range(10), np.arange(10)])
def test_text_for_a_number_is_recognised_among_numbers(names: Any) -> None:
    assert similar_ids([" 7", "11", "x", "9" * 40], read_ids(names, "ids", [])) == {" 7": [7]}


def test_warnings_name_both_ids_and_have_a_form_without_them() -> None:
    warnings = similar_warnings(["u1", "Jos\u00e9", "Jose\u0301"], NAMES)
    stays, pairs = (
        "1 id that stays looks like a requested one, and is not the same",
        "1 pairs of requested ids look alike",
    )
    both = f"{pairs}, and both records of each go"
    assert warnings == {
        f"{stays} ('u1 ' stays, 'u1' goes: in blanks at its start or end)": stays,
        f"{both} ('Jos\\xe9' and 'Jose\\u0301': in its Unicode form)": both,
    }
