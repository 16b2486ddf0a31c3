"""steer: its first updates by hand, its cycles and their rates, and what they reach.

What it aims at is in tests/calibration/test_targets.py and tests/calibration/test_aim.py.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence
from torch.utils.data import Dataset

import efface
from efface import Result
from efface.calibration.counterfactual import CalibratedLogits, CalibrationRecords, CounterfactualLogits
from efface.calibration.reference import half_way_model, reference_model
from efface.data.splits import make_splits
from efface.methods import Steer, steer
from efface.methods.base import Problem
from efface.numerics.logits import margin, symlog
from efface.runtime.cost import Meter
from efface.unlearning.stopping import LooksUnseen
from helpers.by_hand import ALL, close, flat, in_double, problem_of, steady
from helpers.tiny import REFERENCE, Tiny, weights

FORGOTTEN = 2  # a class


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


def expected_of(tiny: Tiny, problem: Problem) -> CounterfactualLogits:
    """The expected logits, apart from a run."""
    task, train = problem.task, problem.train
    splits = make_splits(np.array(tiny.forget), len(tiny.x), len(tiny.holdout_x), seed=0)
    start = half_way_model(task, problem.original, 0)
    reference = reference_model(task, start, train, splits.reference, REFERENCE, 0, Meter())
    places = CalibrationRecords(
        train, problem.holdout, splits.heldout_retain, splits.calibration, problem.forget_classes
    )
    return CounterfactualLogits(task, problem.original, reference, places, Meter())


def slow_symlog(values: Tensor) -> Tensor:
    return torch.stack([(1 + v).log() if v > 0 else -(1 - v).log() for v in values])


def slow_margin(z: Tensor, y: Tensor) -> Tensor:
    rows = []
    for row, label in zip(z, y.tolist(), strict=True):
        others = sum(row[c].exp() for c in range(len(row)) if c != label)
        rows.append(row[label] - torch.log(others))
    return torch.stack(rows)


class ByHand:
    """Records with what they are to have, all in float64."""

    def __init__(self, wanted: Tensor, now: Tensor, y: Tensor) -> None:
        self.y, self.wanted, self.way = y, wanted, wanted - now
        goal, start = slow_margin(wanted, y), slow_margin(now, y)
        self.margins, self.margins_way = slow_symlog(goal), slow_symlog(goal) - slow_symlog(start)
        self.weights = 1 / (1 + torch.minimum(goal.abs(), start.abs()))

    def error(self, z: Tensor, beyond: float = 0.0) -> tuple[Tensor, Tensor]:
        off = (z - (self.wanted + beyond * self.way)).square().mean(1)
        gap = slow_symlog(slow_margin(z, self.y)) - (self.margins + beyond * self.margins_way)
        return (self.weights * off).mean(), gap.square().mean()


def centred(m: nn.Module, x: Tensor) -> Tensor:
    z = m(x)
    return z - z.mean(1, keepdim=True)


def rms(p: Tensor) -> float:
    return float(p.detach().square().mean().sqrt())


def test_the_first_updates_by_hand(tiny: Tiny) -> None:
    tiny = in_double(tiny)
    problem = problem_of(tiny, tiny.model)
    made, at, mine = expected_of(tiny, problem), problem.forget, tiny.fresh()
    count, travel, beyond, spare, weight = 8, 3.0, 0.4, 2.5e-6, 7.0
    method = Steer(
        steps=count,
        passes=1,
        travel=travel,
        beyond=beyond,
        retain_weight=weight,
        spare=spare,
        pool=ALL,
        batch_forget=ALL,
        batch_retain=ALL,
    )
    found = method.run(replace(problem, counterfactual=lambda: made))

    x, y, x_r, y_r = tiny.x[at], tiny.y[at], tiny.x[problem.retain], tiny.y[problem.retain]
    with torch.no_grad():
        now, kept = centred(tiny.model, x), centred(tiny.model, x_r)
    target = steer.target_logits(made.of_training(at), made.members, made.nonmembers, ())
    forget, retain = ByHand(target, now, y), ByHand(kept, kept, y_r)

    # rates
    parameters = list(mine.parameters())
    error = sum(forget.error(centred(mine, x), beyond))
    grads = torch.autograd.grad(error, parameters)
    everything = rms(flat(mine))
    sizes = [max(rms(p), everything / 100) for p in parameters]
    way = float(error.detach()) / sum(float(g.abs().sum()) * s for g, s in zip(grads, sizes, strict=True))
    peaks = [travel / count * way * s for s in sizes]
    adam = torch.optim.Adam([{"params": [p]} for p in parameters], foreach=False)
    rate = torch.optim.lr_scheduler.OneCycleLR(adam, peaks, total_steps=count, pct_start=0.2)

    # how far retain records may move
    spread = float(slow_symlog(made.nonmembers.margin).var())
    budget = spare * (spread + 4 * float(forget.margins_way.square().mean()))
    mean = None

    sure = torch.ones(len(flat(mine)), dtype=torch.bool)
    for k in range(3):
        step = next(found)
        others = retain.error(centred(mine, x_r))
        loss = sum(forget.error(centred(mine, x), beyond * (1 - k / count))) + weight * sum(others)
        adam.zero_grad()
        loss.backward()
        # Adam's step hangs on the rounding of a slope that is nearly zero
        sure &= steady(torch.cat([p.grad.reshape(-1) for p in parameters if p.grad is not None]))
        adam.step()
        rate.step()
        off = float(others[1].detach())
        mean = off if mean is None else 0.7 * mean + 0.3 * off
        weight *= min(4.0, max(0.25, mean / budget)) ** 0.15
        moved, wanted = flat(problem.model) - flat(tiny.model), flat(mine) - flat(tiny.model)
        assert step.loss == pytest.approx(loss.item(), rel=1e-4) and step.index == k + 1
        assert sure.double().mean() > 0.8
        assert close(moved[sure], wanted[sure], 1e-3)


# cycles


@pytest.mark.parametrize(
    ("passes", "batch", "expected"),
    [(10, 192, 8), (10, 4, 30), (10, 5, 24), (1, 4, 8), (2, 1, 24), (7.5, 8, 12)],
)
def test_a_cycle_grows_with_the_forget_set(passes: float, batch: int, expected: int, tiny: Tiny) -> None:
    """Of 12 records, `passes` passes in batches, and at least 8 steps."""
    result = run(tiny, steps=8, passes=passes, batch_forget=batch)
    assert steps(result) == expected
    assert Steer(steps=8, passes=passes, batch_forget=batch, rounds=3).most_steps(12) == 3 * expected
    # a step of both kinds of records, and before all a batch to see how far there is to go
    size = min(batch, 12)
    assert result.cost.phases["steps"].backward == expected * (size + 96) + size


def test_it_holds_a_pool_of_retain_records(tiny: Tiny) -> None:
    result = run(tiny, steps=8, pool=10)
    assert result.cost.phases["steps"].backward == 8 * (12 + 10) + 12


def test_one_cycle_is_run_where_no_class_is_forgotten(tiny: Tiny) -> None:
    result = run(tiny, evaluate=True, rounds=3, steps=8)
    assert steps(result) == 8
    assert [e.step for e in result.evidence.evaluations] == [0, 8]


def test_it_is_evaluated_once_at_the_end_of_the_last_cycle(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steer, "_still_given", lambda problem: True)
    result = run(tiny, evaluate=True, rounds=3, steps=8)
    assert [e.step for e in result.evidence.evaluations] == [0, 24]
    assert result.cost.phases["steps"].backward == 3 * (8 * (12 + 96) + 12), "each cycle sees how far there is to go"


@pytest.fixture
def of_a_class(tiny: Tiny) -> Tiny:
    """A request for all records of a class."""
    return replace(tiny, forget=tuple((tiny.y == FORGOTTEN).nonzero().flatten().tolist()))


def given(tiny: Tiny, model: nn.Module) -> int:
    """How many forget records are given the forgotten class."""
    with torch.no_grad():
        return int((model(tiny.x[list(tiny.forget)]).argmax(1) == FORGOTTEN).sum())


def test_a_cycle_is_repeated_while_a_forgotten_class_is_given(of_a_class: Tiny) -> None:
    """Where steps are too small to be enough; larger ones are."""
    made = expected_of(of_a_class, problem_of(of_a_class, of_a_class.model, forget_classes=(FORGOTTEN,)))
    for method, cycles in ((Steer(rounds=3, steps=8, travel=1e-3), 3), (Steer(rounds=3, steps=40), 1)):
        problem = problem_of(of_a_class, of_a_class.model, forget_classes=(FORGOTTEN,))
        found = list(method.run(replace(problem, counterfactual=lambda: made)))
        assert [s.index for s in found if s.is_eval_point] == [len(found)] == [cycles * method.steps]
        assert (given(of_a_class, problem.model) > 0) is (cycles == 3)


@pytest.mark.parametrize(("still", "cycles"), [([], 1), ([True], 2), ([True, True], 3), ([True] * 9, 4)])
def test_cycles_end_when_no_record_is_given_its_class(
    still: list[bool], cycles: int, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to 4 cycles, whose only evaluation is the last step."""
    answers = iter([*still, *[False] * 9])
    monkeypatch.setattr(steer, "_still_given", lambda problem: next(answers))
    problem = problem_of(tiny, tiny.model)
    made = expected_of(tiny, problem)
    method = Steer(rounds=4, steps=5, passes=1)
    found = list(method.run(replace(problem, counterfactual=lambda: made)))
    assert [s.index for s in found] == list(range(1, 5 * cycles + 1))
    assert [s.index for s in found if s.is_eval_point] == [5 * cycles]
    assert len(found) <= method.most_steps(len(tiny.forget)) == 20


