"""Canaries: guesses with a known truth, the records that carry them, and what two controls show."""

import itertools
import math
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import binom, binomtest
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset, default_collate

import efface
from efface import Report, Task
from efface.auditing import canaries, run
from efface.auditing.canaries import CANARIES, Canaries, guess, plant, try_canaries
from efface.auditing.options import AuditOptions
from efface.auditing.relabel import NO_PLACE
from efface.auditing.shadow_models import forget_by_method, make_ensembles
from efface.data.limits import MAX_SHARE
from efface.data.records import Records
from efface.metrics.epsilon import canary_epsilon
from efface.runtime.cost import Meter
from efface.task import unpack_pair
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


def rows_alone(batch: Any) -> tuple[Tensor, Tensor]:
    return batch[:, :-1], batch[:, -1].round().long().clone()


@pytest.mark.usefixtures("brief")
def test_records_without_an_item_that_is_the_label_have_no_canaries_and_the_report_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A label that is the last column of a row; what is found before any model is trained."""
    judged, calls, trained = problem(), list[str](), make_ensembles
    sets = {k: judged.task.__dict__[k].tensors for k in ("train", "holdout", "test")}
    rows = {k: [*torch.cat([x, y[:, None].float()], dim=1)] for k, (x, y) in sets.items()}
    task = replace(judged.task, **rows, unpack=rows_alone, fit=fast)
    monkeypatch.setattr(run, "plant", lambda inputs: calls.append("tried") or plant(inputs))  # type: ignore[func-returns-value]
    monkeypatch.setattr(run, "make_ensembles", lambda *given: calls.append("trained") or trained(*given))  # type: ignore[func-returns-value]
    report = strong_audit(judged, task)
    assert report.document["canaries"] is None
    why = f"no canaries: {NO_PLACE}"
    assert [n for n in report.notes if "canaries" in n] == [why] and calls == ["tried", "trained"]


def by_loader(collate: Callable[[list[Any]], Any], unpack: Callable[[Any], Any]) -> Callable[..., None]:
    """A fit of one step, with batches by a DataLoader, in which labels of two kinds cannot be mixed."""

    def fit(model: nn.Module, dataset: Dataset[Any], seed: int) -> None:
        for batch in DataLoader(dataset, batch_size=200, shuffle=True, collate_fn=collate):
            x, y = unpack(batch)
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        fast(model, dataset, seed)

    return fit


class Held(Dataset[Any]):
    """Inputs and labels, which its kinds give in their own form."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.y)


class Texts(Held):
    """Dicts with a label by name, and more that is no label."""

    def __getitem__(self, at: int) -> dict[str, Any]:
        return {"length": 3, "text": {"ids": self.x[at]}, "label": f"class {int(self.y[at])}"}


def of_texts(samples: list[Any]) -> Any:
    numbers = [int(s["label"].split()[1]) for s in samples]
    return torch.stack([s["text"]["ids"] for s in samples]), torch.tensor(numbers)


def half_of_more(x: Tensor, y: Tensor) -> Subset[Any]:
    return Subset(TensorDataset(torch.cat([x, x + 50]), torch.cat([y, y])), range(len(y)))


class Marked(Held):
    """Inputs with noise, drawn anew as they are read."""

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        return self.x[at] + 0.1 * torch.randn(self.x.shape[1]), self.y[at]


# how records are given, and hooks
GIVEN: dict[str, tuple[Callable[[Tensor, Tensor], Any], dict[str, Any]]] = {
    "tensors": (TensorDataset, {}),
    "subset": (half_of_more, {}),
    "pairs with a 0-d tensor": (lambda x, y: [*zip(x, y, strict=True)], {}),
    "pairs of NumPy's": (lambda x, y: [*zip(x.numpy(), y.numpy(), strict=True)], {}),
    "dicts by collate": (Texts, {"collate": of_texts}),
    "dicts by unpack": (
        lambda x, y: [{"x": a, "y": b} for a, b in zip(x, y.tolist(), strict=True)],
        {"unpack": lambda batch: (batch["x"], batch["y"])},
    ),
    "augmented": (Marked, {}),
}


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("kind", GIVEN)
def test_strong_audits_of_records_of_many_kinds(kind: str) -> None:
    judged, (make, hooks) = problem(), GIVEN[kind]
    sets = {k: judged.task.__dict__[k].tensors for k in ("train", "holdout", "test")}
    given = {k: make(x, y) for k, (x, y) in sets.items()}
    if kind == "augmented":
        given = {
            **given,
            "eval_records": judged.task.train,
            **{k: judged.task.__dict__[k] for k in ("holdout", "test")},
        }
    fit = by_loader(hooks.get("collate", default_collate), hooks.get("unpack", unpack_pair))
    report = strong_audit(judged, replace(judged.task, **given, **hooks, fit=fit))
    assert canaries_of(report)["records"] == CANARIES
    assert not [n for n in report.notes if "canaries" in n]


@pytest.mark.usefixtures("brief")
def test_the_report_says_that_models_were_not_kept(tmp_path: Path) -> None:
    lock = threading.Lock()

    def locked(model: nn.Module, dataset: Dataset[Any], seed: int) -> None:
        with lock:
            fast(model, dataset, seed)

    judged = problem()
    result = efface.unlearn(judged.original, forget=FORGET, task=replace(judged.task, fit=locked), method="noop")
    with pytest.warns(UserWarning, match="cache: the models are not kept") as warned:
        report = judged.audit(result, level="strong", cache=tmp_path)
    [note] = [n for n in report.notes if n.startswith("cache:")]
    assert [str(w.message) for w in warned].count(note) == 1 and "_thread.lock" in note and not list(tmp_path.iterdir())


@pytest.mark.usefixtures("brief")
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
    inputs = replace(inputs, method=efface.methods.get("noop"), options=options)
    planted = plant(inputs)
    return planted if isinstance(planted, str) else try_canaries(inputs, planted, Meter())


def test_a_large_request_leaves_room_for_fewer_canaries_or_says_why_for_none() -> None:
    judged = problem()
    task, most = replace(judged.task, fit=fast), int(MAX_SHARE * len(judged.y))
    some = tried(judged, task, list(range(most - 10)))
    assert isinstance(some, Canaries) and (some.records, some.guesses) == (10, 10 * MODELS // 4)
    none = tried(judged, task, list(range(most)))
    assert isinstance(none, str) and none.startswith("canaries need room")
