"""What is stored of each method: its run on a fixed problem, by its options of the contract table."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

import efface
from efface.methods import Method
from helpers.calls import unlearn
from helpers.fixed_problems import REFERENCE, Fixed, few_pictures, few_records
from helpers.method_table import CONVOLUTIONAL, SMALL
from helpers.stored import Case, Number, of_tree

# Where the contract table's options leave part of a method idle on this problem: batches that take all forget records,
# checkpoints that are never gone back to, a threshold that takes every weight.
LIVELIER: dict[str, dict[str, str]] = {
    "steer": {"batch_forget": "16", "passes": "1"},
    "boundary": {"batch": "16"},
    "fnn": {"decays": "3"},
    "scrub": {"lr": "1e-2", "batch": "16", "steps": "10", "every": "10"},
    "ssd": {"select": "1.5", "dampen": "1"},
    "delete": {"batch": "16"},
    "regun": {"batch": "16"},
    "sfron": {"batch": "16"},
}
SHOWN = 20  # forget and as many holdout records whose margins are stored


def small(name: str) -> Method:
    """The method by small options."""
    return efface.methods.get(name, SMALL[name] | LIVELIER.get(name, {}))


def run_case(name: str) -> Case:
    """Weights at the step limit, by what they say, and what the stop rule saw in a run of its own."""
    method = small(name)
    try:
        seen = _unlearned(method).evidence
    except efface.NothingUnlearnedError as nothing:  # some can keep no step here, which is stored too
        seen = nothing.evidence
    evaluations = [
        {
            "step": evaluation.step,
            "auc": {"value": evaluation.auc.value, "low": evaluation.auc.low, "high": evaluation.auc.high},
            "accuracy change": evaluation.accuracy_change.value,
            "loss": evaluation.loss,
        }
        for evaluation in seen.evaluations
    ]
    ended = {"outcome": str(seen.outcome), "chosen step": seen.chosen_step, "evaluation": evaluations}
    return of_tree({**weights_of(method), **ended}, method.version)


def weights_of(method: Method, seed: int = 0) -> dict[str, list[Number]]:
    """What the weights at the step limit changed: margins of some records, and the norm of each tensor's change.

    Changes, since a method that moves little hides behind what the original said already.
    """
    given, model = problem_for(method), _unlearned(method, seed=seed, evaluate=False).model
    (x, y), held = given.task.train.tensors, given.task.holdout.tensors  # type: ignore[attr-defined]
    at = torch.tensor(given.forget[:SHOWN])
    places = {"forget": (x[at], y[at]), "holdout": (held[0][:SHOWN], held[1][:SHOWN])}
    parts = {"parameters": nn.Module.named_parameters, "buffers": nn.Module.named_buffers}
    return {
        **{
            f"margins of {place} records": (_margins(model, *here) - _margins(given.original, *here)).tolist()
            for place, here in places.items()
        },
        **{
            f"norms of {kind}": [float((b - a).norm()) for a, b in _pairs(read, given.original, model)]
            for kind, read in parts.items()
        },
    }


def problem_for(method: Method) -> Fixed:
    """The fixed problem, with a network that the method takes."""
    return few_pictures() if method.key in CONVOLUTIONAL else few_records()


def _unlearned(method: Method, **changes: Any) -> efface.Result:
    given = problem_for(method)
    task = replace(given.task, fit=None)  # so that retraining is by the method's own recipe
    return unlearn(given.original, forget=given.forget, task=task, method=method, reference=REFERENCE, **changes)


@torch.no_grad()
def _margins(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Logit of the label less the log-sum-exp of the others."""
    z, label = model(x), y[:, None]
    margins: Tensor = z.gather(1, label)[:, 0] - z.scatter(1, label, -torch.inf).logsumexp(1)
    return margins


def _pairs(
    read: Callable[[nn.Module], Iterator[tuple[str, Tensor]]], *models: nn.Module
) -> Iterator[tuple[Tensor, ...]]:
    """The same float tensor of each model."""
    for named in zip(*(read(m) for m in models), strict=True):
        if named[0][1].is_floating_point():
            yield tuple(t.detach() for _, t in named)
