"""Options that check themselves, stop rules as tables, and the records and splits that a run reads."""

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset

from efface.data.records import Batch, Records, content_hashes
from efface.data.splits import HOLDOUT_SHARES, MAX_SIZES, RETAIN_SHARES, make_splits
from efface.errors import RequestError
from efface.options import Options, option
from efface.types import Estimate
from efface.unlearning.evidence import Evaluation, Outcome
from efface.unlearning.stopping import AnyOf, LooksUnseen, UtilityFloor, conclude, default_rule
from helpers.tiny import Tiny


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


def look(value: float, half: float = 0.01, holdout: float = 0.9, step: int = 1, flips: float = 0.01) -> Evaluation:
    change = holdout - 0.9
    change_seen = Estimate(change, change - flips, change + flips, 0.95)
    return Evaluation(step, Estimate(value, value - half, value + half, 0.95), holdout, change_seen, 1.0, 0.0)


FIRST = look(0.8, step=0)

STOPS = [
    (LooksUnseen(), look(0.5), Outcome.LOOKS_UNSEEN),
    (LooksUnseen(), look(0.53, half=0.02), Outcome.LOOKS_UNSEEN),
    (LooksUnseen(), look(0.53, half=0.03), None),  # fewer records: the same AUC, a wider interval
    (LooksUnseen(), look(0.5, half=0.06), None),
    (LooksUnseen(margin=0.1), look(0.5, half=0.06), Outcome.LOOKS_UNSEEN),
    (LooksUnseen(target=0.6), look(0.5), None),
    (LooksUnseen(), look(0.3), None),
    (LooksUnseen(), look(0.5, holdout=0.1), Outcome.LOOKS_UNSEEN),
    (UtilityFloor(), look(0.8, holdout=0.88), None),
    (UtilityFloor(), look(0.8, holdout=0.87), None),  # just the drop allowed
    (UtilityFloor(), look(0.8, holdout=0.86), None),  # the interval reaches the drop allowed
    (UtilityFloor(), look(0.8, holdout=0.85), Outcome.UTILITY_FLOOR),
    (UtilityFloor(), look(0.8, holdout=0.85, flips=0.05), None),  # so few records that it may be chance
    (UtilityFloor(), look(0.5, holdout=0.99), None),
    (default_rule(), look(0.5), Outcome.LOOKS_UNSEEN),
    (default_rule(), look(0.5, holdout=0.5), Outcome.UTILITY_FLOOR),
    (LooksUnseen() | UtilityFloor(), look(0.5, holdout=0.5), Outcome.LOOKS_UNSEEN),
    (default_rule(), look(0.7), None),
    (AnyOf(), look(0.5), None),
]


@pytest.mark.parametrize(("rule", "now", "outcome"), STOPS)
def test_a_stop_rule(rule: Any, now: Evaluation, outcome: Outcome | None) -> None:
    found = rule.check([FIRST, now])
    assert (found and found.outcome) == outcome
    assert rule.check([now]) is None, "the original itself is never the answer"
    if found:
        assert found.reason


def test_evidence_that_the_original_passes_too_says_so() -> None:
    found = LooksUnseen().check([look(0.52, step=0), look(0.5)])
    assert found and "so did the original's, 0.520" in found.reason
    plain = LooksUnseen().check([FIRST, look(0.5)])
    assert plain and "original" not in plain.reason


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1), st.floats(0, 0.3), st.floats(0, 0.3), st.floats(1e-3, 0.5))
def test_fewer_records_never_mean_an_earlier_stop(value: float, half: float, wider: float, margin: float) -> None:
    rule = LooksUnseen(margin=margin)
    if rule.check([FIRST, look(value, half + wider)]) is not None:
        assert rule.check([FIRST, look(value, half)]) is not None


@pytest.mark.parametrize(
    ("now", "outcome"),
    [
        (look(0.6), Outcome.UNDER_UNLEARNED),
        (look(0.4), Outcome.OVER_UNLEARNED),
        (look(0.55, half=0.05), Outcome.UNDECIDED),
        (look(0.5, half=0.3), Outcome.UNDECIDED),
    ],
)
def test_what_the_last_look_says(now: Evaluation, outcome: Outcome) -> None:
    said = conclude([FIRST, now], 0.5)
    assert said.outcome is outcome and "step limit reached" in said.reason


def test_a_combination_judges_by_its_widest_rule() -> None:
    rule = UtilityFloor() | LooksUnseen(margin=0.04, target=0.52)
    assert (rule.target, rule.margin) == (0.52, 0.04)
    assert [type(r) for r in rule.rules] == [UtilityFloor, LooksUnseen]


Point = namedtuple("Point", "left right")


