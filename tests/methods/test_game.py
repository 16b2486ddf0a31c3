"""The moves of the leader and the follower by hand, and what comes of them."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import TensorDataset

from efface.methods import Game
from efface.methods.adversarial import discriminator
from efface.methods.align import energy_distance
from efface.runtime.seeds import derive_seed, seeded
from helpers.by_hand import ALL, outputs, problem_of, read_by, same, slow_label_first, stepped, unlearned
from helpers.tiny import CLASSES, Tiny, bits, weights


def test_the_moves_of_the_game(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    never = torch.from_numpy(problem_of(tiny, tiny.model).calibration)
    wanted_p = torch.rand(len(never), CLASSES, generator=torch.Generator().manual_seed(0)).softmax(1)
    monkeypatch.setattr(Game, "alternative", lambda self, problem: wanted_p)
    options: dict[str, Any] = {"batch": ALL, "momentum": 0.0, "lr": 0.1, "match": 3.0, "leak": 2.0, "turns": 2}
    one, two = (unlearned(tiny, tiny.model, Game(steps=n, width=8, **options))[0] for n in (1, 2))
    assert np.array_equal(two.splits.calibration, never.numpy())
    kept, f, model = read_by(one), list(tiny.forget), tiny.fresh()
    x, y, x_never, y_never = tiny.x[kept], tiny.y[kept], tiny.holdout_x[never], tiny.holdout_y[never]
    apart = sum((model(x_never).softmax(1)[i] - wanted_p[i]).square().sum() for i in range(len(never))) / len(never)
    stepped(model, F.cross_entropy(model(x), y) + 3.0 * apart, 0.1)
    assert same(one.model, model)

    start = slow_label_first(tiny.model(x_never), y_never).detach()
    with seeded(derive_seed(0, "game", "attack")):
        attack = discriminator(CLASSES, 8)

    def says(z: Tensor) -> Tensor:
        return attack((z - start.mean(0)) / start.std(0, correction=0))[:, 0].sigmoid()

    adam = torch.optim.Adam(attack.parameters(), lr=3e-3)
    forgotten, others = (
        slow_label_first(model(tiny.x[f]), tiny.y[f]),
        slow_label_first(model(x_never), y_never).detach(),
    )
    for _ in range(2):
        adam.zero_grad()
        (-(1 - says(forgotten.detach())).log().mean() - says(others).log().mean()).backward()
        adam.step()
    stepped(model, -2.0 * says(forgotten).log().mean(), 0.1)
    assert same(two.model, model, atol=1e-5)


def test_the_alternative_never_sees_the_forget_set(tiny: Tiny) -> None:
    read: set[int] = set()

    class Spy(TensorDataset):
        def __getitem__(self, at: int) -> tuple[Tensor, ...]:
            read.add(int(at))
            return super().__getitem__(at)

    problem = problem_of(tiny, tiny.model, tiny.task(train=Spy(tiny.x, tiny.y)))
    before = bits(tiny.model)
    found = Game(passes=2).alternative(problem)
    assert read == set(problem.retain.tolist())
    assert bits(tiny.model) == before and weights(problem.model) == weights(tiny.model)
    right = found.argmax(1) == tiny.holdout_y[torch.from_numpy(problem.calibration)]
    assert right.float().mean() > 0.6 and torch.allclose(found.sum(1), torch.ones(len(found)))


def test_the_follower_makes_forget_records_look_never_seen(tiny: Tiny) -> None:
    runs = [unlearned(tiny, tiny.model, Game(leak=leak))[0] for leak in (0.0, 1.0)]
    # holdout records that the method did not use
    audit, f = torch.from_numpy(runs[0].splits.audit), list(tiny.forget)
    unseen = outputs(tiny.model, tiny.holdout_x[audit], tiny.holdout_y[audit])
    open_, hidden = (energy_distance(outputs(r.model, tiny.x[f], tiny.y[f]), unseen).item() for r in runs)
    assert hidden < 0.7 * open_
