"""Sequences: what is kept of a record by slow formulas, what padding changes, and one position as one class."""

import math
import zlib

import pytest
import torch
from torch import Tensor

from efface.kinds import Classes, Tokens
from efface.kinds.tokens import (
    COLUMNS,
    COMPARED,
    CONFIDENCE,
    EXTRACTED,
    LOWEST,
    MEAN,
    MIN_K,
    PACKED,
    POSITIONS,
    QUANTILES,
    RIGHT,
    SUM,
    SURENESS,
)
from helpers.kind_table import VOCABULARY, classes_likelihood, integers, log_sum_exp, normals, sequences

KIND, N = Tokens(), 29


def slow(z: list[list[float]], y: list[int], ignored: int = -100) -> dict[int, float]:
    """The columns of one record, by loops over positions and classes."""
    rows = [(row, c) for row, c in zip(z, y, strict=True) if c != ignored]
    n = len(rows)
    logs = [[v - log_sum_exp(row) for v in row] for row, _ in rows]
    known = [classes_likelihood(row, c) for row, c in rows]
    means = [math.fsum(math.exp(v) * v for v in row) for row in logs]
    spreads = [math.fsum(math.exp(v) * (v - m) ** 2 for v in row) for row, m in zip(logs, means, strict=True)]
    standard = sorted((k - m) / math.sqrt(s) for k, m, s in zip(known, means, spreads, strict=True))
    lowest = standard[: max(1, math.ceil(LOWEST * n))]
    is_right = [row.index(max(row)) == c for row, c in rows]
    wrong = [at for at, right in enumerate(is_right) if not right]
    return {
        MEAN: math.fsum(known) / n,
        SUM: math.fsum(known),
        1: min(known),
        QUANTILES: max(known),
        SURENESS: math.fsum(means) / n,
        CONFIDENCE: math.fsum(max(row) for row in logs) / n,
        MIN_K: math.fsum(lowest) / len(lowest),
        RIGHT: sum(is_right) / n,
        EXTRACTED: (n - 1 - wrong[-1] if wrong else n) / n,
    }


def nearly_right(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Sequences of which a model gives most positions, and some whole."""
    z, y = sequences(n, seed)
    return z + 4 * torch.nn.functional.one_hot(y.clamp_min(0), VOCABULARY), y


@pytest.mark.parametrize("draw", [sequences, nearly_right])
def test_every_column_is_its_formula(draw: object) -> None:
    z, y = draw(N, 0)  # type: ignore[operator]
    values = KIND.values(z, y)
    assert values.shape == (N, COLUMNS)
    for row, record in enumerate(zip(z.double().tolist(), y.tolist(), strict=True)):
        for column, wanted in slow(*record).items():
            assert float(values[row, column]) == pytest.approx(wanted, rel=1e-4, abs=1e-5), (row, column)
    assert 0 < float((values[:, EXTRACTED] > 0).float().mean()) < 1 or draw is sequences


def test_quantiles_are_those_of_numpy() -> None:
    z, y = sequences(N, 1)
    values = KIND.values(z, y)
    for row, (record, targets) in enumerate(zip(z, y, strict=True)):
        own = record.double().log_softmax(1)[torch.arange(len(targets)), targets.clamp_min(0)][targets != -100]
        wanted = own.quantile(torch.linspace(0, 1, QUANTILES, dtype=torch.float64))
        torch.testing.assert_close(values[row, 1:COMPARED].double(), wanted, rtol=1e-4, atol=1e-5)


def test_labels_hold_how_much_a_sequence_says() -> None:
    _, y = sequences(N, 2)
    labels = KIND.labels(y)
    assert labels[:, POSITIONS].tolist() == [sum(c != -100 for c in row) for row in y.tolist()]
    dull, rich = torch.full((1, 200), 3), integers(1000, 1, 200, seed=0)
    small, large = (KIND.labels(row)[0, PACKED] for row in (dull, rich))
    assert small < large / 5
    assert large == len(zlib.compress(rich.to(torch.int32).numpy().tobytes()))


@pytest.mark.parametrize("kind", [Tokens(), Tokens(ignored=VOCABULARY)])
def test_padding_changes_nothing_wherever_it_stands(kind: Tokens) -> None:
    z, y = sequences(N, 3, ignored=kind.ignored)
    values, labels = kind.values(z, y), kind.labels(y)
    more = normals(N, 5, VOCABULARY, seed=9), torch.full((N, 5), kind.ignored)
    for order in (slice(None), torch.tensor([7, 0, 8, 1, 2, 9, 3, 4, 10, 5, 6, 11])):  # padding between positions too
        longer = torch.cat([z, more[0]], 1)[:, order], torch.cat([y, more[1]], 1)[:, order]
        torch.testing.assert_close(kind.values(*longer), values)
        assert torch.equal(kind.labels(longer[1]), labels)
    other = torch.where((y == kind.ignored)[:, :, None], normals(*z.shape, seed=10), z)  # what is said at padding
    torch.testing.assert_close(kind.values(other, y), values)
    cut = y[:, :3].ne(kind.ignored).any(1)
    alone = kind.values(z[:, :3][cut], y[:, :3][cut])
    assert bool(alone.isfinite().all())


def test_positions_that_count_for_nothing_have_no_gradient() -> None:
    z, y = sequences(N, 4)
    z.requires_grad_()
    (grad,) = torch.autograd.grad(KIND.compared(KIND.values(z, y)).sum(), z)
    moves = grad.abs().amax(2) > 0
    assert torch.equal(moves, y != -100)


def test_a_sequence_of_one_position_is_one_class() -> None:
    z, y = normals(N, VOCABULARY, seed=5), integers(VOCABULARY, N, seed=5)
    classes = Classes()
    values, labels = KIND.values(z[:, None], y[:, None]), KIND.labels(y[:, None])
    own = classes.values(z, y)
    for name in ("losses", "margin", "log_likelihood", "useful"):
        torch.testing.assert_close(
            getattr(KIND, name)(values, labels), getattr(classes, name)(own, y), rtol=1e-5, atol=1e-5, msg=name
        )
    for name in ("confidence", "sureness"):
        found, wanted = getattr(KIND, name)(values), getattr(classes, name)(own)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5, msg=name)
    assert torch.equal(values[:, MEAN], values[:, SUM])


def test_masked_classes_leave_everything_finite() -> None:
    z, y = sequences(N, 6)
    allowed = torch.nn.functional.one_hot(y.clamp_min(0), VOCABULARY).bool() | (torch.arange(VOCABULARY) > 2)
    for mask in (-torch.inf, -1e4, torch.finfo(torch.float32).min):
        hidden = z.masked_fill(~allowed, mask).requires_grad_()
        values = KIND.values(hidden, y)
        assert bool(values.isfinite().all())
        (grad,) = torch.autograd.grad(KIND.margin(values, KIND.labels(y)).sum(), hidden)
        assert bool(grad.isfinite().all())
