"""msg: its first step by hand, which weights begin anew, and those that stay."""

import copy

import numpy as np
import pytest
import torch

from efface import RequestError
from efface.methods import MSG, Finetune
from efface.methods.msg import smallest
from efface.models.init import fresh_model
from efface.runtime.seeds import derive_seed
from helpers.by_hand import ALL, slopes, unlearned
from helpers.tiny import Tiny, mlp, weights


def test_msg_first_step_by_hand(tiny: Tiny) -> None:
    result, read = unlearned(tiny, tiny.model, MSG(steps=1, batch=ALL, lr=0.05, share=0.25, damp=0.2, decay=0.1))
    rng = np.random.default_rng(derive_seed(0, "msg", "sample"))
    sample = rng.permutation(read.numpy())[: len(tiny.forget)]
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
    g = slopes(model, tiny, read)
    assert result.model[0].weight.shape == begun[0].weight.shape
    for ours, w, slope, factor in zip(result.model.parameters(), begun.parameters(), g, factors, strict=True):
        assert torch.allclose(ours, w - 0.05 * (factor * slope + 0.1 * w), atol=1e-6)


def test_msg_without_a_factor_leaves_the_other_entries_where_they_are(tiny: Tiny) -> None:
    """Momentum does not move them either; the fresh ones learn."""
    done = unlearned(tiny, tiny.model, MSG(steps=6, share=0.5, damp=0.0, decay=0.0, lr=0.05))[0].model
    once = unlearned(tiny, tiny.model, MSG(steps=1, share=0.5, damp=0.0, decay=0.0, lr=1e-8))[0].model
    for at in (0, 2):
        stayed = done[at].weight == tiny.model[at].weight
        # a dead unit's entries are fresh and do not learn either, but they differ from the original's
        assert stayed.float().mean().item() == pytest.approx(0.5, abs=0.01)
        assert not torch.equal(done[at].weight, once[at].weight)
        assert not torch.equal(done[at].bias, tiny.model[at].bias)


def test_msg_that_begins_nothing_anew_is_finetune(tiny: Tiny) -> None:
    same, _ = unlearned(tiny, tiny.model, MSG(steps=3, share=0.0, damp=1.0, decay=0.0, lr=0.02))
    assert weights(same.model) == weights(unlearned(tiny, tiny.model, Finetune(steps=3, lr=0.02))[0].model)


def test_of_equal_differences_no_more_than_the_share_begin_anew() -> None:
    """As in an embedding, most of whose words no record of the sample has."""
    assert smallest(torch.zeros(10), 0.3).tolist() == [True] * 3 + [False] * 7
    assert smallest(torch.tensor([3.0, 0.0, 2.0, 1.0]), 0.5).tolist() == [False, True, False, True]
    assert not smallest(torch.zeros(4), 0.0).any()


def test_fresh_values_of_another_network_are_refused(tiny: Tiny) -> None:
    with pytest.raises(RequestError, match="another network"):
        unlearned(tiny, tiny.model, MSG(steps=1), task=tiny.task(build_model=lambda: mlp(5)))
