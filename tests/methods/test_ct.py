"""ct: which kernels are transposed, a step by hand, and which models are refused before any work."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import efface
from efface import RequestError
from efface.methods import CT
from efface.methods.ct import kernels
from helpers.by_hand import ALL, same, small, unlearned
from helpers.tiny import CLASSES, Tiny, Window, convolutional, memorise


def pictured(tiny: Tiny) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return memorise(convolutional(), tiny.x, tiny.y, steps=40)


def test_a_step_of_ct(tiny: Tiny) -> None:
    model = pictured(tiny)
    result, read = unlearned(tiny, model, CT(steps=1, lr=0.05, batch=ALL, decay=0.1))
    mine = copy.deepcopy(model)
    with torch.no_grad():
        for layer in (mine[0], mine[2]):
            turned = layer.weight.clone()
            for i in range(2):
                for j in range(2):
                    layer.weight[:, :, i, j] = turned[:, :, j, i]
    found = torch.autograd.grad(F.cross_entropy(mine(tiny.x[read]), tiny.y[read]), list(mine.parameters()))
    with torch.no_grad():
        for p, g in zip(mine.parameters(), found, strict=True):
            p -= 0.05 * (g + 0.1 * p)
    assert same(result.model, mine)
    assert not torch.allclose(mine[0].weight, model[0].weight, atol=0.05), "the kernels are not symmetric"


def test_only_square_kernels_that_may_move_are_transposed_each_once() -> None:
    shapes = ((3, 3), (1, 1), (3, 2), (3, 3), (2, 2))
    convolutions = [nn.Conv2d(1, 2, shape) for shape in shapes]
    convolutions[3].weight = convolutions[0].weight
    convolutions[4].weight.requires_grad_(False)
    turned = nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 2, 3))
    model = nn.ModuleList([*convolutions, nn.Conv1d(1, 2, 3), nn.ConvTranspose2d(1, 2, 3), nn.Linear(3, 3), turned])
    assert [id(w) for w in kernels(model)] == [id(convolutions[0].weight)]
    model.requires_grad_(False)
    assert [id(w) for w in kernels(model)] == [id(convolutions[i].weight) for i in (0, 4)]


@pytest.mark.parametrize("only_frozen", [False, True])
def test_a_model_without_such_a_kernel_is_refused_before_any_work(
    only_frozen: bool, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = pictured(tiny) if only_frozen else small(tiny)
    if only_frozen:
        for layer in (model[0], model[2]):
            layer.requires_grad_(False)
    monkeypatch.setattr("efface.unlearning.driver.copy_model", lambda model: pytest.fail("it was copied already"))
    for call in (efface.check, efface.unlearn):
        with pytest.raises(RequestError, match="ct transposes square kernels"):
            call(model, forget=tiny.forget, task=tiny.task(), method="ct")


def test_a_refusal_stands_beside_others(tiny: Tiny) -> None:
    with pytest.raises(RequestError) as caught:
        efface.check(small(tiny), forget=[10**6], task=tiny.task(), method="ct")
    assert "ct transposes" in str(caught.value) and "1000000" in str(caught.value)


def test_training_makes_up_for_what_transposing_broke(tiny: Tiny) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = nn.Sequential(Window((1, 24), 3, (4, 4)), nn.ReLU(), nn.Linear(96, CLASSES))
    memorise(model, tiny.x, tiny.y)
    broken, mended = (unlearned(tiny, model, CT(steps=n, lr=0.05))[0].model for n in (1, 120))
    result, read = unlearned(tiny, model, CT(steps=120, lr=0.05))
    assert result.method.key == "ct"
    with torch.no_grad():
        was, now = ((m(tiny.x[read]).argmax(1) == tiny.y[read]).float().mean() for m in (broken, mended))
    assert now > was + 0.1 and now > 0.85
