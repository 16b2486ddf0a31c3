"""The accuracy gate: which losses refuse a model, counted by hand."""

import pytest

from efface.store.accuracy import accuracy_problem, drift_values


def drift(lost: int, won: int, records: int, **changes: object) -> dict[str, object]:
    """What is found where so many answers turned wrong and right."""
    counts = {"lost": lost, "won": won, "records": records, "collapsed": False}
    return {**counts, "accuracy": (won - lost) / records, **changes}


def answers(targets: list[int], given: list[int]) -> list[tuple[int, float]]:
    """Classes that a model gives, each with whether it is right."""
    return [(answer, float(answer == target)) for target, answer in zip(targets, given, strict=True)]


def test_answers_are_counted_one_record_after_the_other() -> None:
    targets = [0, 0, 1, 1, 2]
    found = drift_values(now=answers(targets, [0, 1, 1, 0, 0]), first=answers(targets, [0, 0, 0, 1, 1]))
    assert found == {
        "changed": 4 / 5,
        "accuracy": -1 / 5,
        "records": 5,
        "lost": 2,
        "won": 1,
        "collapsed": False,
    }


@pytest.mark.parametrize(
    ("lost", "won", "records", "limit", "is_past"),
    [
        (40, 0, 2000, 0.02, False),  # just the limit
        (45, 0, 2000, 0.02, True),  # five more than that: 1 in 32
        (44, 0, 2000, 0.02, False),  # four more: 1 in 16
        (9, 0, 200, 0.02, True),
        (8, 0, 200, 0.02, False),
        (4, 0, 50, 0.02, False),  # a loss of 0.08 on so few is chance: one may turn wrong, and 1 in 8
        (6, 0, 50, 0.02, True),
        (24, 14, 200, 0.02, False),  # as many as go to and fro in a good model
        (60, 14, 200, 0.02, True),
        (100, 100, 200, 0.0, False),
        (5, 0, 200, 0.0, True),
        (0, 9, 200, 0.0, False),
        (200, 0, 200, 1.0, False),  # no limit
        (1400, 200, 2000, 0.02, True),  # the counts are large numbers
    ],
)
def test_a_loss_past_the_limit_and_past_chance_refuses(
    lost: int, won: int, records: int, limit: float, is_past: bool
) -> None:
    problem = accuracy_problem(drift(lost, won, records), limit)
    assert (problem is not None) == is_past
    assert problem is None or f"fell by {(lost - won) / records:.3f}" in problem


def test_one_class_for_all_is_refused_where_accuracy_hardly_falls() -> None:
    targets = [0] * 990 + [1] * 10
    found = drift_values(now=answers(targets, [0] * 1000), first=answers(targets, targets))
    assert found["collapsed"] and found["accuracy"] == -0.01
    assert "answers all 1,000 holdout records" in (accuracy_problem(found, 0.02) or "")
    assert accuracy_problem(found, 1.0) is None


@pytest.mark.parametrize(
    ("now", "first"),
    [
        ([0] * 10, [0] * 10),  # the first model told nothing apart either
        ([0] * 10, [0] * 6 + [1] * 4),  # four answers are too few
        ([0] * 9 + [1], [0] * 3 + [1] * 7),
    ],
)
def test_a_model_that_tells_classes_apart_as_before_has_not_collapsed(now: list[int], first: list[int]) -> None:
    assert not drift_values(answers(first, now), answers(first, first))["collapsed"]


def test_many_answers_that_are_hardly_worse_refuse_nothing() -> None:
    """Real values are seldom given just as before: nearly all may be a little worse, and the mean decides too."""
    first = [(at % 5, 0.9) for at in range(1000)]
    hardly, plainly = ([(answer, useful - loss) for answer, useful in first] for loss in (0.001, 0.03))
    assert accuracy_problem(drift_values(hardly, first), 0.02) is None
    assert "fell by 0.030" in (accuracy_problem(drift_values(plainly, first), 0.02) or "")


def test_what_was_not_compared_refuses_nothing() -> None:
    assert accuracy_problem({"missing": "no records"}, 0.0) is None
