"""delete: its first step by hand, what it leaves out, and what it does to a class and to single records."""

import copy

import torch
from torch.utils.data import TensorDataset

from efface.methods import Delete
from efface.methods.delete import label_masked
from helpers.by_hand import ALL, problem_of, same, slow_kl, small, stepped, unlearned
from helpers.tiny import CLASSES, Tiny, memorise, mlp


def test_the_first_step_of_delete(tiny: Tiny) -> None:
    model, f = small(tiny), list(tiny.forget)
    result, _ = unlearned(tiny, model, Delete(steps=1, lr=0.05, batch=ALL))
    with torch.no_grad():
        target = model(tiny.x[f])
        target[torch.arange(len(f)), tiny.y[f]] = -1e10
    mine = copy.deepcopy(model)
    z = mine(tiny.x[f])
    # a class without probability adds nothing to the divergence, which slow_kl would take for 0 log 0
    others = torch.stack([torch.tensor([c for c in range(CLASSES) if c != y]) for y in tiny.y[f].tolist()])
    p = target.gather(1, others).softmax(1)
    loss = (p * (p.log() - z.log_softmax(1).gather(1, others))).sum(1).mean()
    stepped(mine, loss, 0.05)
    assert same(result.model, mine)


def test_the_other_classes_keep_their_proportions() -> None:
    z = torch.tensor([[2.0, 1.0, -1.0, 0.5], [0.0, 3.0, 1.0, -2.0]])
    left = label_masked(z, torch.tensor([0, 1]), (1,)).softmax(1)
    assert left[0, 0] == left[0, 1] == left[1, 1] == 0
    assert torch.allclose(left[0, 2:], z[0, 2:].softmax(0))
    assert torch.allclose(left[1, [0, 2, 3]], z[1, [0, 2, 3]].softmax(0))


def test_the_target_is_the_originals_whatever_the_copy_has_become(tiny: Tiny) -> None:
    """At its target the step stands still, so that a long run ends near it."""
    model, f = small(tiny), list(tiny.forget)
    result, _ = unlearned(tiny, model, Delete(steps=600, lr=0.2, batch=ALL))
    with torch.no_grad():
        before, after = model(tiny.x[f]), result.model(tiny.x[f])
    label = torch.nn.functional.one_hot(tiny.y[f], CLASSES).bool()
    assert after.softmax(1)[label].max() < 0.1 < 0.5 < before.softmax(1)[label].mean()
    wanted, reached = (z[~label].view(len(f), -1) for z in (before, after))
    assert slow_kl(wanted, reached, 1.0) < 0.05


def test_a_class_is_hardly_predicted_any_more_and_the_others_are(tiny: Tiny) -> None:
    x, y = tiny.x.clone(), tiny.y.clamp(max=1)
    x[:40, :3], y[:40] = x[:40, :3] - 3.0, 2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = memorise(mlp(), x, y)
    task = tiny.task(train=TensorDataset(x, y))
    result, _ = unlearned(tiny, model, Delete(steps=100), task=task, forget=range(40))
    with torch.no_grad():
        known, said = (m(x).argmax(1) for m in (model, result.model))
    assert (known[:40] == 2).all() and not (said[:40] == 2).any()
    assert (said[40:] == y[40:]).float().mean() > 0.9


def test_records_of_two_classes_that_go_are_not_taught_each_others(tiny: Tiny) -> None:
    problem = problem_of(tiny, small(tiny), forget_classes=(0, 1))
    for _ in Delete(steps=300, lr=0.2, batch=ALL).run(problem):
        pass
    with torch.no_grad():
        said = problem.model(tiny.x[list(tiny.forget)])
    gone = tiny.y[list(tiny.forget)] < 2
    assert bool(gone.any()) and (said[gone].argmax(1) == 2).all()
