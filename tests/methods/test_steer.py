"""steer: its first updates by hand, when its rounds end, how long they are, and what they reach.

What it aims at is in tests/calibration/test_targets.py.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence
from torch.utils.data import Dataset

import efface
from efface import Result
from efface.calibration.counterfactual import CalibrationRecords, CounterfactualLogits
from efface.calibration.reference import reference_model
from efface.data.records import Records
from efface.data.splits import make_splits
from efface.methods import Steer, steer
from efface.numerics.logits import margin, symlog
from efface.runtime.cost import Meter
from efface.unlearning.stopping import LooksUnseen
from helpers.by_hand import ALL, close, flat, in_double, problem_of, steady
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


def test_the_first_updates_by_hand(tiny: Tiny) -> None:
    tiny, f = in_double(tiny), list(tiny.forget)
    task, model = tiny.task(), tiny.model
    train, holdout = Records(task.train, task), Records(task.holdout, task)
    problem, splits = problem_of(tiny, model), make_splits(np.array(f), len(tiny.x), len(tiny.holdout_x), seed=0)
    reference = reference_model(task, model, train, splits.reference, REFERENCE, 0, Meter())
    places = CalibrationRecords(train, holdout, splits.heldout_retain, splits.calibration)
    made = CounterfactualLogits(task, model, reference, places, Meter())
    method = Steer(
        steps=8, passes=1, lr=0.05, scale=0.7, retain_weight=2.0, ce_weight=0.4, batch_forget=ALL, batch_retain=ALL
    )
    steps = method.run(replace(problem, counterfactual=lambda: made))

    target = steer.target_logits(made.of_training(problem.forget), made.members, made.nonmembers, ())
    read, mine = torch.from_numpy(problem.retain), tiny.fresh()
    adam = torch.optim.Adam(mine.parameters(), lr=0.05)
    rate = torch.optim.lr_scheduler.OneCycleLR(adam, 0.05, total_steps=8, pct_start=0.2)

    def centred(m: nn.Module, at: Any) -> Tensor:
        return m(tiny.x[at]) - m(tiny.x[at]).mean(1, keepdim=True)

    sure = torch.ones(len(flat(mine)), dtype=torch.bool)
    for _ in range(2):
        next(steps)
        forget, retain = centred(mine, f) - target, centred(mine, read) - centred(model, read).detach()
        loss = 0.7 * (forget.square().mean() + 2.0 * retain.square().mean())
        loss = loss + 0.4 * F.cross_entropy(mine(tiny.x[read]), tiny.y[read])
        adam.zero_grad()
        loss.backward()
        # Adam's step hangs on the rounding of a slope that is nearly zero
        sure &= steady(torch.cat([p.grad.reshape(-1) for p in mine.parameters() if p.grad is not None]))
        adam.step()
        rate.step()
        moved, wanted = flat(problem.model) - flat(model), flat(mine) - flat(model)
        assert sure.double().mean() > 0.8
        assert close(moved[sure], wanted[sure], 1e-3)


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


def test_it_ends_when_no_more_than_the_tolerance_is_left(tiny: Tiny, aims: list[Tensor]) -> None:
    tolerance = 0.1
    result = run(tiny, rounds=40, steps=5, lr=2e-3, tolerance=tolerance)
    rounds, rest = divmod(steps(result), 5)
    assert rest == 0 and 1 < rounds < 40, "it had a way to go, and went no further"
    assert left(tiny, result, aims[0]) <= tolerance
    # the round before, with the same steps up to there, left more
    before = run(tiny, rounds=rounds - 1, steps=5, lr=2e-3, tolerance=0.0)
    assert steps(before) == 5 * (rounds - 1)
    torch.testing.assert_close(aims[1], aims[0])
    assert left(tiny, before, aims[1]) > tolerance


@pytest.mark.parametrize(("tolerance", "rounds"), [(1.0, 1), (0.0, 3)])
def test_any_tolerance_may_be_asked_for(tolerance: float, rounds: int, tiny: Tiny) -> None:
    result = run(tiny, evaluate=True, rounds=3, steps=8, tolerance=tolerance)
    assert steps(result) == 8 * rounds
    # evaluated after the second round and each later one, and wherever it ends
    assert [e.step for e in result.evidence.evaluations] == [0, *([8] if rounds == 1 else [16, 24])]


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
    found = [left(tiny, run(tiny, rounds=rounds, steps=8, lr=2e-3, tolerance=0.0), aims[-1]) for rounds in (1, 3, 8)]
    assert 1 > found[0] > found[1] > found[2] and found[2] < 0.15


def test_a_weight_keeps_retain_records_where_they_are(tiny: Tiny) -> None:
    """The larger the weight of retain records, the less they move."""
    moved = []
    for weight in (0.0, 10.0):
        result = run(tiny, rounds=2, steps=20, tolerance=0.0, retain_weight=weight)
        others = torch.tensor(sorted(set(result.splits.retain.tolist()) - set(result.splits.audit_reference.tolist())))
        with torch.no_grad():
            moved.append(float((result.model(tiny.x[others]) - tiny.model(tiny.x[others])).square().mean()))
    assert moved[1] < 0.5 * moved[0]
    assert weights(tiny.model) == weights(result.original)


class Texts(Dataset):
    """Records as texts that the model's forward reads."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = [" ".join(map(repr, row.tolist())) for row in x], y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, at: int) -> tuple[str, int]:
        return self.x[at], int(self.y[at])


