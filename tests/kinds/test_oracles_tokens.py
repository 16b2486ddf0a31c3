"""Sequences against counts of bigrams, from which a sequence is removed exactly by subtracting its own."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from efface import Task
from efface.data.records import Records
from efface.kinds import Tokens
from efface.kinds.tokens import COMPARED, EXTRACTED, MEAN, RIGHT, SUM, SURENESS
from efface.models.running import logits_of
from efface.runtime.cost import Meter
from helpers.exact import Exact

VOCABULARY, POSITIONS, SMOOTHING, IGNORED = 40, 9, 0.5, -100
KIND = Tokens()

Counts = Counter[tuple[int, int]]


def sequences(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Walks on a random chain of classes, of several lengths: inputs, and the class after each."""
    generator = torch.Generator().manual_seed(seed)
    chain = torch.rand(VOCABULARY, VOCABULARY, generator=torch.Generator().manual_seed(0)).pow(4)
    walk = [torch.randint(VOCABULARY, (n,), generator=generator)]
    for _ in range(POSITIONS):
        walk.append(torch.multinomial(chain[walk[-1]], 1, generator=generator).squeeze(1))
    x = torch.stack(walk, 1)
    y = x[:, 1:].clone()
    y[torch.arange(POSITIONS) >= torch.randint(3, POSITIONS + 1, (n, 1), generator=generator)] = IGNORED
    return x[:, :-1], y


def bigrams(x: Tensor, y: Tensor) -> Counts:
    pairs = [(a, b) for xs, ys in zip(x.tolist(), y.tolist(), strict=True) for a, b in zip(xs, ys, strict=True)]
    return Counter(pair for pair in pairs if pair[1] != IGNORED)


def network(counts: Counts) -> nn.Module:
    """The table of log counts."""
    model = nn.Embedding(VOCABULARY, VOCABULARY)
    with torch.no_grad():
        for a in range(VOCABULARY):
            model.weight[a] = torch.tensor([math.log(counts[a, b] + smoothing(b)) for b in range(VOCABULARY)])
    return model.eval()


def smoothing(b: int) -> float:
    """What is added to the count of class b, other for each, so that no two are equally likely."""
    return SMOOTHING * (1 + b / 100)


def fit(x: Tensor, y: Tensor) -> nn.Module:
    return network(bigrams(x, y))


def share(counts: Counts, a: int, b: int) -> float:
    """The probability of class b after class a."""
    row = sum(counts[a, c] + smoothing(c) for c in range(VOCABULARY))
    return (counts[a, b] + smoothing(b)) / row


def problem(seed: int, n: int = 600, holdout: int = 600) -> Exact:
    return Exact(KIND, fit, sequences(n, 10 + seed), sequences(holdout, 100 + seed), forget=50, members=200)


def pairs_of(x: Tensor, y: Tensor) -> list[tuple[int, int]]:
    return [(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True) if b != IGNORED]


def read(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Values as every part of efface reads them."""
    data = TensorDataset(x, y)
    task = Task(train=data, holdout=data, kind="tokens", batch_size=7)
    return logits_of(task, model, Records(data, task), np.arange(len(x)), Meter()).double()


def test_values_and_margins_are_those_by_counts() -> None:
    (x, y), counts = problem(0).train, bigrams(*problem(0).train)
    x, y = x[:25], y[:25]
    values = read(network(counts), x, y)
    margins = KIND.margin(values, KIND.labels(y)).tolist()
    for at in range(len(x)):
        pairs = pairs_of(x[at], y[at])
        known = [math.log(share(counts, a, b)) for a, b in pairs]
        rows = [[share(counts, a, c) for c in range(VOCABULARY)] for a, _ in pairs]
        mean = sum(known) / len(known)
        is_right = [row[b] == max(row) for row, (_, b) in zip(rows, pairs, strict=True)]
        wanted = {
            MEAN: mean,
            SUM: sum(known),
            1: min(known),  # the worst position
            COMPARED - 1: max(known),
            SURENESS: sum(p * math.log(p) for row in rows for p in row) / len(rows),
            RIGHT: sum(is_right) / len(rows),
            EXTRACTED: (len(rows) if all(is_right) else is_right[::-1].index(False)) / len(rows),
        }
        assert {c: float(values[at, c]) for c in wanted} == pytest.approx(wanted, rel=1e-4, abs=1e-5), at
        assert margins[at] == pytest.approx(mean - math.log(1 - math.exp(mean)), rel=1e-4)


def test_a_sequence_without_its_counts_is_known_less_by_what_the_counts_say() -> None:
    x, y = problem(0).train
    counts = bigrams(x, y)
    for at in range(10):
        mine = bigrams(x[at : at + 1], y[at : at + 1])
        others = Counter(counts)
        others.subtract(mine)
        rest = torch.arange(len(x)) != at
        assert +others == bigrams(x[rest], y[rest]), "subtracting the counts is training again without the record"
        before, after = (read(network(c), x[at : at + 1], y[at : at + 1])[0] for c in (counts, others))
        pairs = pairs_of(x[at], y[at])
        drop = sum(math.log(share(counts, a, b) / share(others, a, b)) for a, b in pairs) / len(pairs)
        # what is removed was a part of the mixture, so that without it the mixture is farther
        assert drop > 0
        assert float(before[MEAN] - after[MEAN]) == pytest.approx(drop, abs=1e-5)
        assert float(KIND.losses(after[None], y[at : at + 1]) - KIND.losses(before[None], y[at : at + 1])) == (
            pytest.approx(drop, abs=1e-5)
        )
        assert KIND.margin(before[None], y) > KIND.margin(after[None], y)


def test_targets_are_nearer_to_the_retrained_model_than_the_original_is() -> None:
    """On three seeds .25 of the mean squared distance of what is compared is left, and .13 of that of margins."""
    shares = [problem(seed).share_left() for seed in range(2)]
    compared, margins = (sum(s) / len(s) for s in zip(*shares, strict=True))
    assert compared < 0.5 and margins < 0.4, shares
