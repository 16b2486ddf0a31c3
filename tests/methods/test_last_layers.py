"""cfk and euk: their first steps by hand, which layers move, and which stay."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efface import RequestError
from efface.methods import CFK, EUK, Finetune
from efface.methods.last_layers import frozen, layers
from efface.models.init import fresh_model
from efface.runtime.seeds import derive_seed
from helpers.by_hand import ALL, close, flat, in_double, slope, slopes, unlearned
from helpers.networks import Tied, cnn, make
from helpers.tiny import CLASSES, FEATURES, Tiny, memorise, mlp, weights


def test_a_layer_is_a_module_with_weights_of_its_own_that_may_move() -> None:
    model = Tied()
    found = layers(model)
    assert list(found) == [model.first, model.second, model.head]
    assert found[model.first][0] is model.first.weight
    assert found[model.second] == [model.second.bias]
    model.head.requires_grad_(False)
    assert list(layers(model)) == [model.first, model.second]


def test_cfk_first_step_by_hand(tiny: Tiny) -> None:
    result, read = unlearned(tiny, tiny.model, CFK(steps=1, batch=ALL, lr=0.05, k=1))
    g = slopes(tiny.fresh(), tiny, read)
    for found, w, down, moves in zip(
        result.model.parameters(), tiny.model.parameters(), g, (False, False, True, True), strict=True
    ):
        assert torch.allclose(found, w - 0.05 * down * moves, atol=1e-6)


@pytest.mark.parametrize("kind", [CFK, EUK])
def test_what_comes_before_the_last_layers_stays_bit_for_bit(kind: type[CFK | EUK], tiny: Tiny) -> None:
    model, task = make("batch norm", tiny)
    for k, stays in ((1, ("1.", "2.")), (2, ("1.",))):
        result, _ = unlearned(tiny, model, kind(steps=5, k=k), task=task)
        before, after = weights(model), weights(result.model)
        assert {n for n in after if after[n] == before[n]} == {n for n in after if n.startswith(stays)}
        assert all(p.requires_grad for p in result.model.parameters())


def test_a_frozen_norm_among_the_last_layers_keeps_its_statistics(tiny: Tiny) -> None:
    model, task = make("batch norm", tiny)
    model[2].requires_grad_(False)
    ours = unlearned(tiny, model, CFK(steps=3, k=2), task=task)[0].model
    assert torch.equal(ours[2].running_mean, model[2].running_mean)
    assert not torch.equal(ours[1].weight, model[1].weight)


def test_dropout_before_the_last_layers_is_off_and_within_them_on(tiny: Tiny) -> None:
    def net(p: float) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layers = (nn.Linear(FEATURES, 24), nn.ReLU(), nn.Dropout(p), nn.Linear(24, CLASSES))
            return memorise(nn.Sequential(*layers), tiny.x, tiny.y, steps=20)

    state = net(0.0).state_dict()
    found = []
    for p in (0.0, 0.5):
        model = net(p)
        model.load_state_dict(state)
        found.append([weights(unlearned(tiny, model, CFK(steps=3, k=k))[0].model) for k in (1, 2)])
    assert found[0][0] == found[1][0]
    assert found[0][1] != found[1][1]


def test_a_tied_weight_counts_at_its_first_place(tiny: Tiny) -> None:
    model, task = make("tied", tiny)
    for kind in (CFK, EUK):
        ours = unlearned(tiny, model, kind(steps=3, k=2), task=task)[0].model
        assert ours.second.weight is ours.first.weight
        assert torch.equal(ours.first.weight, model.first.weight)
        assert not torch.equal(ours.second.bias, model.second.bias)


@pytest.mark.parametrize("k", [1, 2])
def test_euk_first_step_by_hand(k: int, tiny: Tiny) -> None:
    tiny = in_double(tiny)
    result, read = unlearned(tiny, tiny.model, EUK(steps=1, batch=ALL, lr=0.3, k=k))
    fresh = fresh_model(tiny.task(), tiny.model, derive_seed(0, "euk", "fresh"))
    start, moves = tiny.fresh(), torch.zeros(len(flat(tiny.model)), dtype=torch.bool)
    last = [0, 2][-k:]
    for at in last:
        start[at].load_state_dict(fresh[at].state_dict())
    sizes = [p.numel() for p in start.parameters()]
    for at, part in zip((0, 0, 2, 2), moves.split(sizes), strict=True):
        part.fill_(at in last)
    down = slope(start, F.cross_entropy(start(tiny.x[read]), tiny.y[read])) * moves
    assert close(flat(result.model) - flat(start), -0.3 * down)
    assert torch.equal(flat(result.model)[~moves], flat(tiny.model)[~moves])


def test_euk_begins_the_last_layers_anew(tiny: Tiny) -> None:
    model, task = make("batch norm", tiny)
    method = EUK(steps=1, lr=1e-8, k=2, batch=ALL)
    result, read = unlearned(tiny, model, method, task=task)
    fresh = fresh_model(task, model, derive_seed(0, "euk", "fresh"))
    assert torch.allclose(result.model[5].weight, fresh[5].weight, atol=1e-6)
    assert not torch.allclose(result.model[5].weight, model[5].weight, atol=0.05)
    # its statistics too: one batch from a mean of zero, at a momentum of 0.1
    seen = model[1](tiny.x[read].view(-1, 1, 4, 4)).mean((0, 2, 3))
    assert torch.allclose(result.model[2].running_mean, 0.1 * seen, atol=1e-6)


def test_more_layers_than_there_are_is_all_of_them(tiny: Tiny) -> None:
    many = unlearned(tiny, tiny.model, CFK(steps=3, k=9))[0].model
    assert weights(many) == weights(unlearned(tiny, tiny.model, Finetune(steps=3))[0].model)


class Spare(nn.Module):
    """Its last layer is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.spare = mlp(), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def test_a_last_layer_that_is_not_used_is_reported(tiny: Tiny) -> None:
    with pytest.raises(RequestError, match="option k of cfk"):
        unlearned(tiny, Spare(), CFK(steps=1, k=1))


def test_fresh_values_of_another_network_are_refused(tiny: Tiny) -> None:
    with pytest.raises(RequestError, match="another network"):
        unlearned(tiny, tiny.model, EUK(steps=1), task=tiny.task(build_model=lambda: mlp(5)))


def test_frozen_gives_the_flags_back_after_an_error() -> None:
    parameters = list(cnn().parameters())
    with pytest.raises(ZeroDivisionError), frozen(parameters[:2]):
        assert [p.requires_grad for p in parameters[:3]] == [False, False, True]
        1 / 0  # noqa: B018
    assert all(p.requires_grad for p in parameters)
