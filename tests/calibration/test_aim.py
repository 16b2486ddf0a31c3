"""Aims: the error by hand, also with masked and forgotten classes, and aims beyond what is wanted."""

import math
from dataclasses import fields

import pytest
import torch
from torch import Tensor

from efface.calibration.aim import Aim, aim_at
from efface.numerics.logits import MASK_GAP, MASKED, mask_classes

N, CLASSES = 40, 5
SETTINGS = {
    "usual": ((), False),
    "masked classes": ((), True),
    "a forgotten class": ((3,), False),
    "forgotten and masked classes": ((0, 3), True),
}


def drawn(masked: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Logits that are wanted, logits that there are, and labels; some records have a masked class."""
    generator = torch.Generator().manual_seed(0)
    wanted, now = (4 * torch.randn(N, CLASSES, generator=generator).double() for _ in range(2))
    y = torch.randint(CLASSES, (N,), generator=generator)
    if masked:
        for row in range(0, N, 3):
            wanted[row, (int(y[row]) + 1) % CLASSES] = now[row, (int(y[row]) + 1) % CLASSES] = MASKED
    return wanted, now, y


def aimed(setting: str) -> tuple[Aim, Tensor, Tensor]:
    """An aim at centred logits, those before, and the labels."""
    classes, masked = SETTINGS[setting]
    wanted, now, y = drawn(masked)
    return aim_at(mask_classes(wanted, classes), now, y, classes), now, y


def slow_symlog(value: float) -> float:
    return math.copysign(math.log(1 + abs(value)), value)


def slow_margin(row: list[float], label: int) -> float:
    others = [v for c, v in enumerate(row) if c != label]
    top = max(others)
    return row[label] - top - math.log(sum(math.exp(v - top) for v in others))


def in_use(row: list[float]) -> list[bool]:
    return [v >= max(row) - MASK_GAP for v in row]


def slow_centre(row: list[float], forgotten: tuple[int, ...]) -> list[float]:
    used = in_use(row)
    counted = [v for c, v in enumerate(row) if used[c] and c not in forgotten]
    mean = sum(counted) / len(counted)
    return [v - mean if u else MASKED for v, u in zip(row, used, strict=True)]


def slow_error(aim: Aim, logits: Tensor, forgotten: tuple[int, ...]) -> tuple[float, float]:
    of_logits, of_margins = [], []
    goals, labels, weights = aim.logits.tolist(), aim.targets.tolist(), aim.weights.tolist()
    for row, goal, label, weight, wanted in zip(
        logits.tolist(), goals, labels, weights, aim.margins.tolist(), strict=True
    ):
        here = slow_centre(row, forgotten)
        used = [a and b for a, b in zip(in_use(row), in_use(goal), strict=True)]
        squares = [(a - b) ** 2 for a, b, u in zip(here, goal, used, strict=True) if u]
        of_logits.append(weight * sum(squares) / len(squares))
        of_margins.append((slow_symlog(slow_margin(row, label)) - wanted) ** 2)
    return sum(of_logits) / len(of_logits), sum(of_margins) / len(of_margins)


@pytest.mark.parametrize("setting", SETTINGS)
def test_what_an_aim_holds_by_hand(setting: str) -> None:
    classes, masked = SETTINGS[setting]
    aim, now, y = aimed(setting)
    wanted = mask_classes(drawn(masked)[0], classes)
    ways = []
    assert len(aim) == N and torch.equal(aim.targets, y) and aim.forget_classes == classes
    for at, (goal, row, label) in enumerate(zip(wanted.tolist(), now.tolist(), y.tolist(), strict=True)):
        here = slow_centre(row, classes)
        margins = slow_margin(goal, label), slow_margin(row, label)
        ways.append(slow_symlog(margins[0]) - slow_symlog(margins[1]))
        assert aim.logits[at].tolist() == pytest.approx(goal, rel=1e-6)
        assert aim.margins[at].item() == pytest.approx(slow_symlog(margins[0]), rel=1e-6)
        used = [a and b for a, b in zip(in_use(goal), in_use(row), strict=True)]
        way = [a - b if u else 0.0 for a, b, u in zip(goal, here, used, strict=True)]
        assert aim.logits_way[at].tolist() == pytest.approx(way, rel=1e-5, abs=1e-5)
        assert aim.margins_way[at].item() == pytest.approx(ways[-1], rel=1e-5, abs=1e-6)
        # the slope of log(1 + v) is 1 / (1 + v)
        assert aim.weights[at].item() == pytest.approx(1 / (1 + min(abs(margins[0]), abs(margins[1]))), rel=1e-6)
    assert aim.squared_way == pytest.approx(sum(w**2 for w in ways) / N, rel=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("setting", SETTINGS)
def test_the_error_by_hand(setting: str, share: float) -> None:
    aim, now, _ = aimed(setting)
    z = now + torch.randn(N, CLASSES, generator=torch.Generator().manual_seed(1)).double()
    found = aim.beyond(share).error(z)
    wanted = slow_error(aim.beyond(share), z, aim.forget_classes)
    assert (found.logits.item(), found.margins.item()) == pytest.approx(wanted, rel=1e-5)
    assert found.sum.item() == pytest.approx(sum(wanted), rel=1e-5)
    assert aim.error(z.float()).sum.dtype == torch.float32, "a model's own kind of numbers"


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_error_is_left_at_the_aim_and_all_of_it_before(setting: str) -> None:
    aim, now, _ = aimed(setting)
    assert aim.error(aim.logits).sum.item() < 1e-9
    before = aim.error(now)
    assert before.margins.item() == pytest.approx(aim.squared_way, rel=1e-5) and before.logits.item() > 1


def test_a_shift_of_all_logits_is_no_error() -> None:
    aim, now, _ = aimed("masked classes")
    used = now > MASKED / 2
    shifted = now + 3.0 * used
    torch.testing.assert_close(aim.error(shifted).sum, aim.error(now).sum)


def test_masked_classes_pull_at_nothing() -> None:
    aim, now, _ = aimed("masked classes")
    masked = now < MASKED / 2
    lower = now.masked_fill(masked, -3e9)
    torch.testing.assert_close(aim.error(lower).sum, aim.error(now).sum)
    z = now.clone().requires_grad_()
    aim.error(z).sum.backward()
    assert z.grad is not None and z.grad.isfinite().all()
    assert (z.grad[masked] == 0).all() and (z.grad[~masked] != 0).all()


def test_beyond_lies_on_the_line_from_where_it_was() -> None:
    aim, now, _ = aimed("usual")
    assert aim.beyond(-1).error(now).sum.item() < 1e-9, "a whole way back"
    assert aim.beyond(0.5).error(now).margins.item() == pytest.approx(1.5**2 * aim.squared_way, rel=1e-5)
    assert aim.beyond(0.5).error(now).logits.item() == pytest.approx(1.5**2 * aim.error(now).logits.item(), rel=1e-5)
    twice, once = aim.beyond(0.2).beyond(0.3), aim.beyond(0.5)
    for part in ("logits", "margins"):
        torch.testing.assert_close(getattr(twice, part), getattr(once, part))
    for part in ("logits_way", "margins_way", "weights", "targets"):
        assert torch.equal(getattr(once, part), getattr(aim, part))


def test_rows_are_as_an_aim_at_those_records() -> None:
    wanted, now, y = drawn(masked=True)
    classes = (3,)
    aim = aim_at(mask_classes(wanted, classes), now, y, classes)
    at = torch.tensor([7, 3, 20])
    some = aim.rows(at).to(torch.device("cpu"))
    other = aim_at(mask_classes(wanted[at], classes), now[at], y[at], classes)
    assert len(some) == 3
    for field in fields(Aim):
        a, b = getattr(some, field.name), getattr(other, field.name)
        assert torch.allclose(a, b) if isinstance(a, Tensor) else a == b
    # means over the records: of halves, the mean of both
    halves = [aim.rows(part).error(now[part]).sum for part in torch.arange(N).split(N // 2)]
    torch.testing.assert_close((halves[0] + halves[1]) / 2, aim.error(now).sum)


def test_large_margins_do_not_rule_the_error() -> None:
    """One record in a hundred with logits a thousand times as large, off by as large a share."""
    generator = torch.Generator().manual_seed(0)
    now = torch.randn(100, CLASSES, generator=generator).double()
    now[0] *= 1000
    aim = aim_at(mask_classes(1.1 * now), now, now.argmax(1))
    each = [aim.rows(torch.tensor([i])).error(now[[i]]) for i in range(100)]
    assert each[0].margins < 0.02
    plain = (aim.logits - mask_classes(now)).square().mean(1)
    assert each[0].logits < 2e-3 * plain[0]