def test_whether_a_class_is_still_given(of_a_class: Tiny) -> None:
    model = of_a_class.fresh()
    last = model[2].bias
    for rise, answer in ((0.0, True), (-1e3, False), (1e3, True)):
        with torch.no_grad():
            last[FORGOTTEN] += rise
        problem = problem_of(of_a_class, model, forget_classes=(FORGOTTEN,))
        assert steer._still_given(problem) is answer, rise
        assert problem.meter.cost().total.forward == len(of_a_class.forget)
        # of classes that stay, nothing is asked
        other = problem_of(of_a_class, model)
        assert not steer._still_given(other) and other.meter.cost().total.forward == 0


def test_records_that_are_given_another_class_are_beside_the_point(tiny: Tiny) -> None:
    """Only records of the class count: here another forget record is given it."""
    y = tiny.y.clone()
    y[list(tiny.forget)] = 0
    model = tiny.fresh()
    with torch.no_grad():
        model[2].bias[FORGOTTEN] += 1e3
    other = replace(tiny, y=y)
    assert not steer._still_given(problem_of(other, model, forget_classes=(FORGOTTEN,)))
    y[tiny.forget[0]] = FORGOTTEN
    assert steer._still_given(problem_of(other, model, forget_classes=(FORGOTTEN,)))


