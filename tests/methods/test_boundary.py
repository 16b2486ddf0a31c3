"""Boundary's two moves by hand: towards the nearest other class, and towards a class that is dropped."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efface import RequestError
from efface.methods import Boundary
from efface.methods.boundary import nearest_other
from efface.runtime.seeds import derive_seed
from helpers.by_hand import problem_of, same, stepped, unlearned
from helpers.networks import make
from helpers.tiny import CLASSES, Tiny, bits, weights


def best_other(z: Tensor, y: int, never: tuple[int, ...] = ()) -> int:
    return max((c for c in range(len(z)) if c != y and c not in never), key=lambda c: z[c].item())


def slow_labels(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, never: tuple[int, ...] = ()) -> list[int]:
    """The nearest other class, record by record."""
    found = []
    for one, target in zip(x, y, strict=True):
        start = one[None].clone().requires_grad_()
        (slope,) = torch.autograd.grad(F.cross_entropy(model(start), target[None]), start)
        found.append(best_other(model(one[None] + epsilon * slope.sign())[0], int(target), never))
    return found


def test_shrink_descends_on_the_nearest_other_class(tiny: Tiny) -> None:
    x, y = tiny.x[list(tiny.forget)], tiny.y[list(tiny.forget)]
    labels = torch.tensor(slow_labels(tiny.model, x, y, 2.0))
    assert labels.tolist() != slow_labels(tiny.model, x, y, 0.0)
    wanted = tiny.fresh()
    stepped(wanted, F.cross_entropy(wanted(x), labels), 0.1)
    assert same(unlearned(tiny, tiny.model, Boundary(steps=1, lr=0.1, epsilon=2.0))[0].model, wanted)


@pytest.mark.parametrize("forget_classes", [(), (1,), (1, 2)])
def test_no_record_gets_its_own_class_or_a_forgotten_one(forget_classes: tuple[int, ...], tiny: Tiny) -> None:
    problem, before = problem_of(tiny, tiny.model, forget_classes=forget_classes), bits(tiny.model)
    batch = problem.train.read(problem.retain)
    labels = nearest_other(problem, batch, 0.5)
    assert not bool((labels == batch.targets).any())
    # a record may be of the only class that is left
    free = torch.tensor([len({*forget_classes, int(t)}) < CLASSES for t in batch.targets])
    assert labels[free].tolist() == slow_labels(
        tiny.model, batch.inputs[free], batch.targets[free], 0.5, forget_classes
    )
    assert bits(tiny.model) == before
    cost = problem.meter.cost().total
    assert (cost.forward, cost.backward) == (2 * len(batch), len(batch))


def test_words_have_no_gradient_and_keep_their_place(tiny: Tiny) -> None:
    model, task = make("words", tiny)
    problem = problem_of(tiny, model, task)
    batch = problem.train.read(problem.forget)
    nearest = [best_other(z, int(y)) for z, y in zip(model(batch.inputs), batch.targets, strict=True)]
    assert nearest_other(problem, batch, 5.0).tolist() == nearest


def test_expand_is_descent_on_a_wider_layer_that_is_dropped(tiny: Tiny) -> None:
    x, method = tiny.x[list(tiny.forget)], Boundary(expand=True, steps=3, lr=0.05)
    wide, head = tiny.fresh(), nn.Linear(48, CLASSES + 1)
    drawn = torch.Generator().manual_seed(derive_seed(0, "boundary", "shadow"))
    with torch.no_grad():
        row = (2 / (48 + CLASSES + 1)) ** 0.5 * torch.randn(1, 48, generator=drawn)
        head.weight.copy_(torch.cat([wide[2].weight, row]))
        head.bias.copy_(torch.cat([wide[2].bias, torch.zeros(1)]))
    wide[2] = head
    optimiser = torch.optim.SGD(wide.parameters(), lr=0.05, momentum=0.9)
    for _ in range(3):
        optimiser.zero_grad()
        F.cross_entropy(wide(x), torch.full((len(x),), CLASSES)).backward()
        optimiser.step()
    ours = unlearned(tiny, tiny.model, method)[0].model
    assert torch.allclose(ours[0].weight, wide[0].weight, atol=1e-5)
    assert torch.allclose(ours[2].weight, head.weight[:CLASSES], atol=1e-5)
    assert torch.allclose(ours[2].bias, head.bias[:CLASSES], atol=1e-5)
    assert ours[2].weight.shape == (CLASSES, 48) and not ours[2]._forward_pre_hooks


def test_expand_refuses_a_model_whose_logits_no_layer_gives(tiny: Tiny) -> None:
    model = nn.Sequential(tiny.fresh(), nn.LogSoftmax(1))
    with pytest.raises(RequestError, match="no linear layer of the model gives its logits"):
        unlearned(tiny, model, Boundary(expand=True))[0]
    assert weights(unlearned(tiny, model, Boundary(steps=2))[0].model) != weights(model)