class Fetching(Dataset):
    """Reads many records at once."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y, self.asked = x, y, 0

    def __len__(self) -> int:
        return len(self.x)

    def __getitems__(self, at: list[int]) -> list[tuple[Tensor, Tensor]]:
        self.asked += 1
        return [(self.x[i], self.y[i]) for i in at]


class Negated(Subset):
    """A subset that changes what it passes on."""

    def __getitem__(self, at: Any) -> Any:
        x, y = super().__getitem__(at)
        return -x, y

    def __getitems__(self, at: list[int]) -> list[Any]:
        return [self[i] for i in at]


def test_records_read_alike_from_any_dataset(tiny: Tiny) -> None:
    x, y, at = tiny.x, tiny.y, [7, 0, 31, 7]
    whole = TensorDataset(x, y)
    backwards = Subset(Subset(whole, range(299, -1, -1)), list(range(299, -1, -1)))
    fetching = Fetching(x, y)
    for dataset in (whole, backwards, list(zip(x, y.tolist(), strict=True)), fetching, TensorDataset(x, y.int())):
        records = Records(dataset, tiny.task())
        batch = records.read(at)
        assert torch.equal(batch.inputs, x[at]) and torch.equal(batch.targets, y[at])
        assert batch.targets.dtype == torch.int64 and len(records) == 300
        assert torch.equal(records.targets(np.array(at)), y[at])
        assert [len(b) for b in records.stream(range(300), size=128)] == [128, 128, 44]
    assert fetching.asked == 5
    assert torch.equal(Records(Negated(whole, range(300)), tiny.task()).read(at).inputs, -x[at])


def test_records_of_dicts_and_own_hooks(tiny: Tiny) -> None:
    dicts = [{"x": Point(a[:3], a[3:]), "label": b} for a, b in zip(tiny.x, tiny.y, strict=True)]
    task = tiny.task(unpack=lambda batch: (batch["x"], batch["label"]))
    batch = Records(dicts, task).read([4, 2]).to(torch.device("cpu"))
    assert isinstance(batch.inputs, Point)
    assert torch.equal(batch.inputs.right, tiny.x[[4, 2], 3:])
    padded = tiny.task(collate=lambda rows: (torch.stack([r[0] for r in rows]) * 2, torch.tensor([r[1] for r in rows])))
    assert torch.equal(Records(TensorDataset(tiny.x, tiny.y), padded).read([4]).inputs, 2 * tiny.x[[4]])


def test_content_hashes_are_of_inputs_and_target_alone(tiny: Tiny) -> None:
    x, y = tiny.x[:6].clone(), tiny.y[:6].clone()
    x[3], y[3] = x[1], y[1]
    x[4], y[4] = x[1], (y[1] + 1) % 3
    hashes = Records(TensorDataset(x, y), tiny.task()).hashes(range(6))
    assert hashes[3] == hashes[1] and len(set(hashes)) == 5
    nested = content_hashes(Batch({"a": x[:, :2], "b": [x[:, 2:]]}, y))
    assert nested[3] == nested[1] and len(set(nested)) == 5
    assert hashes[2:] == Records(TensorDataset(x, y), tiny.task()).hashes(range(2, 6))
    x[0, 0] = torch.nextafter(x[0, 0], torch.tensor(9.0))
    assert content_hashes(Batch(x, y))[0] != hashes[0]


@settings(max_examples=40, deadline=None)
@given(st.integers(60, 20_000), st.integers(100, 20_000), st.integers(1, 50), st.integers(0, 2**40))
def test_splits(records: int, holdout: int, size: int, seed: int) -> None:
    forget = np.random.default_rng(seed).choice(records, size, replace=False)
    parts = make_splits(forget, records, holdout, seed)
    assert np.array_equal(parts.forget, np.sort(forget))
    assert np.array_equal(np.sort(np.concatenate([parts.forget, parts.retain])), np.arange(records))
    for names, everyone in ((RETAIN_SHARES, parts.retain), (HOLDOUT_SHARES, np.arange(holdout))):
        ours = [getattr(parts, name) for name in names]
        joined = np.concatenate(ours)
        assert len(np.unique(joined)) == len(joined) and np.isin(joined, everyone).all()
        for (name, share), part in zip(names.items(), ours, strict=True):
            # to the last part goes what the others leave
            left = len(everyone) - sum(map(len, ours[:-1])) if part is ours[-1] else round(share * len(everyone))
            assert len(part) == min(left, MAX_SIZES.get(name, left)) > 0
    again = make_splits(forget[::-1], records, holdout, seed)
    other = make_splits(forget, records, holdout, seed + 1)
    assert all(np.array_equal(getattr(again, n), v) for n, v in vars(parts).items())
    assert not np.array_equal(other.reference, parts.reference)
