"""Methods for records that are parts of a structure: what each does, and what it refuses."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import efface
from efface.data.records import Records
from efface.methods import REGISTRY, Gif, GNNDelete
from efface.methods.base import Problem
from efface.methods.gnndelete import SMALL, DeletionOperator, add_operators
from efface.models.init import fresh_model
from efface.models.running import logits_of
from efface.models.training import Recipe, retrain
from efface.runtime.cost import Meter
from efface.runtime.seeds import derive_seed
from helpers.calls import unlearn
from helpers.method_table import IN_STRUCTURES
from helpers.neighbourhoods import NODES, TRAINED, Neighbours, classified, exact, linear, network
from helpers.tiny import REFERENCE, Tiny, bits, weights

FORGET = tuple(range(0, 36, 3))


def followed() -> nn.Sequential:
    """The network of the classes, with an operator after its first layer and one after its last."""
    model = network()
    add_operators(model, [model[0], model[2]], [32, 3], NODES)
    return model


@pytest.fixture(scope="module")
def world() -> tuple[nn.Module, efface.Task]:
    return classified(followed)


def run(world: tuple[nn.Module, efface.Task], method: str, **changes: Any) -> efface.Result:
    model, task = world
    made = efface.methods.get(method, IN_STRUCTURES[method])
    return unlearn(model, task=task, forget=FORGET, method=made, **{"reference": REFERENCE, **changes})


@pytest.mark.parametrize("method", IN_STRUCTURES)
def test_without_a_structure_they_refuse(method: str, tiny: Tiny) -> None:
    assert REGISTRY[method].needs_structure
    with pytest.raises(efface.RequestError, match=f"{method} is for records that are parts of a structure"):
        efface.check(tiny.model, task=tiny.task(), forget=[0], method=method)


@pytest.mark.parametrize("method", IN_STRUCTURES)
def test_the_callers_model_stays_and_a_seed_fixes_every_bit(method: str, world: tuple[nn.Module, efface.Task]) -> None:
    before = bits(world[0])
    one, again = (run(world, method, evaluate=False) for _ in range(2))
    assert bits(world[0]) == before and weights(one.model) == weights(again.model)
    assert (weights(one.model) == weights(world[0])) == (method == "utu")
    assert [p.requires_grad for p in one.model.parameters()] == [p.requires_grad for p in world[0].parameters()]
    for mine, theirs in zip(one.model.parameters(), world[0].parameters(), strict=True):
        assert mine.data_ptr() != theirs.data_ptr()


@pytest.mark.parametrize("method", [m for m in IN_STRUCTURES if m != "utu"])
def test_they_are_judged_as_other_methods_are(method: str, world: tuple[nn.Module, efface.Task]) -> None:
    evidence = run(world, method).evidence
    assert len(evidence.evaluations) >= 2 and evidence.reason


def test_an_operator_is_the_identity_until_it_is_given_rows() -> None:
    operator, h = DeletionOperator(3, 4), torch.randn(4, 3)
    assert operator(h) is h
    operator.moved[1] = True
    nn.init.constant_(operator.weight, 2.0)
    moved = operator(h)
    assert torch.allclose(moved[1], h[1] @ torch.full((3, 3), 2.0))
    others = [0, 2, 3]
    assert torch.equal(moved[others], h[others])


def test_operators_change_neither_outputs_nor_retraining(world: tuple[nn.Module, efface.Task]) -> None:
    model, plain = followed(), network()
    plain.load_state_dict({k.replace("layer.", ""): v for k, v in model.state_dict().items() if "operator" not in k})
    structure = world[1].structure
    assert structure is not None
    nodes = torch.arange(NODES)
    assert torch.equal(structure.forward(model, nodes), structure.forward(plain, nodes))
    fresh = fresh_model(world[1], world[0], 5)
    for module in fresh.modules():
        if isinstance(module, DeletionOperator):
            assert torch.equal(module.weight, torch.eye(len(module.weight))) and not module.moved.any()


def test_gnndelete_moves_only_rows_near_the_deletion_and_no_weight(world: tuple[nn.Module, efface.Task]) -> None:
    model, task = world
    result = run(world, "gnndelete", evaluate=False)
    was, now = dict(model.named_parameters()), dict(result.model.named_parameters())
    assert [n for n in was if not torch.equal(was[n], now[n])] == ["0.operator.weight", "2.operator.weight"]
    structure = task.structure
    assert isinstance(structure, Neighbours)
    first, last = (m for m in result.model.modules() if isinstance(m, DeletionOperator))
    at = np.array(FORGET)
    assert first.moved.nonzero().flatten().tolist() == structure.rows(at, 1).tolist()
    assert last.moved.nonzero().flatten().tolist() == structure.rows(at, 2).tolist()


def test_the_first_step_of_gnndelete_is_the_paper_s(world: tuple[nn.Module, efface.Task]) -> None:
    """The slope of both losses at the start, by hand for the first layer."""
    model, task = world
    structure = task.structure
    assert isinstance(structure, Neighbours)
    problem = problem_of(model, task)
    step = next(GNNDelete(steps=1, lr=1e-3).run(problem))
    ends, rows = np.array(FORGET), structure.rows(np.array(FORGET), 1)
    others = np.setdiff1d(rows, ends)
    layer = model[0].layer  # type: ignore[index,union-attr]
    before, after = (layer(s.features()).detach() for s in (structure, structure.after(ends)))  # type: ignore[attr-defined]
    weight = torch.full((32, 32), SMALL, requires_grad=True)
    drawn = np.random.default_rng(derive_seed(0, "gnndelete", "ends")).integers(0, NODES, len(ends))
    loss = 0.5 * F.mse_loss(after[ends] @ weight, before[drawn])
    loss = loss + 0.5 * F.mse_loss(after[others] @ weight, before[others])
    loss.backward()
    operator = next(m for m in problem.model.modules() if isinstance(m, DeletionOperator))
    # the first step of Adam goes as far as the rate, against the sign of the slope
    assert weight.grad is not None
    assert torch.allclose(operator.weight - SMALL, -1e-3 * weight.grad.sign(), atol=1e-5)
    assert step.loss > loss.item() > 0  # the loss of the second layer is added


def test_gnndelete_takes_a_model_with_operators_alone() -> None:
    model, task = classified(steps=20)
    with pytest.raises(efface.RequestError, match="gnndelete trains an operator after each layer"):
        efface.check(model, task=task, forget=FORGET, method="gnndelete")


def test_gif_is_exact_where_the_loss_is_quadratic_and_influence_is_not() -> None:
    """Least squares: one Newton step of the loss that is left, in the structure that is left, ends at its minimum."""
    made = exact()
    original = retrain(made.task, linear(), np.arange(TRAINED), 0, Meter(), Recipe())
    wanted = retrain(made.task, linear(), made.retain, 0, Meter(), Recipe())
    options = {"rounds": 1, "damping": 1e-9, "iterations": 200, "sample": TRAINED}
    problem = problem_of(original, made.task, made.forget)
    list(Gif(**options).run(problem))
    assert torch.allclose(problem.model.weight, wanted.weight, atol=1e-4)  # type: ignore[arg-type]
    other = problem_of(original, made.task, made.forget)
    list(efface.methods.Influence(**options).run(other))
    assert not torch.allclose(other.model.weight, wanted.weight, atol=1e-3)  # type: ignore[arg-type]


def test_utu_reads_the_original_in_the_structure_after_the_deletion(world: tuple[nn.Module, efface.Task]) -> None:
    result = run(world, "utu")
    task = result.task.after(np.array(FORGET))
    features = task.structure.features()  # type: ignore[union-attr]
    found = logits_of(task, result.model, Records(task.train, task), FORGET, Meter())
    assert torch.allclose(found, world[0](features)[list(FORGET)], atol=1e-6)


def problem_of(model: nn.Module, task: efface.Task, forget: Any = FORGET) -> Problem:
    after, at = task.after(np.array(forget)), np.array(forget)
    retain = np.setdiff1d(np.arange(TRAINED), at)
    return Problem(
        task=after,
        given=task,
        model=copy.deepcopy(model),
        original=model,
        train=Records(task.train, task),
        holdout=Records(task.holdout, task),
        forget=at,
        retain=retain,
        all_retain=retain,
        calibration=np.arange(60),
        forget_classes=(),
        counterfactual=lambda: pytest.fail("the reference model is not for this method"),
        seed=0,
        meter=Meter(),
    )
