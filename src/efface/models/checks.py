"""Checks of a model against a task's records: every problem is found before any work starts."""

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from efface.data.checks import Findings
from efface.data.contents import has_finite_inputs
from efface.data.records import Records
from efface.errors import describe_error
from efface.models.init import try_fresh, untrainable
from efface.models.running import all_finite, device_of, mode
from efface.models.wrappers import sharding_of
from efface.runtime.kinds import network_problem
from efface.runtime.seeds import seeded
from efface.task import Task


def check_model(model: nn.Module, task: Task, train: Records, found: Findings, finite: bool = True) -> int | None:
    """Check that a model returns logits for the task's records.

    Args:
        model: The model; it is run on two records.
        task: The task, for its hooks.
        train: The training records.
        found: Problems are added to this.
        finite: Whether the logits must be finite.

    Returns:
        The number of classes; None if the model returns no logits, or there are no records.
    """
    if problem := network_problem(model):
        found.problems.append(problem)
        return None
    if kind := sharding_of(model):
        found.problems.append(
            f"the model is shared out among processes ({kind}), and none has all of its weights: give the whole "
            "network, with a full state dict loaded into it"
        )
        return None
    if not list(model.parameters()):
        found.problems.append("the model has no parameters, so there is nothing to unlearn from")
        return None
    if any(is_lazy(t) for t in (*model.parameters(), *model.buffers())):
        found.problems.append("the model has lazy layers without a shape: run it on a batch of records first")
        return None
    if not all_finite(model):
        found.problems.append("the model's weights hold NaN or infinite values")
        return None
    if not len(train):
        return None
    batch = train.read([0, min(1, len(train) - 1)]).to(device_of(model))
    try:
        with mode(model, training=False), torch.no_grad():
            out = task.forward(model, batch.inputs)
    except Exception as error:  # a user's model may raise anything; report it in one line
        # nn.Module does not say which attribute it lacks but in the text
        wrapper = next((name for name in ("module", "_orig_mod") if f"no attribute '{name}'" in str(error)), None)
        advice = (
            "give Task.forward, Task.unpack or Task.collate"
            if wrapper is None
            else f"Task.forward gets the network within torch.compile or DataParallel: leave out .{wrapper}"
        )
        found.problems.append(f"the model cannot read the records ({describe_error(error)}): {advice}")
        return None
    if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != len(batch) or not out.is_floating_point():
        shape = f"a tensor of shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        found.problems.append(
            f"the model must return logits (records, classes); for 2 records it gave {shape}: give Task.forward"
        )
        return None
    if out.shape[1] < 2:
        found.problems.append(
            "the model returns one logit a record; two-class models need two logits: give Task.forward"
        )
        return None
    # inputs that are not finite are reported elsewhere
    if finite and not bool(out.isfinite().all()) and has_finite_inputs(batch):
        found.problems.append(
            "the model's logits hold NaN or infinite values: give a class that is masked a finite logit such as -1e4, "
            "in the model or by Task.forward"
        )
    return int(out.shape[1])


def check_trainable(model: nn.Module, found: Findings) -> None:
    """Check that Adam can train the model's weights; problems are added to `found`."""
    for line in untrainable(model):
        found.add_problem(line)


def check_fresh(model: nn.Module, task: Task, train: Records, classes: int | None, found: Findings) -> None:
    """Check that an untrained network can be made, and that one from Task.build_model fits the records and classes.

    Args:
        model: The original, whose architecture the network must have.
        task: The task.
        train: The training records.
        classes: The number of classes of the model; None if it is not known.
        found: Problems are added to this.
    """
    with seeded(0):
        network, problems = try_fresh(task, model)
        found.problems += problems
        if network is None or task.build_model is None:
            return
        of_network = Findings()
        built = check_model(network, task, train, of_network)
    if classes is not None and built is not None and built != classes:
        of_network.problems.append(f"its network has {built} classes where the model has {classes}")
    found.problems += [f"Task.build_model: {line}" for line in of_network.problems]
