"""Log-odds of log-probabilities: exact from 0 to 1, with a gradient everywhere."""

import pytest
import torch

from efface.numerics.log_odds import SUREST, log_odds


def test_it_is_the_inverse_of_the_log_sigmoid() -> None:
    odds = torch.tensor([-600.0, -40.0, -3.0, -1e-9, 0.0, 1e-9, 0.5, 3.0, 40.0, 600.0], dtype=torch.float64)
    torch.testing.assert_close(log_odds(torch.nn.functional.logsigmoid(odds)), odds, rtol=1e-12, atol=1e-15)


def test_what_is_certain_is_bounded() -> None:
    assert float(log_odds(torch.tensor([0.0]))) == pytest.approx(690.8, abs=0.1)
    assert log_odds(torch.tensor([SUREST], dtype=torch.float64)).tolist() == log_odds(torch.tensor([0.0])).tolist()


def test_the_gradient_is_one_over_the_probability_of_the_opposite() -> None:
    log_p = torch.tensor([-1e-20, -1e-9, -0.1, -0.6931471805599453, -0.7, -30.0, -800.0], dtype=torch.float64)
    grad = torch.autograd.functional.jacobian(lambda v: log_odds(v).sum(), log_p)
    torch.testing.assert_close(grad, -1 / torch.expm1(log_p), rtol=1e-12, atol=0)
