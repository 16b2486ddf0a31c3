"""Sequences with long outputs: only a few records' outputs are held at a time, when reading and when training."""

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from efface import Task
from efface.data.records import Batch, Records
from efface.kinds import Tokens
from efface.models import running
from efface.models.features import penultimate
from efface.models.running import HELD, forward, joint_logits, logits_of
from efface.runtime.cost import Meter
from helpers.kind_table import integers
from helpers.live_memory import live_memory

VOCABULARY, POSITIONS, READ, TAUGHT = 32_000, 128, 2_000, 64


class Bigrams(nn.Module):
    """Logits of the next class by the class before, through a narrow layer."""

    def __init__(self, vocabulary: int, width: int = 4) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(vocabulary, width), nn.Linear(width, vocabulary)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.embedding(x))
        return found


class FirstClasses(Tokens):
    """Sequences of which only the first two classes are read, so that outputs of full size cost nothing."""

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return super().values(outputs[:, :, :2], targets.clamp_max(1))


class Stretched(nn.Module):
    """Outputs of full size without the memory: every class has the same logit."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return (self.weight * x.float())[:, :, None].expand(-1, -1, VOCABULARY)


@pytest.fixture
def alive() -> tuple[Callable[[nn.Module, Any], Tensor], list[int]]:
    """A Task.forward, and after each call how many numbers of outputs are alive."""
    held: dict[int, int] = {}
    sizes: list[int] = []

    def watched(model: nn.Module, inputs: Any) -> Tensor:
        outputs: Tensor = model(inputs)
        key = id(outputs)
        held[key] = outputs.numel()
        weakref.finalize(outputs, held.pop, key)
        sizes.append(sum(held.values()))
        return outputs

    return watched, sizes


Watch = tuple[Callable[[nn.Module, Any], Tensor], list[int]]


def long_task(watched: Callable[[nn.Module, Any], Tensor]) -> Task:
    x, y = integers(9, READ, POSITIONS, seed=0), integers(VOCABULARY, READ, POSITIONS, seed=1)
    data = TensorDataset(x, y)
    return Task(train=data, holdout=data, kind=FirstClasses(), forward=watched)


def test_reading_many_records_holds_the_outputs_of_a_few(alive: Watch) -> None:
    watched, sizes = alive
    task = long_task(watched)
    values = logits_of(task, Stretched(), Records(task.train, task), np.arange(READ), Meter())
    assert values.shape[0] == READ and max(sizes) <= HELD
    assert sum(sizes) >= READ * POSITIONS * VOCABULARY


def test_a_step_holds_the_outputs_of_a_few(alive: Watch) -> None:
    watched, sizes = alive
    task, model = long_task(watched), Stretched()
    records = Records(task.train, task)
    batches = [records.read(np.arange(start, start + TAUGHT // 2)) for start in (0, TAUGHT // 2)]
    several = joint_logits(task, model, batches)
    sum(task.rules.loss(z, batch.targets) for z, batch in zip(several, batches, strict=True)).backward()  # type: ignore[union-attr]
    assert max(sizes) <= HELD
    assert sum(sizes) >= 2 * TAUGHT * POSITIONS * VOCABULARY  # each part is computed once more on the way back


def test_longer_records_are_read_fewer_at_a_time(alive: Watch) -> None:
    watched, sizes = alive
    task, model = long_task(watched), Stretched()
    x, y = (t[:600] for t in task.train.tensors)  # type: ignore[attr-defined]
    with torch.no_grad():
        for positions in (1, POSITIONS):  # as where batches are padded to their longest record
            forward(task, model, Batch(x[:, :positions], y[:, :positions]))
    assert max(sizes) <= HELD


# the same with real outputs, on a small scale

SMALL_VOCABULARY, SMALL_POSITIONS, SMALL_HELD = 500, 8, 2**16


def small_task(n: int) -> Task:
    x = integers(SMALL_VOCABULARY, n, SMALL_POSITIONS + 1, seed=2)
    data = TensorDataset(x[:, :-1], x[:, 1:])
    return Task(train=data, holdout=data, kind="tokens")


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "HELD", SMALL_HELD)
    monkeypatch.setattr("efface.kinds.tokens.READ", SMALL_HELD // 16)


def copies(most: int) -> float:
    """How many times the numbers that are held."""
    return most / (4 * SMALL_HELD)


@pytest.mark.usefixtures("little_memory")
def test_few_copies_of_the_outputs_are_made() -> None:
    task, model = small_task(200), Bigrams(SMALL_VOCABULARY)
    records, all_of_them = Records(task.train, task), 200 * SMALL_POSITIONS * SMALL_VOCABULARY
    assert all_of_them > 12 * SMALL_HELD
    with live_memory() as peak:
        values = logits_of(task, model, records, np.arange(200), Meter())
    assert copies(peak.most) < 2.6
    with live_memory() as peak:
        found = penultimate(task, model, records, np.arange(200), Meter())
    assert copies(peak.most) < 2.6
    assert found is not None
    torch.testing.assert_close(found[1], values)
    batch = records.read(np.arange(200))
    with live_memory() as peak:
        task.rules.loss(forward(task, model, batch), batch.targets).backward()
    assert copies(peak.most) < 3.6


def test_parts_give_the_gradients_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    task, model = small_task(60), Bigrams(SMALL_VOCABULARY)
    batch = Records(task.train, task).read(np.arange(60))

    def gradients() -> list[Tensor]:
        values = forward(task, model, batch)
        return [values, *torch.autograd.grad(task.rules.loss(values, batch.targets), list(model.parameters()))]

    whole = gradients()
    monkeypatch.setattr(running, "HELD", SMALL_POSITIONS * SMALL_VOCABULARY * 7)
    for one, other in zip(gradients(), whole, strict=True):
        torch.testing.assert_close(one, other)
