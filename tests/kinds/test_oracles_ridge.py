"""Real values against ridge regression, which is retrained exactly without records by a closed form."""

import pytest
import torch
from torch import Tensor, nn

from efface.kinds import Regression
from helpers.exact import Exact, linear, normal_inputs, with_one

STRENGTH = 1.0


def gram(x: Tensor) -> Tensor:
    a = with_one(x)
    return a.T @ a + STRENGTH * torch.eye(a.shape[1], dtype=torch.float64)


def fit(x: Tensor, y: Tensor) -> nn.Module:
    """Ridge regression; the intercept is penalised too."""
    return linear(torch.linalg.solve(gram(x), with_one(x).T @ y.double()))


def problem(seed: int, values: int, n: int = 1200, width: int = 400) -> Exact:
    """Values that depend on the inputs, with as much noise as there is to learn."""
    x = normal_inputs(n + 900, width, seed)
    y = x @ normal_inputs(width, values, 100 + seed) / width**0.5 + normal_inputs(n + 900, values, 200 + seed)
    kind = Regression().measured(y[:n])
    return Exact(kind, fit, (x[:n], y[:n]), (x[n:], y[n:]), forget=60, members=300)


def test_residuals_without_records_are_those_of_the_closed_form() -> None:
    case = problem(0, values=1, n=300, width=50)
    (x, y), a = case.train, with_one(case.train[0])
    hat = a @ torch.linalg.solve(gram(x), a.T)
    forget = hat[: case.forget, : case.forget]
    before = y[: case.forget].double() - case.without(0)
    together = torch.linalg.solve(torch.eye(case.forget, dtype=torch.float64) - forget, before)
    torch.testing.assert_close(y[: case.forget].double() - case.without(case.forget), together, rtol=1e-4, atol=1e-5)
    one = Exact(case.kind, fit, case.train, case.holdout, forget=1)
    alone = before[:1] / (1 - forget[0, 0])  # r / (1 - h)
    torch.testing.assert_close(y[:1].double() - one.without(1), alone, rtol=1e-4, atol=1e-5)


def test_margins_and_loss_without_records_are_those_of_the_closed_form() -> None:
    case = problem(1, values=1, n=300, width=50)
    (x, y), a, kind = case.train, with_one(case.train[0]), case.kind
    hat = (a @ torch.linalg.solve(gram(x), a.T)).diagonal()
    assert isinstance(kind, Regression)
    left_out = (y.double() - case.model(0)(x).detach().double()).squeeze(1) / (1 - hat)
    for at in range(5):  # each is forgotten alone
        others = torch.arange(len(x)) != at
        with torch.no_grad():
            values = kind.values(fit(x[others], y[others])(x[at : at + 1]), y[at : at + 1])
        residual = float(left_out[at])
        assert float(kind.losses(values, y[at : at + 1])) == pytest.approx(residual**2, rel=1e-3)
        assert float(kind.margin(values, y[at : at + 1])) == pytest.approx(-abs(residual) / kind.scale[0], rel=1e-3)


@pytest.mark.parametrize("values", [1, 3])
def test_targets_are_nearer_to_the_retrained_model_than_the_original_is(values: int) -> None:
    """On five seeds .47 and .55 of the mean squared distance of values is left, and .58 and .24 of that of margins."""
    shares = [problem(seed, values).share_left() for seed in range(3)]
    compared, margins = (sum(s) / len(s) for s in zip(*shares, strict=True))
    assert compared < 0.8 and margins < 0.8, shares


def test_a_model_that_remembers_more_is_farther_from_the_retrained_one() -> None:
    far = []
    for width in (20, 100, 200):
        case = problem(2, values=1, n=400, width=width)
        far.append(float((case.margin(case.without(0)) - case.margin(case.without(case.forget))).mean()))
    assert 0 < far[0] < far[1] < far[2]