class Graphs:
    """A batch object of a user's own."""

    def __init__(self, x: Tensor) -> None:
        self.x = x


def read_texts(model: nn.Module, texts: Sequence[str]) -> Tensor:
    return model(torch.tensor([[float(word) for word in text.split()] for text in texts]))


def as_pairs(make: Callable[[Tensor], Any]) -> Callable[[Any], tuple[Any, Tensor]]:
    return lambda batch: (make(batch[0]), batch[1])


INPUTS: dict[str, dict[str, Any]] = {
    "texts": {"forward": read_texts},
    "own objects": {"unpack": as_pairs(Graphs), "forward": lambda m, g: m(g.x)},
    "records in the second dimension": {"unpack": as_pairs(lambda x: x.T), "forward": lambda m, x: m(x.T)},
    "beside a number of the batch": {
        "unpack": as_pairs(lambda x: {"x": x, "scale": torch.tensor(2.0)}),
        "forward": lambda m, d: m(d["x"] * d["scale"] / 2),
    },
    "sparse": {"unpack": as_pairs(Tensor.to_sparse), "forward": lambda m, x: m(x.to_dense())},
    "nested": {
        "unpack": as_pairs(lambda x: torch.nested.nested_tensor(list(x), layout=torch.jagged)),
        "forward": lambda m, x: m(torch.stack(list(x.unbind()))),
    },
    "arrays": {"unpack": as_pairs(lambda x: {"x": x.numpy()}), "forward": lambda m, d: m(torch.from_numpy(d["x"]))},
    "packed": {
        "unpack": as_pairs(lambda x: pack_sequence([torch.tensor(row) for row in x.tolist()])),
        "forward": lambda m, packed: m(pad_packed_sequence(packed, batch_first=True)[0]),
    },
    "in a list of rows": {"unpack": as_pairs(list), "forward": lambda m, rows: m(torch.stack(rows))},
    "a column cut off": {
        "unpack": as_pairs(lambda x: [x[:, :-1], x[:, -1]]),
        "forward": lambda m, p: m(torch.cat([p[0], p[1][:, None]], 1)),
    },
}


@pytest.mark.parametrize("batch_size", [64, 1024])
@pytest.mark.parametrize("kind", INPUTS)
def test_inputs_of_any_kind_are_paired_with_their_own_targets(kind: str, batch_size: int, tiny: Tiny) -> None:
    """What cannot be cut by record is read again, with and without the pass over all records."""

    def steered(checks: bool, **hooks: Any) -> Tensor:
        sets = (
            {"train": Texts(tiny.x, tiny.y), "holdout": Texts(tiny.holdout_x, tiny.holdout_y)}
            if kind == "texts"
            else {}
        )
        task = tiny.task(batch_size=batch_size, **(hooks and {**sets, **hooks}))
        result = efface.unlearn(
            tiny.model,
            forget=tiny.forget,
            task=task,
            method=Steer(rounds=1, steps=8, batch_forget=8, batch_retain=16),
            options=efface.UnlearnOptions(evaluate=False, reference=REFERENCE, checks=checks),
        )
        return result.model(tiny.x[list(tiny.forget)]).detach()

    expected = steered(True)
    assert float((expected - tiny.model(tiny.x[list(tiny.forget)]).detach()).abs().max()) > 1
    for checks in (True, False):
        assert torch.allclose(steered(checks, **INPUTS[kind]), expected, atol=1e-3)