# what it reaches


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


def moves(tiny: Tiny, result: Result) -> float:
    """Mean square of the moves of retain records' margins, on the symmetric log."""
    at = torch.from_numpy(np.setdiff1d(result.splits.retain, result.splits.audit_reference))
    with torch.no_grad():
        one, other = (symlog(margin(m(tiny.x[at]), tiny.y[at])) for m in (result.model, result.original))
    return float((one - other).square().mean())


def test_more_steps_come_nearer(tiny: Tiny, aims: list[Tensor]) -> None:
    found = [left(tiny, run(tiny, steps=steps, beyond=0.0), aims[-1]) for steps in (8, 16, 64)]
    assert 1 > found[0] > found[1] > found[2] and found[2] < 0.15


def test_a_tighter_spare_moves_retain_records_less(tiny: Tiny) -> None:
    found = [moves(tiny, run(tiny, steps=60, spare=spare)) for spare in (1.0, 3e-3, 1e-5)]
    assert found[0] > 1.5 * found[1] > 1.5 * 1.5 * found[2]
    assert weights(tiny.model) == weights(tiny.fresh())


def test_a_weight_keeps_retain_records_where_they_are(tiny: Tiny) -> None:
    """In a cycle too short for the weight to change much."""
    found = [moves(tiny, run(tiny, steps=12, retain_weight=weight)) for weight in (0.5, 50.0)]
    assert found[1] < 0.7 * found[0]


@pytest.mark.parametrize(("share", "most"), [(0.5, 0.8), (0.05, 0.2), (0.0, 1e-3)])
def test_rates_shrink_with_the_way_to_go(
    share: float, most: float, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Towards targets at a share of the way from what the model says."""
    usual = run(tiny, steps=8)
    real = steer.target_logits

    def nearer(forget: CalibratedLogits, *rest: Any) -> Tensor:
        return torch.lerp(forget.logits, real(forget, *rest), share)

    monkeypatch.setattr(steer, "target_logits", nearer)
    moved, full = ((flat(r.model) - flat(tiny.model)).norm() for r in (run(tiny, steps=8), usual))
    assert moved < most * full


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
