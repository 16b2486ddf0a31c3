"""Options of a run: they check themselves, and a result keeps them."""

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

import efface
from efface import Recipe, RequestError, UnlearnOptions, UtilityFloor
from helpers.tiny import Tiny

WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"stop": 3}, ["stop: expected a stop rule such as efface.LooksUnseen(), got 3"]),
    ({"evaluate": 1}, ["evaluate: expected True or False, got 1"]),
    ({"checks": None}, ["checks: expected True or False, got None"]),
    ({"reference": "long"}, ["reference: expected an efface.Recipe, got 'long'"]),
    ({"splits": ()}, ["splits: expected the splits of another result, got ()"]),
    ({"twins": "both"}, ["twins: expected one of refuse, forget, keep, got 'both'"]),
    ({"twins": "forget", "confirmed": "r7"}, ["confirmed: expected the ids of twins, got 'r7'"]),
    ({"confirmed": [7]}, ["confirmed: it names twins to forget, which twins='refuse' does not"]),
    ({"twins": "keep", "checks": False}, ["twins: 'keep' needs the pass over all records"]),
    ({"stop": UtilityFloor, "checks": "no"}, ["stop: expected", "checks: expected"]),
]


@pytest.mark.parametrize(("given", "starts"), WRONG)
def test_a_field_of_a_wrong_type_is_refused(given: dict[str, Any], starts: list[str]) -> None:
    with pytest.raises(RequestError) as caught:
        UnlearnOptions(**given)
    assert len(caught.value.problems) == len(starts)
    for line, start in zip(caught.value.problems, starts, strict=True):
        assert line.startswith(start)


def test_options_do_not_change() -> None:
    options, recipe = UnlearnOptions(stop=UtilityFloor()), Recipe(epochs=2)
    with pytest.raises(FrozenInstanceError):
        options.checks = False  # type: ignore[misc]
    assert replace(options, reference=recipe) == UnlearnOptions(stop=UtilityFloor(), reference=recipe)


def test_a_result_keeps_the_options_of_its_run(tiny: Tiny) -> None:
    options = UnlearnOptions(evaluate=False, checks=False)
    result = efface.unlearn(tiny.model, forget=tiny.forget, task=tiny.task(), method="noop", options=options)
    assert result.options is options
    assert efface.unlearn(tiny.model, forget=tiny.forget, task=tiny.task(), method="noop").options == UnlearnOptions()


def test_options_of_another_kind_are_refused_with_all_other_problems(tiny: Tiny) -> None:
    with pytest.raises(RequestError) as caught:
        efface.unlearn(tiny.model, forget=[900], task=tiny.task(), options={"checks": False})  # type: ignore[arg-type]
    assert caught.value.problems == (
        "options: expected an efface.UnlearnOptions, got dict",
        "1 forget id is not in the training records (indices 0 to 299): 900",
    )
