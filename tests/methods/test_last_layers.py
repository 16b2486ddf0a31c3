"""Methods that begin a part of the weights anew or train a part of them: msg, cfk and euk."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import efface
from efface import RequestError
from efface.methods import CFK, EUK, MSG, Finetune, Method
from efface.methods.last_layers import frozen, layers
from efface.methods.msg import smallest
from efface.models.init import fresh_model
from efface.runtime.seeds import derive_seed
from helpers.networks import Tied, cnn, make
from helpers.tiny import CLASSES, FEATURES, Tiny, memorise, mlp, weights

ALL = 100_000  # a batch that takes every retain record, so that its order does not matter


def run(tiny: Tiny, method: Method, model: nn.Module | None = None, **task: Any) -> Any:
    chosen = tiny.model if model is None else model
    return efface.unlearn(
        chosen, forget=tiny.forget, task=tiny.task(**task), method=method, options=efface.UnlearnOptions(evaluate=False)
    )


def read(result: Any) -> Any:
    return np.setdiff1d(result.splits.retain, result.splits.audit_reference)


def slopes(model: nn.Module, tiny: Tiny, rows: Any) -> list[Tensor]:
    loss = F.cross_entropy(model(tiny.x[list(rows)]), tiny.y[list(rows)])
    return list(torch.autograd.grad(loss, list(model.parameters())))


def test_msg_first_step_by_hand(tiny: Tiny) -> None:
    result = run(tiny, MSG(steps=1, batch=ALL, lr=0.05, share=0.25, damp=0.2, decay=0.1))
    rng = np.random.default_rng(derive_seed(0, "msg", "sample"))
    sample = rng.permutation(read(result))[: len(tiny.forget)]
    fresh = fresh_model(tiny.task(), tiny.model, derive_seed(0, "msg", "fresh"))
    model, factors = tiny.fresh(), []
    pairs = zip(slopes(model, tiny, sample), slopes(model, tiny, tiny.forget), strict=True)
    with torch.no_grad():
        for (g_r, g_f), w, new in zip(pairs, model.parameters(), fresh.parameters(), strict=True):
            factor = torch.ones_like(w)
            if w.dim() == 2:
                gaps = (g_r - g_f).abs().reshape(-1).tolist()
                order = sorted(range(len(gaps)), key=lambda i: gaps[i])
                anew = set(order[: round(0.25 * len(gaps))])
                for i in range(len(gaps)):
                    if i in anew:
                        w.view(-1)[i] = new.view(-1)[i]
                    else:
                        factor.view(-1)[i] = 0.2
            factors.append(factor)
        begun = copy.deepcopy(model)
    g = slopes(model, tiny, read(result))
    assert result.model[0].weight.shape == begun[0].weight.shape
    for ours, w, slope, factor in zip(result.model.parameters(), begun.parameters(), g, factors, strict=True):
        assert torch.allclose(ours, w - 0.05 * (factor * slope + 0.1 * w), atol=1e-6)


def test_msg_without_a_factor_leaves_the_other_entries_where_they_are(tiny: Tiny) -> None:
    """Momentum does not move them either; the fresh ones learn."""
    done = run(tiny, MSG(steps=6, share=0.5, damp=0.0, decay=0.0, lr=0.05)).model
    once = run(tiny, MSG(steps=1, share=0.5, damp=0.0, decay=0.0, lr=1e-8)).model
    for at in (0, 2):
        stayed = done[at].weight == tiny.model[at].weight
        # a dead unit's entries are fresh and do not learn either, but they differ from the original's
        assert stayed.float().mean().item() == pytest.approx(0.5, abs=0.01)
        assert not torch.equal(done[at].weight, once[at].weight)
        assert not torch.equal(done[at].bias, tiny.model[at].bias)


def test_msg_that_begins_nothing_anew_is_finetune(tiny: Tiny) -> None:
    plain = run(tiny, MSG(steps=3, share=0.0, damp=1.0, decay=0.0, lr=0.02))
    assert weights(plain.model) == weights(run(tiny, Finetune(steps=3, lr=0.02)).model)


def test_of_equal_differences_no_more_than_the_share_begin_anew() -> None:
    """As in an embedding, most of whose words no record of the sample has."""
    assert smallest(torch.zeros(10), 0.3).tolist() == [True] * 3 + [False] * 7
    assert smallest(torch.tensor([3.0, 0.0, 2.0, 1.0]), 0.5).tolist() == [False, True, False, True]
    assert not smallest(torch.zeros(4), 0.0).any()


def test_a_layer_is_a_module_with_weights_of_its_own_that_may_move() -> None:
    model = Tied()
    found = layers(model)
    assert list(found) == [model.first, model.second, model.head]
    assert found[model.first][0] is model.first.weight
    assert found[model.second] == [model.second.bias]
    model.head.requires_grad_(False)
    assert list(layers(model)) == [model.first, model.second]


def test_cfk_first_step_by_hand(tiny: Tiny) -> None:
    result = run(tiny, CFK(steps=1, batch=ALL, lr=0.05, k=1))
    g = slopes(tiny.fresh(), tiny, read(result))
    for ours, w, slope, moves in zip(
        result.model.parameters(), tiny.model.parameters(), g, (False, False, True, True), strict=True
    ):
        assert torch.allclose(ours, w - 0.05 * slope * moves, atol=1e-6)


@pytest.mark.parametrize("kind", [CFK, EUK])
def test_what_comes_before_the_last_layers_stays_bit_for_bit(kind: type[CFK | EUK], tiny: Tiny) -> None:
    model, task = make("batch norm", tiny)
    for k, stays in ((1, ("1.", "2.")), (2, ("1.",))):
        result = efface.unlearn(
            model,
            forget=tiny.forget,
            task=task,
            method=kind(steps=5, k=k),
            options=efface.UnlearnOptions(evaluate=False),
        )
        before, after = weights(model), weights(result.model)
        assert {n for n in after if after[n] == before[n]} == {n for n in after if n.startswith(stays)}
        assert all(p.requires_grad for p in result.model.parameters())


def test_a_frozen_norm_among_the_last_layers_keeps_its_statistics(tiny: Tiny) -> None:
    model, task = make("batch norm", tiny)
    model[2].requires_grad_(False)
    ours = efface.unlearn(
        model, forget=tiny.forget, task=task, method=CFK(steps=3, k=2), options=efface.UnlearnOptions(evaluate=False)
    ).model
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
        found.append([weights(run(tiny, CFK(steps=3, k=k), model).model) for k in (1, 2)])
    assert found[0][0] == found[1][0]
    assert found[0][1] != found[1][1]


def test_a_tied_weight_counts_at_its_first_place(tiny: Tiny) -> None:
    model, task = make("tied", tiny)
    for kind in (CFK, EUK):
        ours = efface.unlearn(
            model,
            forget=tiny.forget,
            task=task,
            method=kind(steps=3, k=2),
            options=efface.UnlearnOptions(evaluate=False),
        ).model
        assert ours.second.weight is ours.first.weight
        assert torch.equal(ours.first.weight, model.first.weight)
        assert not torch.equal(ours.second.bias, model.second.bias)


def test_euk_begins_the_last_layers_anew(tiny: Tiny) -> None:
    model, task = make("batch norm", tiny)
    method = EUK(steps=1, lr=1e-8, k=2, batch=ALL)
    result = efface.unlearn(
        model, forget=tiny.forget, task=task, method=method, options=efface.UnlearnOptions(evaluate=False)
    )
    fresh = fresh_model(task, model, derive_seed(0, "euk", "fresh"))
    assert torch.allclose(result.model[5].weight, fresh[5].weight, atol=1e-6)
    assert not torch.allclose(result.model[5].weight, model[5].weight, atol=0.05)
    # its statistics too: one batch from a mean of zero, at a momentum of 0.1
    seen = model[1](tiny.x[torch.from_numpy(read(result))].view(-1, 1, 4, 4)).mean((0, 2, 3))
    assert torch.allclose(result.model[2].running_mean, 0.1 * seen, atol=1e-6)


def test_more_layers_than_there_are_is_all_of_them(tiny: Tiny) -> None:
    many = run(tiny, CFK(steps=3, k=9)).model
    assert weights(many) == weights(run(tiny, Finetune(steps=3)).model)


class Spare(nn.Module):
    """Its last layer is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.spare = mlp(), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def test_a_last_layer_that_is_not_used_is_told(tiny: Tiny) -> None:
    with pytest.raises(RequestError, match="option k of cfk"):
        run(tiny, CFK(steps=1, k=1), Spare())


@pytest.mark.parametrize("method", [EUK(steps=1), MSG(steps=1)])
def test_fresh_values_of_another_network_are_refused(method: Method, tiny: Tiny) -> None:
    with pytest.raises(RequestError, match="another network"):
        run(tiny, method, build_model=lambda: mlp(5))


def test_frozen_gives_the_flags_back_after_an_error() -> None:
    parameters = list(cnn().parameters())
    with pytest.raises(ZeroDivisionError), frozen(parameters[:2]):
        assert [p.requires_grad for p in parameters[:3]] == [False, False, True]
        1 / 0  # noqa: B018
    assert all(p.requires_grad for p in parameters)
