"""When steer's rounds end, how long they are, and what they reach; what it aims at is in test_targets."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import efface
from efface import Result
from efface.methods import Steer, steer
from efface.numerics.logits import margin, symlog
from efface.unlearning.stopping import LooksUnseen
from helpers.tiny import REFERENCE, Tiny, weights


def run(tiny: Tiny, evaluate: bool = False, **options: Any) -> Result:
    return efface.unlearn(
        tiny.model,
        forget=tiny.forget,
        task=tiny.task(),
        method=Steer(**options),
        options=efface.UnlearnOptions(evaluate=evaluate, stop=LooksUnseen(), reference=REFERENCE),
    )


def steps(result: Result) -> int:
    return result.evidence.chosen_step


@pytest.fixture
def aims(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Tensor]]:
    """The targets of each run."""
    real, made = steer.target_logits, []

    def target_logits(*given: Any) -> Tensor:
        made.append(real(*given))
        return made[-1]

    monkeypatch.setattr(steer, "target_logits", target_logits)
    yield made


def left(tiny: Tiny, result: Result, target: Tensor) -> float:
    """Share of the squared way to the target margins, on the symmetric log, that is left."""
    at = torch.tensor(sorted(tiny.forget))
    y = tiny.y[at]
    goal = symlog(margin(target, y))
    with torch.no_grad():
        rest, way = ((goal - symlog(margin(m(tiny.x[at]), y))).square().sum() for m in (result.model, result.original))
    return float(rest / way)


def test_it_ends_when_enough_of_the_way_is_behind_it(tiny: Tiny, aims: list[Tensor]) -> None:
    enough = 0.1
    result = run(tiny, rounds=40, steps=5, lr=2e-3, enough=enough)
    rounds, rest = divmod(steps(result), 5)
    assert rest == 0 and 1 < rounds < 40, "it had a way to go, and went no further"
    assert left(tiny, result, aims[0]) <= enough
    # the round before, with the same steps up to there, was not enough
    before = run(tiny, rounds=rounds - 1, steps=5, lr=2e-3, enough=0.0)
    assert steps(before) == 5 * (rounds - 1)
    torch.testing.assert_close(aims[1], aims[0])
    assert left(tiny, before, aims[1]) > enough


@pytest.mark.parametrize(("enough", "rounds"), [(1.0, 1), (0.0, 3)])
def test_enough_may_be_anything_or_nothing(enough: float, rounds: int, tiny: Tiny) -> None:
    result = run(tiny, evaluate=True, rounds=3, steps=8, enough=enough)
    assert steps(result) == 8 * rounds
    # at rest after the second round and each later one, and wherever it ends
    assert [look.step for look in result.evidence.evaluations] == [0, *([8] if rounds == 1 else [16, 24])]


@pytest.mark.parametrize(
    ("passes", "batch", "expected"),
    [(10, 192, 8), (10, 4, 30), (10, 5, 24), (1, 4, 8), (2, 1, 24)],
)
def test_a_round_grows_with_the_forget_set(passes: int, batch: int, expected: int, tiny: Tiny) -> None:
    """Of 12 records, `passes` passes in batches, and at least 8 steps."""
    result = run(tiny, rounds=1, steps=8, passes=passes, batch_forget=batch)
    assert steps(result) == expected
    total = result.cost.phases["steps"].backward
    assert total == expected * (min(batch, 12) + 96)


def test_each_round_comes_nearer(tiny: Tiny, aims: list[Tensor]) -> None:
    found = [left(tiny, run(tiny, rounds=rounds, steps=8, lr=2e-3, enough=0.0), aims[-1]) for rounds in (1, 3, 8)]
    assert 1 > found[0] > found[1] > found[2] and found[2] < 0.15


def test_what_is_held_stays(tiny: Tiny) -> None:
    """The heavier the hold on retain records, the less they move."""
    moved = []
    for hold in (0.0, 10.0):
        result = run(tiny, rounds=2, steps=20, enough=0.0, hold=hold)
        others = torch.tensor(sorted(set(result.splits.retain.tolist()) - set(result.splits.audit_reference.tolist())))
        with torch.no_grad():
            moved.append(float((result.model(tiny.x[others]) - tiny.model(tiny.x[others])).square().mean()))
    assert moved[1] < 0.5 * moved[0]
    assert weights(tiny.model) == weights(result.original)
