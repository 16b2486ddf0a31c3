"""Canaries: guesses with a known truth, the records that carry them, and what two controls show."""

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binom, binomtest
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset

import efface
from efface import Report, Task
from efface.auditing import canaries
from efface.auditing.canaries import CANARIES, Canaries, Relabelled, guess, relabelled, try_canaries
from efface.auditing.options import AuditOptions
from efface.auditing.shadow_models import forget_by_method
from efface.data.checks import MAX_SHARE
from efface.data.records import Records
from efface.metrics.epsilon import canary_epsilon
from efface.runtime.cost import Meter
from helpers.judged import FORGET, MODELS, Judged, problem, strong
from helpers.tiny import CLASSES, REFERENCE


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bits(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed + 500)) < 0.5


def slow_guesses(values: Tensor, inside: Tensor) -> list[list[bool]]:
    """Shadow by shadow of the second half and canary by canary, from lists."""
    level = [[v - sum(row) / len(row) for v in row] for row in values.tolist()]
    held, half = inside.tolist(), len(level) // 2
    middles, gaps = [], []
    for c in range(len(level[0])):
        ins = [level[i][c] for i in range(half) if held[i][c]]
        outs = [level[i][c] for i in range(half) if not held[i][c]]
        if ins and outs:
            middles.append((np.mean(ins) + np.mean(outs)) / 2)
            gaps.append(np.mean(ins) - np.mean(outs))
        else:
            middles.append(np.mean(ins + outs))
    higher = bool(gaps) and np.mean(gaps) >= 0
    return [[(v > m) == higher for v, m in zip(row, middles, strict=True)] for row in level[half:]]


