"""Rates: the size of parameters, the way that there is to go, and the weight of holding other records."""

import math

import pytest
import torch
from torch import Tensor, nn

from efface.errors import DivergedError
from efface.methods.rates import SMALLEST, Balance, sizes, way_to_go

LIMITS = (0.5, 100.0)


def made(*values: list[float]) -> list[nn.Parameter]:
    return [nn.Parameter(torch.tensor(v, dtype=torch.float64)) for v in values]


def test_sizes_are_root_mean_squares() -> None:
    assert sizes(made([3.0, -4.0], [0.5], [1.0, 1.0, -1.0])) == pytest.approx([math.sqrt(12.5), 0.5, 1.0])
    # of any shape and kind of number
    assert sizes([nn.Parameter(torch.full((2, 3, 4), -2.0).half())]) == [2.0]


def test_a_size_is_not_less_than_a_share_of_that_of_all_weights() -> None:
    overall = math.sqrt((4 * 9 + 1e-8) / 6)
    found = sizes(made([3.0, 3.0, -3.0, 3.0], [0.0], [1e-4]))
    assert found == pytest.approx([3.0, SMALLEST * overall, SMALLEST * overall])
    above = 2 * SMALLEST
    assert sizes(made([1.0] * 10_000, [above]))[1] == pytest.approx(above)


def test_weights_of_nothing_have_a_size_above_nothing() -> None:
    assert all(0 < size < 1e-9 for size in sizes(made([0.0, 0.0], [0.0])))
    assert sizes(made([1.0], []))[1] == pytest.approx(SMALLEST), "without weights"
    assert sizes([]) == []


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_an_error_that_is_no_number_is_refused(odd: float) -> None:
    parameters = made([1.0])
    with pytest.raises(DivergedError, match="NaN or infinite"):
        way_to_go(parameters[0].sum() * odd, parameters, sizes(parameters))


def linear(parameters: list[nn.Parameter], slopes: list[Tensor], constant: float) -> Tensor:
    parts = [(p * g).sum() for p, g in zip(parameters, slopes, strict=True)]
    return torch.stack(parts).sum() + constant


def test_the_way_of_a_linear_error_takes_it_to_nothing() -> None:
    parameters = made([1.0, -2.0, 0.5], [4.0, 3.0])
    slopes = [torch.tensor([2.0, -1.0, 0.0]).double(), torch.tensor([-0.5, 3.0]).double()]
    scales = [0.7, 5.0]
    error = linear(parameters, slopes, 20.0)
    way = way_to_go(error, parameters, scales)
    assert way == pytest.approx(float(error.detach()) / (3 * 0.7 + 3.5 * 5.0))
    with torch.no_grad():
        for p, g, size in zip(parameters, slopes, scales, strict=True):
            p -= way * size * g.sign()
        assert float(linear(parameters, slopes, 20.0)) == pytest.approx(0.0, abs=1e-12)


def test_twice_the_size_is_half_the_way() -> None:
    """Weights ten times as large with slopes a tenth as steep, as before a normalisation, are as far away."""
    ways = []
    for scale in (1.0, 10.0):
        parameter = nn.Parameter(scale * torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
        ways.append(way_to_go((parameter / parameter.norm()).sum() + 2, [parameter], sizes([parameter])))
    assert ways[0] == pytest.approx(ways[1])
    one = made([1.0, 1.0])
    found = [way_to_go(one[0].sum() + 1, one, [size]) for size in (1.0, 2.0)]
    assert found == pytest.approx([1.5, 0.75])


def test_there_is_no_way_where_nothing_falls() -> None:
    parameters = made([1.0, 2.0], [3.0])
    assert way_to_go((parameters[0] * 0).sum() + 5, parameters, [1.0, 1.0]) == 0
    assert way_to_go(parameters[1].sum() - 3, parameters, [1.0, 1.0]) == 0, "or nothing is to go"


def test_gradients_of_before_do_not_count() -> None:
    """The first of two parameters is not in the error, and has a gradient of an earlier one."""
    parameters = made([1.0, 2.0], [3.0, 1.0])
    for p in parameters:
        p.grad = torch.full_like(p, 1e6)
    assert way_to_go((2 * parameters[1]).sum(), parameters, [1.0, 0.5]) == pytest.approx(8 / (4 * 0.5))
    assert parameters[0].grad is None
    assert parameters[1].grad is not None and parameters[1].grad.tolist() == [2, 2]


def test_a_weight_rises_above_the_budget_and_falls_below_it() -> None:
    for error, power in ((2.0, 2.0), (0.5, 0.5), (1.0, 1.0), (1e9, Balance.MOST), (0.0, 1 / Balance.MOST)):
        balance = Balance(10.0, LIMITS, budget=1.0)
        balance.update(error)
        assert balance.weight == pytest.approx(10 * power**Balance.GAIN)


def test_a_weight_goes_by_the_running_mean() -> None:
    errors, mean, wanted = [0.02, 0.5, 0.001, 0.1, 0.09], None, 3.0
    balance = Balance(3.0, LIMITS, budget=0.1)
    for error in errors:
        mean = error if mean is None else Balance.SMOOTH * mean + (1 - Balance.SMOOTH) * error
        wanted *= min(4.0, max(0.25, mean / 0.1)) ** 0.15
        balance.update(error)
        assert balance.weight == pytest.approx(wanted)


@pytest.mark.parametrize(("error", "end"), [(1e3, LIMITS[1]), (0.0, LIMITS[0])])
def test_a_weight_stays_within_its_limits(error: float, end: float) -> None:
    balance, found = Balance(10.0, LIMITS, budget=1.0), [10.0]
    for _ in range(60):
        balance.update(error)
        found.append(balance.weight)
    assert found[-1] == found[-2] == end and found[1] != end
    assert found == sorted(found, reverse=end < 10)
    # and leaves it when errors do
    for _ in range(80):
        balance.update(1e3 if error == 0 else 0.0)
    assert balance.weight == (LIMITS[1] if error == 0 else LIMITS[0])


def test_no_budget_at_all_is_no_division_by_zero() -> None:
    balance = Balance(10.0, LIMITS, budget=0.0)
    balance.update(0.0)
    assert balance.weight < 10
    balance.update(1.0)
    balance.update(1.0)
    assert balance.weight > 10
