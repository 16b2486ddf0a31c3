"""Fnn's decays against loops over neurons, and its training in between."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import efface
from efface import RequestError
from efface.methods import Finetune, Fnn
from efface.methods.fnn import activity, fade
from helpers.by_hand import ALL, problem_of, read_by, same, stepped, unlearned
from helpers.tiny import CLASSES, FEATURES, Tiny, weights


def slow_activity(tiny: Tiny, model: nn.Module) -> list[float]:
    hidden = [model[1](model[0](tiny.x[i])) for i in tiny.forget]
    return [sum(abs(h[j].item()) for h in hidden) / len(hidden) for j in range(48)]


@pytest.mark.parametrize("rates", ["fixed", "ranked"])
def test_fnn_fades_then_descends(rates: str, tiny: Tiny) -> None:
    result = unlearned(tiny, tiny.model, Fnn(steps=1, rate=0.4, rates=rates, batch=ALL, lr=0.1))[0]
    wanted, kept = tiny.fresh(), read_by(result)
    active = slow_activity(tiny, wanted)
    with torch.no_grad():
        for place, j in enumerate(sorted(range(48), key=lambda j: active[j])):
            wanted[2].weight[:, j] *= 1 - 0.4 * (1 if rates == "fixed" else place / 47)
    stepped(wanted, F.cross_entropy(wanted(tiny.x[kept]), tiny.y[kept]), 0.1)
    assert same(result.model, wanted)


def test_varying_rates_stay_a_neurons_own(tiny: Tiny) -> None:
    problem, method = problem_of(tiny, tiny.model), Fnn(rates="varying", rate=0.4)
    method.decay(problem)
    once = (problem.model[2].weight / tiny.model[2].weight).detach()
    assert torch.allclose(once, once[:1].expand_as(once))
    assert bool((once <= 1).all() and (once >= 0.6).all()) and once.std() > 0.05
    method.decay(problem)
    assert torch.allclose(problem.model[2].weight / tiny.model[2].weight, once**2, atol=1e-5)
    assert torch.equal(problem.model[0].weight, tiny.model[0].weight), "the first layer reads the record"


@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_fades_channel_by_channel(groups: int, tiny: Tiny) -> None:
    first, second = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 2, groups=groups)
    model = nn.Sequential(nn.Unflatten(1, (1, 4, 4)), first, nn.Tanh(), second, nn.Flatten(), nn.Linear(6, CLASSES))
    found = activity(problem_of(tiny, model))
    read = torch.stack([model[:3](tiny.x[i : i + 1])[0] for i in tiny.forget])
    wanted = [sum(abs(v) for v in read[:, c].flatten().tolist()) / read[:, c].numel() for c in range(4)]
    assert [a.shape[0] for a in found.values()] == [1, 4, 6]
    assert list(found.values())[1].tolist() == pytest.approx(wanted, rel=1e-5)
    keep, x = torch.tensor([0.0, 0.5, 0.25, 1.0]), torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        scaled = second(x * keep.view(1, 4, 1, 1))
        fade(second, keep)
        assert torch.allclose(second(x), scaled, atol=1e-6)


def test_a_weight_of_two_layers_fades_once(tiny: Tiny) -> None:
    model = nn.Sequential(*(nn.Linear(FEATURES, FEATURES) for _ in range(3)), nn.Linear(FEATURES, CLASSES))
    model[2].weight = model[1].weight
    problem = problem_of(tiny, model)
    Fnn(rates="fixed", rate=0.5).decay(problem)
    assert torch.equal(problem.model[2].weight, model[2].weight / 2)
    assert torch.equal(problem.model[3].weight, model[3].weight / 2)


def test_fnn_says_where_nothing_can_fade_and_what_kinds_there_are(tiny: Tiny) -> None:
    model = tiny.fresh()
    model[2].requires_grad_(False)
    with pytest.raises(RequestError, match="no linear or convolution layer above the first"):
        unlearned(tiny, model, Fnn(steps=2))[0]
    with pytest.raises(RequestError, match="did you mean 'ranked'"):
        efface.methods.get("fnn", {"rates": "ranks"})


def test_fnn_without_a_rate_is_finetune_and_with_a_high_one_ruinous(tiny: Tiny) -> None:
    unfaded, finetuned = (
        unlearned(tiny, tiny.model, Fnn(steps=6, rate=0.0))[0],
        unlearned(tiny, tiny.model, Finetune(steps=6))[0],
    )
    assert weights(unfaded.model) == weights(finetuned.model)

    def right(method: Fnn) -> float:
        result = unlearned(tiny, tiny.model, method)[0]
        kept = torch.from_numpy(result.splits.retain)
        return (result.model(tiny.x[kept]).argmax(1) == tiny.y[kept]).float().mean().item()

    assert right(Fnn()) > 0.93
    assert right(Fnn(rates="fixed", rate=0.99, decays=120, lr=1e-3)) < 0.88