@pytest.mark.parametrize(("shadows", "canaries"), [(2, 6), (4, 9), (10, 32)])
@pytest.mark.parametrize("shift", [-1.0, 0.0, 1.0])
def test_guesses_are_those_of_a_slow_loop(shadows: int, canaries: int, shift: float) -> None:
    for seed in range(8):
        inside = bits(shadows, canaries, seed=seed)
        values = normal(shadows, canaries, seed=seed) + shift * inside
        right = (np.array(slow_guesses(values, inside)) == inside[shadows // 2 :].numpy()).sum()
        assert guess(values, inside) == (right, shadows // 2 * canaries)


@pytest.mark.parametrize("sign", [1, -1], ids=["remembered", "overshot"])
def test_all_are_right_where_values_are_apart(sign: int) -> None:
    """Canaries and shadows of very unequal levels, which tell nothing; each canary is in some shadows, not in all."""
    inside = torch.tensor(list(itertools.product([True, False], repeat=4))[1:-1]).T.repeat(2, 2)
    values = sign * inside + 0.05 * normal(*inside.shape) + 30 * torch.linspace(-1, 1, 8)[:, None]
    values = values + 5 * normal(inside.shape[1], seed=9)
    assert guess(values, inside) == (inside.numel() // 2, inside.numel() // 2)


def test_half_are_right_where_there_is_nothing_to_tell() -> None:
    trials = [guess(normal(16, 32, seed=s), bits(16, 32, seed=s)) for s in range(400)]
    assert {n for _, n in trials} == {256}
    assert binomtest(sum(right for right, _ in trials), 400 * 256, 0.5).pvalue > 0.001
    # and no more often far off than coins would be: the bound rests on that
    bounded = sum(canary_epsilon(right, n, 0.95) > 0 for right, n in trials)
    assert bounded <= binom.ppf(0.999, 400, 0.05), "were each guessed from all others, some 8 %"


def test_the_bits_that_are_guessed_have_no_part_in_the_guesses() -> None:
    values = normal(6, 8) + bits(6, 8)
    inside = bits(6, 8)
    flipped = inside.clone()
    flipped[3:] = ~flipped[3:]
    right, n = guess(values, inside)
    assert guess(values, flipped) == (n - right, n)


class Pairs(Dataset[Any]):
    """Not a TensorDataset."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        return self.x[at], int(self.y[at])


@pytest.mark.parametrize("kind", ["tensors", "pairs", "subset", "own class of tensors"])
def test_relabelled_datasets(kind: str) -> None:
    x, y = normal(20, 3), torch.arange(20) % 3

    class Own(TensorDataset):
        pass

    data: Dataset[Any] = {
        "tensors": TensorDataset(x, y),
        "pairs": Pairs(x, y),
        "subset": Subset(TensorDataset(x.repeat(2, 1), y.repeat(2)), list(range(20))),
        "own class of tensors": Own(x, y),
    }[kind]
    before, labels = y.clone(), {0: 2, 7: 0, 19: 2}
    found = relabelled(data, labels)
    assert isinstance(found, TensorDataset if kind == "tensors" else Relabelled)
    assert len(found) == 20 and torch.equal(y, before)
    task = Task(train=found, holdout=found)
    batch = Records(found, task).read(range(20))
    expected = [labels.get(i, int(before[i])) for i in range(20)]
    assert torch.equal(batch.inputs, x) and batch.targets.tolist() == expected
    # through a Subset positions are those of the whole
    part = Records(Subset(found, [19, 1, 7]), task).read([0, 1, 2])
    assert part.targets.tolist() == [2, 1, 0] and torch.equal(part.inputs, x[[19, 1, 7]])


def canaries_of(report: Report) -> dict[str, Any]:
    shown = report.document["canaries"]
    assert isinstance(shown, dict)
    return shown


def slow_epsilon(right: int, guesses: int) -> float:
    low = binomtest(right, guesses, alternative="greater").proportion_ci(0.95, method="exact").low
    return max(0.0, math.log(low / (1 - low)))


def test_doing_nothing_leaves_an_epsilon_and_retraining_none() -> None:
    left, retrained = (canaries_of(strong(method)) for method in ("noop", "retrain"))
    for shown in (left, retrained):
        assert (shown["records"], shown["shadows"], shown["guesses"]) == (CANARIES, MODELS // 2, CANARIES * MODELS // 4)
        assert shown["epsilon_low"] == pytest.approx(slow_epsilon(shown["right"], shown["guesses"]))
        assert shown["original_epsilon_low"] == pytest.approx(slow_epsilon(shown["original_right"], shown["guesses"]))
        assert shown["original_epsilon_low"] > 1
    assert left["right"] == left["original_right"] and left["epsilon_low"] > 1
    assert retrained["epsilon_low"] < 0.3 and binom.cdf(retrained["right"], retrained["guesses"], 0.5) < 0.995
    assert retrained["original_right"] == left["original_right"], "the shadows before unlearning are the same"


def strong_audit(judged: Judged, task: Task, forget: Any = FORGET) -> Report:
    """Of doing nothing; `fast` as the task's fit leaves little to wait for."""
    return judged.audit(efface.unlearn(judged.original, forget=forget, task=task, method="noop"), level="strong")


def fast(model: Any, dataset: Any, seed: int) -> None:
    """A fit that learns next to nothing: which models there are is no matter here."""
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.01 * torch.randn(p.shape))


def test_records_that_are_no_pairs_have_no_canaries() -> None:
    judged = problem()
    task = replace(judged.task, unpack=lambda batch: (batch[0], batch[1]), fit=fast)
    report = strong_audit(judged, task)
    assert report.document["canaries"] is None
    assert [n for n in report.notes if "canaries" in n] == [
        "canaries need records that are pairs (input, target), without Task.unpack"
    ]


def test_canaries_are_retain_records_with_wrong_labels_and_forgotten_with_the_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged, seen, real = problem(), list[tuple[Task, list[Any]]](), forget_by_method

    def spy(inputs: Any, task: Task, model: Any, ids: Any, *rest: Any) -> Any:
        if task.train is not judged.task.train:
            seen.append((task, list(ids)))
        return real(inputs, task, model, ids, *rest)

    monkeypatch.setattr(canaries, "forget_by_method", spy)
    persons = [f"person {i // 9}" for i in range(len(judged.y))]
    report = strong_audit(judged, replace(judged.task, fit=fast, groups=persons))
    assert len(seen) == MODELS // 2
    pool, inclusion = set(report.inputs.reference_records.tolist()), []
    for task, ids in seen:
        assert task.ids is not None and ids[: len(FORGET)] == list(FORGET)
        assert task.groups == [persons[int(i)] for i in task.ids], "a shadow stops by the persons that a run stops by"
        planted = ids[len(FORGET) :]
        assert set(planted) <= pool and len(set(planted)) == len(planted)
        assert set(ids) <= set(task.ids), "what is to be forgotten was trained on"
        targets = dict(zip(task.ids, Records(task.train, task).targets(range(len(task.ids))).tolist(), strict=True))
        wrong = {i for i, t in targets.items() if t != int(judged.y[int(i)])}
        assert wrong == set(planted), "canaries, and only they, have another label"
        assert all(0 <= targets[i] < CLASSES for i in planted)
        absent = set(range(len(judged.y))) - set(task.ids)
        assert absent <= pool and len(absent) + len(planted) == CANARIES
        inclusion.append(frozenset(planted))
    assert len(set(inclusion)) == len(inclusion)
    share = sum(map(len, inclusion)) / (CANARIES * len(inclusion))
    assert binomtest(round(share * 128), 128, 0.5).pvalue > 0.001


def tried(judged: Judged, task: Task, forget: Any) -> Canaries | str:
    """What `try_canaries` makes of a request, without the rest of an audit."""
    inputs = judged.audit(forget=forget, task=task, level="quick").inputs
    options = AuditOptions(models=MODELS, recipe=REFERENCE, jobs=1, progress=False)
    return try_canaries(replace(inputs, method=efface.methods.get("noop"), options=options), Meter())


def test_a_large_request_leaves_room_for_fewer_canaries_or_says_why_for_none() -> None:
    judged = problem()
    task, most = replace(judged.task, fit=fast), int(MAX_SHARE * len(judged.y))
    some = tried(judged, task, list(range(most - 10)))
    assert isinstance(some, Canaries) and (some.records, some.guesses) == (10, 10 * MODELS // 4)
    none = tried(judged, task, list(range(most)))
    assert isinstance(none, str) and none.startswith("canaries need room")
