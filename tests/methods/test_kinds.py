"""Methods on every kind of outputs: those that need no classes run on each, the others say that they cannot."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

import efface
from efface.data.records import Records
from efface.data.splits import make_splits
from efface.kinds import KINDS, kind_by_key
from efface.methods import REGISTRY
from efface.methods.base import Problem
from efface.methods.curvature import curvature_product, flat
from efface.models.running import all_finite
from efface.runtime.cost import Meter
from helpers.kinds import KEYS, tiny_kind
from helpers.method_table import CONVOLUTIONAL, SMALL
from helpers.tiny import bits

NEED_CLASSES = {
    "align",
    "align_gan",
    "bad_teacher",
    "boundary",
    "delete",
    "fcs",
    "game",
    "random_label",
    "regun",
    "salun",
    "scrub",
    "tmu",
}
# steer and retrain train further models, and are run with whole requests
RUN = sorted(set(SMALL) - NEED_CLASSES - {"steer", "retrain", "noop", *CONVOLUTIONAL})


def problem_of(key: str) -> Problem:
    """What a method would get of the tiny problem of a kind."""
    tiny = tiny_kind(key)
    task, original = tiny.task(kind=key), tiny.fresh()
    train, holdout = Records(task.train, task), Records(task.holdout, task)
    splits = make_splits(np.array(tiny.forget), len(train), len(holdout), seed=0)
    return Problem(
        task=task,
        given=task,
        model=copy.deepcopy(original),
        original=original,
        train=train,
        holdout=holdout,
        forget=splits.forget,
        retain=splits.retain,
        all_retain=splits.retain,
        calibration=splits.calibration,
        forget_classes=(),
        counterfactual=lambda: pytest.fail("the reference model is not for this method"),
        seed=0,
        meter=Meter(),
    )


def test_which_methods_need_classes() -> None:
    assert {key for key, method in REGISTRY.items() if method.needs_classes} == NEED_CLASSES


@pytest.mark.parametrize("key", KEYS)
def test_what_a_method_cannot_take_is_said(key: str) -> None:
    rules = KINDS[key]()
    refused = {name for name in REGISTRY if efface.methods.get(name).unfit_kind(rules)}
    expected = set() if rules.has_classes else NEED_CLASSES
    assert refused == expected | ({"influence", "gif"} if key == "tokens" else set())
    for name in refused:
        said = efface.methods.get(name).unfit_kind(rules)
        assert said is not None and said.startswith(name) and rules.title in said


@pytest.mark.parametrize("method", RUN)
@pytest.mark.parametrize("key", [k for k in KEYS if k != "classes"])
def test_methods_run_on_every_kind(key: str, method: str) -> None:
    made = efface.methods.get(method, SMALL[method])
    if made.unfit_kind(kind_by_key(key)):
        pytest.skip(f"{method} says that it cannot take it")
    problem = problem_of(key)
    kept = bits(problem.original)
    steps = list(made.run(problem))
    assert steps and steps[-1].is_eval_point and all(np.isfinite(step.loss) for step in steps)
    assert all_finite(problem.model) and bits(problem.original) == kept
    moved = zip(problem.model.parameters(), problem.original.parameters(), strict=True)
    assert any(not torch.equal(one, other) for one, other in moved)


@pytest.mark.parametrize("method", sorted(NEED_CLASSES))
def test_methods_that_need_classes_take_one_logit_and_float_targets(method: str) -> None:
    problem = problem_of("binary")
    floats = torch.utils.data.TensorDataset(
        problem.task.train.tensors[0],  # type: ignore[attr-defined]
        problem.task.train.tensors[1].float()[:, None],  # type: ignore[attr-defined]
    )
    problem = Problem(**{**vars(problem), "train": Records(floats, problem.task)})
    steps = list(efface.methods.get(method, SMALL[method]).run(problem))
    assert steps and all(np.isfinite(step.loss) for step in steps) and all_finite(problem.model)


@pytest.mark.parametrize("key", [k for k in KEYS if k != "tokens"])
def test_curvature_is_that_of_the_loss(key: str) -> None:
    """The product with the Hessian of the loss in the values is that of a matrix that torch makes."""
    rules, problem = kind_by_key(key), problem_of(key)
    batch = problem.train.read([1, 2, 3])
    with torch.no_grad():
        values = rules.values(problem.model(batch.inputs), batch.targets).double()
    labels = rules.labels(batch.targets)
    direction = torch.randn(values.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = rules.bend(values, labels, direction)
    for at in range(3):

        def loss(row: Tensor, at: int = at) -> Tensor:
            return rules.losses(row[None], labels[at : at + 1]).sum()

        hessian = torch.autograd.functional.hessian(loss, values[at])
        torch.testing.assert_close(found[at], hessian @ direction[at])
    with torch.enable_grad():
        vector = flat([torch.ones_like(w) for w in problem.trainable()])
        product = curvature_product(problem, batch, vector)
    assert float(product @ vector) >= 0 and bool(product.isfinite().all())
