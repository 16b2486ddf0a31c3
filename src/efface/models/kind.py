"""The kind of a task, found by what its model returns and what its targets are; refused where it must be stated."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from efface.data.records import Batch, Records
from efface.data.splits import spread
from efface.kinds import KINDS, SCOPE, Kind, find_kind, kinds_to_state
from efface.kinds.shapes import shape_of
from efface.models.output_checks import SAMPLE, wrong_shape
from efface.models.runnable import problem_before_a_pass
from efface.models.running import HELD, call_forward, device_of, mode
from efface.task import Task

MEASURED = 4096  # training records whose labels a kind measures
LOGIT_EACH = "; a model of several classes gives a logit for each of them"


def with_kind(model: nn.Module, task: Task, records: Records) -> Task:
    """The task with its kind, found where it is not stated, and with what the kind measures of training labels.

    Nothing is refused here: where the model or the records cannot be read, the checks say so.

    Args:
        model: The model.
        task: The task.
        records: The training records.

    Returns:
        The task; its `kind` is None if it could not be found.
    """
    if not len(records) or (task.kind is None and problem_before_a_pass(model)):
        return task
    try:
        kind = task.rules if task.kind is not None else _found(model, task, records)
        if kind is None:
            return task
        task = replace(task, kind=kind)
        if kind.needs_labels:
            labels = Records(records.dataset, task).targets(spread(len(records), MEASURED))
            task = replace(task, kind=kind.measured(labels))
    except Exception:  # a user's model and data may raise anything
        return task
    return task


def _found(model: nn.Module, task: Task, records: Records) -> Kind | None:
    batch, out = _sampled(model, task, records)
    return find_kind(out, batch.targets) if _is_float(out) else None


def _sampled(model: nn.Module, task: Task, records: Records) -> tuple[Batch, Tensor]:
    """Some records, on the model's device, and what the model returns for them; few where outputs are large."""
    with mode(model, training=False), torch.no_grad():
        batch = records.read(spread(len(records), 2)).to(device_of(model))
        out = call_forward(task, model, batch.inputs)
        most = min(SAMPLE, task.batch_size, HELD // max(1, out.numel() // len(batch)))
        if most > len(batch):
            batch = records.read(spread(len(records), most)).to(device_of(model))
            out = call_forward(task, model, batch.inputs)
    return batch, out


def outputs_problem(model: nn.Module, task: Task, records: Records, out: object, targets: Tensor) -> str | None:
    """Why a model's outputs are not what the task's kind takes; None if they may be.

    Where the kind is neither stated nor found, outputs that look like those of classes are left to the checks of
    targets, which say what classes must be.

    Args:
        model: The model.
        task: The task.
        records: The training records.
        out: What the model returned for some of them.
        targets: Their targets.
    """
    rules = task.rules
    if not isinstance(out, Tensor) or not out.is_floating_point():
        what = shape_of(out) if isinstance(out, Tensor) else type(out).__name__
        return (
            "the model must return logits (records, classes), or another tensor of floating-point numbers; for "
            f"{len(targets)} records it gave {what}: give Task.forward; {SCOPE}"
        )
    if rules.wrong_outputs(out, targets) is None:
        return None
    if task.kind is not None:
        return wrong_shape(out, targets, rules)
    try:  # two targets may be of other kinds than all are
        batch, out = _sampled(model, task, records)
        targets = batch.targets
    except Exception:  # some other record cannot be read, which is reported where all of them are
        pass
    seen = f"for {len(targets)} records the model gives {shape_of(out)}, and their targets are {shape_of(targets)}"
    if kinds := kinds_to_state(out, targets):
        may_be_classes = not targets.is_floating_point() and targets.ndim == 1
        return f"the kind of the task cannot be told: {seen}. State it: {kinds}{LOGIT_EACH * may_be_classes}"
    return f"{seen}, which fits no kind of task ({', '.join(KINDS)}): give Task.forward or Task.unpack; {SCOPE}"


def _is_float(out: object) -> bool:
    return isinstance(out, Tensor) and out.is_floating_point()
