"""The contract table: every kind of outputs, with its formulas in slow plain Python. A new kind adds its row."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from efface.kinds import Binary, Classes, Kind, MultiLabel, Regression, Tokens

Draw = Callable[[int, int], tuple[Tensor, Tensor]]
CLASSES, LABELS, VALUES, POSITIONS, VOCABULARY = 4, 5, 3, 7, 6
SCALE = (2.0, 0.5, 1.0)


@dataclass(frozen=True)
class KindRow:
    """What the contract tests need of a kind.

    Args:
        kind: The kind.
        draw: Outputs and targets of n records by a seed, as users give them.
        losses: The losses of outputs and targets by torch's own functions, (n,).
        margin: The margin of one record by its formula: from lists of what the model gave and of its target.
        likelihood: The log-likelihood of one record, likewise.
        wrong_outputs: Outputs and targets of which the outputs cannot be of the kind.
        wrong_targets: Targets that cannot be, the width of the outputs, and words of the message.
        margins: The least and the greatest margin that is asked of `with_margin`.
        has_head: Whether a last layer can be fitted afresh.
    """

    kind: Kind
    draw: Draw
    losses: Callable[[Tensor, Tensor], Tensor]
    margin: Callable[[Any, Any], float]
    likelihood: Callable[[Any, Any], float]
    wrong_outputs: tuple[tuple[Tensor, Tensor], ...]
    wrong_targets: tuple[tuple[Tensor, int | None, str], ...]
    margins: tuple[float, float] = (-30.0, 15.0)
    has_head: bool = field(default=True)


def normals(*shape: int, seed: int) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def integers(high: int, *shape: int, seed: int) -> Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(1000 + seed))


def sequences(n: int, seed: int, ignored: int = -100) -> tuple[Tensor, Tensor]:
    """Logits and targets of sequences of several lengths, of which some are ignored in the middle too."""
    targets = integers(VOCABULARY, n, POSITIONS, seed=seed)
    if 0 <= ignored < VOCABULARY:  # a class that stands for padding is nobody's target
        targets = targets.clamp_min(ignored + 1)
    length = 1 + torch.arange(n) % POSITIONS
    targets[torch.arange(POSITIONS) >= length[:, None]] = ignored
    targets[length > 3, 1] = ignored
    return normals(n, POSITIONS, VOCABULARY, seed=seed), targets


# slow formulas, of lists of numbers


def log_sum_exp(values: list[float]) -> float:
    top = max(values)
    return top + math.log(math.fsum(math.exp(v - top) for v in values))


def odds(log_p: float) -> float:
    """log p - log(1 - p)."""
    return log_p - math.log(-math.expm1(log_p))


def log_sigmoid(s: float) -> float:
    return -math.log1p(math.exp(-s)) if s > 0 else s - math.log1p(math.exp(s))


def one_number(value: float | list[float]) -> float:
    return value[0] if isinstance(value, list) else value


def classes_margin(z: list[float], y: int) -> float:
    return z[y] - log_sum_exp([v for c, v in enumerate(z) if c != y])


def classes_likelihood(z: list[float], y: int) -> float:
    return z[y] - log_sum_exp(z)


def binary_margin(z: float | list[float], y: float | list[float]) -> float:
    return one_number(z) if one_number(y) else -one_number(z)


def binary_likelihood(z: float | list[float], y: float | list[float]) -> float:
    return log_sigmoid(binary_margin(z, y))


def labels_likelihood(z: list[float], y: list[float]) -> float:
    return math.fsum(log_sigmoid(v if there else -v) for v, there in zip(z, y, strict=True))


def labels_margin(z: list[float], y: list[float]) -> float:
    return odds(labels_likelihood(z, y))


def regression_margin(scale: tuple[float, ...]) -> Callable[[Any, Any], float]:
    def margin(z: float | list[float], y: float | list[float]) -> float:
        return -math.sqrt(-2 * regression_likelihood(scale)(z, y))

    return margin


def regression_likelihood(scale: tuple[float, ...]) -> Callable[[Any, Any], float]:
    def likelihood(z: float | list[float], y: float | list[float]) -> float:
        pairs = zip(z, y, strict=True) if isinstance(z, list) and isinstance(y, list) else [(z, y)]
        squares = [((a - b) / unit) ** 2 for (a, b), unit in zip(pairs, scale, strict=True)]
        return -math.fsum(squares) / len(squares) / 2

    return likelihood


def tokens_known(ignored: int, z: list[list[float]], y: list[int]) -> list[float]:
    """The log-likelihood of the target at each position that counts."""
    return [classes_likelihood(row, c) for row, c in zip(z, y, strict=True) if c != ignored]


def tokens_likelihood(ignored: int) -> Callable[[Any, Any], float]:
    def likelihood(z: list[list[float]], y: list[int]) -> float:
        known = tokens_known(ignored, z, y)
        return math.fsum(known) / len(known)

    return likelihood


def tokens_margin(ignored: int) -> Callable[[Any, Any], float]:
    return lambda z, y: odds(tokens_likelihood(ignored)(z, y))


def tokens_losses(ignored: int) -> Callable[[Tensor, Tensor], Tensor]:
    def losses(outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.stack([F.cross_entropy(z, y, ignore_index=ignored) for z, y in zip(outputs, targets, strict=True)])

    return losses


def binary_losses(outputs: Tensor, targets: Tensor) -> Tensor:
    flat = outputs.reshape(-1), targets.reshape(-1).float()
    return F.binary_cross_entropy_with_logits(*flat, reduction="none")


def squared_losses(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.stack([F.mse_loss(z, y) for z, y in zip(outputs.squeeze(-1), targets, strict=True)])


REAL = torch.tensor([0.25, 1.5])
BINARY_WRONG_TARGETS = (
    (torch.tensor([0, 2]), 1, "expected 0 or 1"),
    (REAL, 1, "expected 0 or 1"),
    (torch.zeros(2, 2), 1, r"expected one target a record, 0 or 1, got float32 of shape \(2, 2\)"),
)
TOKENS_WRONG_OUTPUTS = (
    (torch.zeros(2, 7), torch.zeros(2, 7).long()),
    (torch.zeros(2, 6, 7), torch.zeros(2, 7).long()),  # moved by one, or classes before positions
    (torch.zeros(2, 7, 1), torch.zeros(2, 7).long()),
)

KIND_ROWS: dict[str, KindRow] = {
    "classes": KindRow(
        Classes(),
        lambda n, seed: (normals(n, CLASSES, seed=seed), integers(CLASSES, n, seed=seed)),
        lambda z, y: F.cross_entropy(z, y, reduction="none"),
        classes_margin,
        classes_likelihood,
        (
            (torch.zeros(2), torch.zeros(2).long()),
            (torch.zeros(2, 1), torch.zeros(2).long()),
            (torch.zeros(3, 4), torch.zeros(2).long()),
            (torch.zeros(2, 3, 4), torch.zeros(2).long()),
        ),
        (
            (torch.tensor([0, 4]), CLASSES, "the model has classes 0 to 3, got 4"),
            (torch.tensor([0, -1]), CLASSES, "the model has classes 0 to 3, got -1"),
            (REAL, CLASSES, r"expected one integer class a record, got float32 of shape \(2,\)"),
            (torch.tensor([True, False]), 2, "expected one integer class a record, got bool"),
            (torch.zeros(2, 4).long(), CLASSES, r"got int64 of shape \(2, 4\)"),
        ),
    ),
    "binary": KindRow(
        Binary(),
        lambda n, seed: (normals(n, seed=seed), integers(2, n, seed=seed)),
        binary_losses,
        binary_margin,
        binary_likelihood,
        ((torch.zeros(2, 2), torch.zeros(2)), (torch.zeros(3), torch.zeros(2)), (torch.zeros(2, 1, 1), torch.zeros(2))),
        BINARY_WRONG_TARGETS,
    ),
    "binary in a column": KindRow(
        Binary(),
        lambda n, seed: (normals(n, 1, seed=seed), integers(2, n, 1, seed=seed).float()),
        binary_losses,
        binary_margin,
        binary_likelihood,
        ((torch.zeros(2, 2), torch.zeros(2, 1)),),
        BINARY_WRONG_TARGETS,
    ),
    "multilabel": KindRow(
        MultiLabel(),
        lambda n, seed: (normals(n, LABELS, seed=seed), integers(2, n, LABELS, seed=seed).float()),
        lambda z, y: F.binary_cross_entropy_with_logits(z, y, reduction="none").mean(1),
        labels_margin,
        labels_likelihood,
        (
            (torch.zeros(2), torch.zeros(2, 5)),
            (torch.zeros(2, 1), torch.zeros(2, 1)),
            (torch.zeros(3, 5), torch.ones(2, 5)),
        ),
        (
            (
                torch.zeros(2, 4),
                LABELS,
                r"expected 0 or 1 for each label, \(records, 5\), got float32 of shape \(2, 4\)",
            ),
            (torch.zeros(2), None, r"\(records, labels\), got float32 of shape \(2,\)"),
            (torch.full((2, 5), 0.5), LABELS, "got other values"),
        ),
    ),
    "regression": KindRow(
        Regression(),
        lambda n, seed: (normals(n, 1, seed=seed), normals(n, seed=seed + 50)),
        squared_losses,
        lambda z, y: regression_margin((1.0,))(one_number(z), y),
        lambda z, y: regression_likelihood((1.0,))(one_number(z), y),
        ((torch.zeros(2, 3, 1), torch.zeros(2)), (torch.zeros(3), torch.zeros(2)), (torch.zeros(2, 0), torch.zeros(2))),
        (
            (torch.zeros(2, 3), 1, r"expected 1 real values a record, got float32 of shape \(2, 3\)"),
            (torch.tensor([0.5, math.nan]), 1, "NaN or infinite"),
            (torch.tensor([0.5, -math.inf]), 1, "NaN or infinite"),
            (torch.zeros(2, 3, 1), None, "one or more real values"),
        ),
        margins=(-30.0, -1e-3),
    ),
    "regression of several values, by Huber's loss": KindRow(
        Regression(scale=SCALE, trained_by="huber", delta=0.7),
        lambda n, seed: (normals(n, VALUES, seed=seed), normals(n, VALUES, seed=seed + 50)),
        lambda z, y: torch.stack([F.huber_loss(a, b, delta=0.7) for a, b in zip(z, y, strict=True)]),
        regression_margin(SCALE),
        regression_likelihood(SCALE),
        ((torch.zeros(2, 3, 1), torch.zeros(2, 3)),),
        ((torch.zeros(2), VALUES, r"expected 3 real values a record, got float32 of shape \(2,\)"),),
        margins=(-30.0, -1e-3),
    ),
    "tokens": KindRow(
        Tokens(),
        sequences,
        tokens_losses(-100),
        tokens_margin(-100),
        tokens_likelihood(-100),
        TOKENS_WRONG_OUTPUTS,
        (
            (torch.tensor([[0, 6]]), VOCABULARY, "the model has classes 0 to 5, got 6"),
            (torch.tensor([[0, -1]]), VOCABULARY, "the model has classes 0 to 5, got -1"),
            (
                torch.tensor([0, 1]),
                VOCABULARY,
                r"expected an integer class at each position, .*got int64 of shape \(2,\)",
            ),
            (torch.zeros(1, 2), VOCABULARY, "expected an integer class at each position, .*got float32"),
            (torch.tensor([[0, 1], [-100, -100]]), VOCABULARY, "expected a position that counts in every record"),
        ),
        has_head=False,
    ),
    "tokens padded by a class": KindRow(
        Tokens(ignored=0),
        lambda n, seed: sequences(n, seed, ignored=0),
        tokens_losses(0),
        tokens_margin(0),
        tokens_likelihood(0),
        TOKENS_WRONG_OUTPUTS,
        ((torch.tensor([[0, 1], [0, 0]]), VOCABULARY, "expected a position that counts in every record"),),
        has_head=False,
    ),
}
