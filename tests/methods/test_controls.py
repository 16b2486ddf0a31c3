"""The controls: noop changes nothing, and retrain trains an untrained network on the whole retain set."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from efface import Recipe
from efface.methods import Noop, Retrain
from efface.models.init import fresh_model
from efface.models.training import retrain
from efface.runtime.cost import Meter
from efface.runtime.seeds import derive_seed
from helpers.by_hand import close, flat, in_double, slope, unlearned
from helpers.tiny import Tiny, weights


def test_noop_gives_the_same_weights_in_another_model(tiny: Tiny) -> None:
    result, _ = unlearned(tiny, tiny.model, Noop())
    assert weights(result.model) == weights(tiny.model) and result.model is not tiny.model
    ran = [phase for name, phase in result.cost.phases.items() if name != "checks"]
    assert (result.evidence.chosen_step, sum(p.forward + p.backward for p in ran)) == (0, 0)


def one_step(model: nn.Module, dataset: Any, seed: int) -> None:
    """A step of gradient descent on all records at once."""
    [(x, y)] = DataLoader(dataset, batch_size=len(dataset))
    F.cross_entropy(model(x), y).backward()
    with torch.no_grad():
        for p in model.parameters():
            assert p.grad is not None
            p -= 0.3 * p.grad


def test_retrain_by_a_users_own_step_is_that_step_from_an_untrained_network(tiny: Tiny) -> None:
    tiny = in_double(tiny)
    task = tiny.task(fit=one_step)
    result, _ = unlearned(tiny, tiny.model, Retrain(), task=task)
    kept = torch.from_numpy(result.splits.retain)
    assert len(kept) == len(tiny.x) - len(tiny.forget), "the audit's records too"
    start = fresh_model(task, tiny.model, derive_seed(0, "retrain"))
    down = slope(start, F.cross_entropy(start(tiny.x[kept]), tiny.y[kept]))
    assert close(flat(result.model) - flat(start), -0.3 * down)


def test_retrain_by_the_default_recipe_has_its_options(tiny: Tiny) -> None:
    result, _ = unlearned(tiny, tiny.model, Retrain(epochs=2, lr=3e-3))
    kept = np.setdiff1d(np.arange(len(tiny.x)), tiny.forget)
    recipe = Recipe(epochs=2, lr=3e-3, batch=128)
    wanted = retrain(tiny.task(), tiny.model, kept, derive_seed(0, "retrain"), Meter(), recipe)
    assert weights(result.model) == weights(wanted)
    wanted_line = "by a stock recipe (Adam, 2 epochs, learning rate 0.003), not its own"
    assert [w for w in result.warnings if wanted_line in w]
    assert not Retrain().warnings(tiny.task(fit=one_step)) and not Noop().warnings(tiny.task())
