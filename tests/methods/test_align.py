"""The distance that align descends on, the first step of both kinds by hand, and what they do to forget outputs."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import efface
from efface.methods import Align, AlignGan
from efface.methods.adversarial import discriminator, label_first
from efface.methods.align import energy_distance
from efface.runtime.seeds import derive_seed, seeded
from helpers.by_hand import (
    ALL,
    close,
    flat,
    in_double,
    outputs,
    slope,
    slow_label_first,
    unlearned,
)
from helpers.tiny import CLASSES, Tiny, weights

METHODS = (Align(), AlignGan())


def slow_energy(one: Tensor, other: Tensor) -> float:
    def mean(a: Tensor, b: Tensor) -> float:
        pairs = [math.dist(u.tolist(), v.tolist()) for u in a for v in b]
        return sum(pairs) / len(pairs)

    return 2 * mean(one, other) - mean(one, one) - mean(other, other)


def test_energy_distance_by_hand() -> None:
    one, other = torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 0.0]])
    # 2 (0 + 5) / 2 - (0 + 5 + 5 + 0) / 4 - 0
    assert energy_distance(one, other).item() == pytest.approx(2.5)
    assert energy_distance(one, one).item() == pytest.approx(0.0)


@pytest.mark.parametrize(("rows", "others"), [(7, 5), (1, 4), (1, 1)])
def test_energy_distance_against_a_double_loop(rows: int, others: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    one, other = torch.randn(rows, 3, generator=generator), torch.randn(others, 3, generator=generator) + 1
    assert energy_distance(one, other).item() == pytest.approx(slow_energy(one, other), abs=1e-5)


def test_equal_rows_have_a_gradient() -> None:
    """The distance of a row to itself has none, and must not make it NaN."""
    one = torch.ones(3, 2, requires_grad=True)
    energy_distance(one, torch.ones(2, 2)).backward()
    assert one.grad is not None and one.grad.isfinite().all()


def test_label_first_sorts_the_other_classes() -> None:
    z = torch.tensor([[1.0, 5.0, 3.0], [4.0, 1.0, 1.0]])
    assert label_first(z, torch.tensor([0, 2])).tolist() == [[-2.0, 2.0, 0.0], [-1.0, 2.0, -1.0]]


def summed_distances(one: Tensor, other: Tensor) -> Tensor:
    """Of all pairs of different rows, which alone have a gradient, by a double loop."""
    pairs = [(u, v) for u in one for v in other if not torch.equal(u, v)]
    return torch.stack([(u - v).square().sum().sqrt() for u, v in pairs]).sum()


def test_the_first_update_of_align_by_hand(tiny: Tiny) -> None:
    tiny, f = in_double(tiny), list(tiny.forget)
    result, read = unlearned(tiny, tiny.model, Align(steps=1, batch=ALL, lr=0.1, pull=2.0))
    model, at = tiny.model, torch.from_numpy(result.splits.calibration)
    unseen = slow_label_first(model(tiny.holdout_x[at]), tiny.holdout_y[at]).detach()
    own = slow_label_first(model(tiny.x[f]), tiny.y[f])
    n, m = len(own), len(unseen)
    # the distance among the never-seen outputs themselves has no gradient
    apart = 2 * summed_distances(own, unseen) / (n * m) - summed_distances(own, own) / n**2
    down = slope(model, F.cross_entropy(model(tiny.x[read]), tiny.y[read]) + 2.0 * apart)
    assert close(flat(result.model) - flat(model), -0.1 * down)


@pytest.mark.parametrize("turns", [1, 3])
def test_the_first_update_of_align_gan_by_hand(turns: int, tiny: Tiny) -> None:
    tiny, f = in_double(tiny), list(tiny.forget)
    method = AlignGan(steps=1, batch=ALL, lr=0.1, pull=2.0, width=8, turns=turns, lr_tell=1e-2)
    result, read = unlearned(tiny, tiny.model, method)
    model, at = tiny.model, torch.from_numpy(result.splits.calibration)
    unseen = slow_label_first(model(tiny.holdout_x[at]), tiny.holdout_y[at]).detach()
    own = slow_label_first(model(tiny.x[f]), tiny.y[f])
    with seeded(derive_seed(0, "align", "discriminator")):
        network = discriminator(CLASSES, 8).double()
    mean, spread = unseen.mean(0), torch.from_numpy(np.std(unseen.numpy(), 0))

    def never_seen(z: Tensor) -> Tensor:
        """The probability that the network gives to outputs of being on never-seen records."""
        return network((z - mean) / spread)[:, 0].sigmoid()

    adam = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(turns):
        adam.zero_grad()
        (-(1 - never_seen(own.detach())).log().mean() - never_seen(unseen).log().mean()).backward()
        adam.step()
    retain = F.cross_entropy(model(tiny.x[read]), tiny.y[read])
    down = slope(model, retain - 2.0 * never_seen(own).log().mean())
    # the network is in float32, and Adam divides small gradients by their own size
    assert close(flat(result.model) - flat(model), -0.1 * down, 1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_forget_outputs_come_nearer_to_those_of_never_seen_records(method: Align | AlignGan, tiny: Tiny) -> None:
    result = efface.unlearn(
        tiny.model, forget=tiny.forget, task=tiny.task(), method=method, options=efface.UnlearnOptions(evaluate=False)
    )
    # holdout records that the method did not use
    other = torch.from_numpy(result.splits.audit)
    unseen = outputs(tiny.model, tiny.holdout_x[other], tiny.holdout_y[other])
    f = list(tiny.forget)
    before, after = (
        energy_distance(outputs(m, tiny.x[f], tiny.y[f]), unseen).item() for m in (tiny.model, result.model)
    )
    assert after < 0.7 * before
    kept = torch.from_numpy(result.splits.retain)
    right = (result.model(tiny.x[kept]).argmax(1) == tiny.y[kept]).float().mean().item()
    assert right > 0.9


@pytest.mark.parametrize("kind", [Align, AlignGan])
def test_without_a_pull_the_forget_records_do_not_count(kind: type[Align | AlignGan], tiny: Tiny) -> None:
    """Both are then descent on the retain set, so the same one."""
    runs = [
        efface.unlearn(
            tiny.model, forget=tiny.forget, task=tiny.task(), method=m, options=efface.UnlearnOptions(evaluate=False)
        )
        for m in (kind(steps=4, pull=0.0), Align(steps=4, pull=0.0), kind(steps=4, pull=1.0))
    ]
    none, same, pulled = (weights(r.model) for r in runs)
    assert none == same != pulled


def test_the_discriminator_is_the_seeds_own(tiny: Tiny) -> None:
    found = []
    for process_seed in (1, 2):
        torch.manual_seed(process_seed)
        done = efface.unlearn(
            tiny.model,
            forget=tiny.forget,
            task=tiny.task(),
            method=AlignGan(steps=3, turns=2),
            options=efface.UnlearnOptions(evaluate=False),
        )
        found.append(weights(done.model))
    assert found[0] == found[1] != weights(tiny.model)
