"""A model that masks classes by large finite logits gives what the same model without these classes gives."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import efface
from efface import Report, Result, Task, UnlearnOptions
from helpers.audits import audited
from helpers.tiny import CLASSES, FEATURES, REFERENCE, Tiny, memorise

pytestmark = pytest.mark.usefixtures("brief")

AT = 1  # the class that is masked
KEPT = [0, 2, 3]
MASKS = (-1e4, torch.finfo(torch.float32).min)


class Masked(nn.Sequential):
    """A network of four classes that masks one."""

    mask = -1e4

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).masked_fill(torch.arange(CLASSES + 1) == AT, self.mask)


def wide() -> nn.Sequential:
    return nn.Sequential(nn.Linear(FEATURES, 48), nn.ReLU(), nn.Linear(48, CLASSES + 1))


def masked(net: nn.Sequential, mask: float) -> Masked:
    found = Masked(*copy.deepcopy(net))
    found.mask = mask
    return found.eval()


def without(net: nn.Sequential) -> nn.Sequential:
    """The same weights without the rows of the masked class."""
    found = copy.deepcopy(nn.Sequential(*net))
    found[2] = nn.Linear(48, CLASSES)
    with torch.no_grad():
        found[2].weight.copy_(net[2].weight[KEPT])
        found[2].bias.copy_(net[2].bias[KEPT])
    return found.eval()


def renamed(y: Tensor) -> Tensor:
    return y + (y >= AT).long()


def problems(tiny: Tiny, mask: float) -> tuple[tuple[nn.Module, Task], tuple[nn.Module, Task]]:
    """The tiny problem as it is, and with a class more, which is masked; networks are made alike."""
    net = wide()
    with torch.no_grad():
        net[0].load_state_dict(tiny.model[0].state_dict())
        net[2].weight[KEPT], net[2].bias[KEPT] = tiny.model[2].weight, tiny.model[2].bias
        # as large as the others, since steer's rates are relative to the size of a whole tensor
        net[2].weight[AT], net[2].bias[AT] = (
            p.square().mean(0).sqrt() for p in (net[2].weight[KEPT], net[2].bias[KEPT])
        )
    more = tiny.task(
        train=TensorDataset(tiny.x, renamed(tiny.y)),
        holdout=TensorDataset(tiny.holdout_x, renamed(tiny.holdout_y)),
        build_model=lambda: masked(wide(), mask),
    )
    return (tiny.model, tiny.task(build_model=lambda: without(wide()))), (masked(net, mask), more)


def both(tiny: Tiny, mask: float, method: str, forget: Any = None, **options: Any) -> tuple[Result, Result]:
    one, other = (
        efface.unlearn(
            model,
            forget=tiny.forget if forget is None else forget,
            task=task,
            method=efface.methods.get(method, options),
            options=UnlearnOptions(reference=REFERENCE),
        )
        for model, task in problems(tiny, mask)
    )
    return one, other


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def check_same_weights(one: Result, other: Result) -> None:
    moved = (weights(one.model) - weights(one.original)).abs().max()
    assert moved > 1e-3
    # up to the rounding of sums in another order
    assert (weights(one.model) - weights(without(other.model))).abs().max() < 1e-3 * moved
    assert one.evidence.outcome == other.evidence.outcome


@pytest.mark.parametrize("mask", MASKS)
def test_steer_and_its_audit(mask: float, tiny: Tiny) -> None:
    one, other = both(tiny, mask, "steer", rounds="2")
    check_same_weights(one, other)
    first, second = (efface.audit(r, references=1) for r in (one, other))
    assert first.verdict.status == second.verdict.status
    check_same_rows(first, second)


def check_same_rows(first: Report, second: Report, within: float = 1e-4) -> None:
    assert len(first.metrics) == len(second.metrics) > 10
    for row, same in zip(first.metrics, second.metrics, strict=True):
        assert (row.key, row.records) == (same.key, same.records)
        for who in ("original", "unlearned"):
            a, b = getattr(row, who).estimate, getattr(same, who).estimate
            assert (a is None) == (b is None)
            if a is not None:
                assert a.value == pytest.approx(b.value, abs=within, nan_ok=True), row.key


def test_a_strong_audit(tiny: Tiny) -> None:
    """All logits of ensembles are compared there."""

    def fit(model: nn.Module, dataset: Any, seed: int) -> None:
        memorise(model, *map(torch.stack, zip(*(dataset[i] for i in range(len(dataset))), strict=True)), steps=60)

    reports = []
    for model, task in problems(tiny, MASKS[-1]):
        method = efface.methods.get("steer", {"rounds": "1", "steps": "5"})
        options = UnlearnOptions(reference=REFERENCE)
        task = replace(task, fit=fit)
        result = efface.unlearn(model, forget=tiny.forget, task=task, method=method, options=options)
        reports.append(
            audited(result, level="strong", recipe=REFERENCE, references=1, models=8, jobs=1, progress=False)
        )
    # steer's rates are relative to the size of a tensor, and a masked class keeps the rows that it was made with
    check_same_rows(*reports, within=0.02)
    rows = [m for m in reports[1].metrics if m.key == "ensemble_d2_logits"]
    assert rows and all(m.original.estimate is not None for m in rows)


def test_steer_of_a_whole_class(tiny: Tiny) -> None:
    """What is known of the class goes to the lowest of the others, which must not be the masked one."""
    y = torch.where(torch.arange(len(tiny.y)) < 20, 2, tiny.y.clamp_max(1))
    small = Tiny(tiny.model, tiny.x, y, tiny.holdout_x, tiny.holdout_y.clamp_max(1), tiny.forget)
    one, other = both(small, -1e4, "steer", forget=range(20), rounds="2")
    assert "the request takes every record of class 2" in one.warnings
    assert "the request takes every record of class 3" in other.warnings
    check_same_weights(one, other)


@pytest.mark.parametrize(
    "method", ["random_label", "bad_teacher", "align", "fcs", "boundary", "finetune", "regun", "delete"]
)
def test_other_methods(method: str, tiny: Tiny) -> None:
    """Those that draw noise by the shape of the weights, or that begin at a gradient of 0, cannot be compared so."""
    options = {"steps": 10, "every": 10} if method == "delete" else {}  # by default it would lose too much
    check_same_weights(*both(tiny, MASKS[-1], method, **options))


@pytest.mark.parametrize(
    "method", ["game", "align_gan", "scrub", "salun", "msg", "influence", "ssd", "fisher", "tmu", "sfron"]
)
def test_methods_that_draw_by_the_number_of_classes_are_not_ruined(method: str, tiny: Tiny) -> None:
    options = {"select": 1.0} if method == "ssd" else {}  # by default it would dampen nothing here
    one, other = both(tiny, MASKS[-1], method, **options)
    with torch.no_grad():
        usual = (one.model(tiny.x).argmax(1) == tiny.y).float().mean()
        right = (other.model(tiny.x).argmax(1) == renamed(tiny.y)).float().mean()
    assert abs(right - usual) < 0.1


def test_a_mask_of_each_records_own(tiny: Tiny) -> None:
    """A record may be told which class it cannot have: it still moves where a model without a mask would."""

    def forward(model: nn.Module, x: Tensor) -> Tensor:
        z = model(x[:, :-1])
        return z.masked_fill(torch.arange(CLASSES) == x[:, -1:], MASKS[-1])

    impossible = (tiny.y + 1 + torch.arange(len(tiny.y)) % 2) % CLASSES
    held = (tiny.holdout_y + 1 + torch.arange(len(tiny.holdout_y)) % 2) % CLASSES
    task = tiny.task(
        train=TensorDataset(torch.cat([tiny.x, impossible[:, None]], 1), tiny.y),
        holdout=TensorDataset(torch.cat([tiny.holdout_x, held[:, None]], 1), tiny.holdout_y),
        forward=forward,
    )
    result = efface.unlearn(tiny.model, forget=tiny.forget, task=task, options=UnlearnOptions(reference=REFERENCE))
    report = efface.audit(result, references=1)
    assert all(torch.isfinite(p).all() for p in result.model.parameters())
    shown = {m.key: m.unlearned.estimate for m in report.metrics if m.records == "all"}
    assert shown and all(e is None or abs(e.value) < 1e3 for e in shown.values())
    with torch.no_grad():
        assert (result.model(tiny.x).argmax(1) == tiny.y).float().mean() > 0.8
