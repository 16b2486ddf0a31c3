"""Stop rules as tables: which evaluations end a run, and what the last one says."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from efface.errors import RequestError
from efface.types import Estimate
from efface.unlearning.evidence import Evaluation, Outcome
from efface.unlearning.stopping import AnyOf, LooksUnseen, UtilityFloor, conclude, default_rule


def evaluation(
    value: float, half: float = 0.01, holdout: float = 0.9, step: int = 1, flips: float = 0.01
) -> Evaluation:
    change = holdout - 0.9
    change_seen = Estimate(change, change - flips, change + flips, 0.95)
    return Evaluation(step, Estimate(value, value - half, value + half, 0.95), holdout, change_seen, 1.0, 0.0)


FIRST = evaluation(0.8, step=0)

STOPS = [
    (LooksUnseen(), evaluation(0.5), Outcome.LOOKS_UNSEEN),
    (LooksUnseen(), evaluation(0.53, half=0.02), Outcome.LOOKS_UNSEEN),
    (LooksUnseen(), evaluation(0.53, half=0.03), None),  # fewer records: the same AUC, a wider interval
    (LooksUnseen(), evaluation(0.5, half=0.06), None),
    (LooksUnseen(margin=0.1), evaluation(0.5, half=0.06), Outcome.LOOKS_UNSEEN),
    (LooksUnseen(target=0.6), evaluation(0.5), None),
    (LooksUnseen(), evaluation(0.3), None),
    (LooksUnseen(), evaluation(0.5, holdout=0.1), Outcome.LOOKS_UNSEEN),
    (UtilityFloor(), evaluation(0.8, holdout=0.88), None),
    (UtilityFloor(), evaluation(0.8, holdout=0.87), None),  # just the drop allowed
    (UtilityFloor(), evaluation(0.8, holdout=0.86), None),  # the interval reaches the drop allowed
    (UtilityFloor(), evaluation(0.8, holdout=0.85), Outcome.UTILITY_FLOOR),
    (UtilityFloor(), evaluation(0.8, holdout=0.85, flips=0.05), None),  # so few records that it may be chance
    (UtilityFloor(), evaluation(0.5, holdout=0.99), None),
    (default_rule(), evaluation(0.5), Outcome.LOOKS_UNSEEN),
    (default_rule(), evaluation(0.5, holdout=0.5), Outcome.UTILITY_FLOOR),
    (LooksUnseen() | UtilityFloor(), evaluation(0.5, holdout=0.5), Outcome.LOOKS_UNSEEN),
    (default_rule(), evaluation(0.7), None),
    (AnyOf(), evaluation(0.5), None),
]


@pytest.mark.parametrize(("rule", "now", "outcome"), STOPS)
def test_a_stop_rule(rule: Any, now: Evaluation, outcome: Outcome | None) -> None:
    found = rule.check([FIRST, now])
    assert (found and found.outcome) == outcome
    assert rule.check([now]) is None, "the original itself is never the answer"
    if found:
        assert found.reason


def test_evidence_that_the_original_passes_too_says_so() -> None:
    found = LooksUnseen().check([evaluation(0.52, step=0), evaluation(0.5)])
    assert found and "so did the original's, 0.520" in found.reason
    first = LooksUnseen().check([FIRST, evaluation(0.5)])
    assert first and "original" not in first.reason


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1), st.floats(0, 0.3), st.floats(0, 0.3), st.floats(1e-3, 0.5))
def test_fewer_records_never_mean_an_earlier_stop(value: float, half: float, wider: float, margin: float) -> None:
    rule = LooksUnseen(margin=margin)
    if rule.check([FIRST, evaluation(value, half + wider)]) is not None:
        assert rule.check([FIRST, evaluation(value, half)]) is not None


@pytest.mark.parametrize(
    ("now", "outcome"),
    [
        (evaluation(0.6), Outcome.UNDER_UNLEARNED),
        (evaluation(0.4), Outcome.OVER_UNLEARNED),
        (evaluation(0.55, half=0.05), Outcome.UNDECIDED),
        (evaluation(0.5, half=0.3), Outcome.UNDECIDED),
    ],
)
def test_what_the_last_evaluation_says(now: Evaluation, outcome: Outcome) -> None:
    said = conclude([FIRST, now], 0.5)
    assert said.outcome is outcome and "step limit reached" in said.reason


def test_a_combination_judges_by_its_widest_rule() -> None:
    rule = UtilityFloor() | LooksUnseen(margin=0.04, target=0.52)
    assert (rule.target, rule.margin) == (0.52, 0.04)
    assert [type(r) for r in rule.rules] == [UtilityFloor, LooksUnseen]


def test_only_rules_are_combined() -> None:
    combined = UtilityFloor() | LooksUnseen(margin=0.1)
    assert combined.rules == (UtilityFloor(), LooksUnseen(margin=0.1)) and combined.margin == 0.1
    odd: Any
    for odd in (3, None, LooksUnseen, "looks unseen"):
        for combine in (lambda odd=odd: UtilityFloor() | odd, lambda odd=odd: odd | UtilityFloor()):
            with pytest.raises(RequestError, match=r"combined with others, as in UtilityFloor\(\) \| LooksUnseen\(\)"):
                combine()
    with pytest.raises(RequestError, match="at least one stop rule"):
        AnyOf.of()
