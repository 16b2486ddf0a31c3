"""Checks of a model against a task's records: every problem is found before any work starts."""

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from efface.data.checks import Findings
from efface.data.records import Records
from efface.errors import describe_error, shorten
from efface.models.checkpoint import extra_state, strange_state
from efface.models.init import try_fresh, untrainable
from efface.models.output_checks import check_outputs, is_linear, wrong_shape
from efface.models.running import all_finite, call_forward, device_of, mode
from efface.models.wrappers import sharding_of
from efface.runtime.kinds import network_problem
from efface.runtime.seeds import seeded
from efface.task import Task

MANY = 64  # records whose outputs tell probabilities from logits


def check_model(
    model: nn.Module, task: Task, train: Records, found: Findings, finite: bool = True, stable: bool = True
) -> int | None:
    """Check that a model returns logits for the task's records, and for each record the same whatever is read with it.

    Args:
        model: The model; it is run on a few dozen records.
        task: The task, for its hooks.
        train: The training records.
        found: Problems are added to this.
        finite: Whether the logits must be finite.
        stable: Whether records are known to be the same when read twice.

    Returns:
        The number of classes; None if the model returns no logits, or there are no records.
    """
    if problem := _problem_before_a_pass(model):
        found.problems.append(problem)
        return None
    if not len(train):
        return None
    batch = train.read([0, min(1, len(train) - 1)]).to(device_of(model))
    try:
        with mode(model, training=False), torch.no_grad():
            out = call_forward(task, model, batch.inputs)
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
    if isinstance(out, Tensor) and out.is_floating_point() and out.shape in {(len(batch),), (len(batch), 1)}:
        found.problems.append(_one_output(model, task, train, out))
        return None
    if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != len(batch) or not out.is_floating_point():
        found.problems.append(wrong_shape(out, 2))
        return None
    if out.shape[1] < 2:
        found.problems.append("the model returns no logits: (records, 0)")
        return None
    check_outputs(model, task, train, found, finite, stable)
    return int(out.shape[1])


def _one_output(model: nn.Module, task: Task, train: Records, out: Tensor) -> str:
    """The line of a refusal of a model with one output a record, with what makes two logits of it."""
    with mode(model, training=False), torch.no_grad():
        try:  # two logits may lie between 0 and 1 by chance
            some = train.read(range(min(MANY, len(train)))).to(device_of(model))
            values = call_forward(task, model, some.inputs)
        except Exception:  # some other record cannot be read, which is reported where all of them are
            values = out
    output = "model(inputs)" if out.ndim == 2 else "model(inputs)[:, None]"
    what = "one logit a record"
    if bool(((values >= 0) & (values <= 1)).all()):
        what, output = "one probability a record, as a sigmoid at its end does", f"torch.logit({output}, eps=1e-6)"
    return (
        f"the model returns {what}; two-class models need two logits. If it is that of class 1, give "
        f"Task.forward=lambda model, inputs: torch.nn.functional.pad({output}, (1, 0)); a number to predict is no class"
    )


def _problem_before_a_pass(model: nn.Module) -> str | None:
    """Why a model cannot be used, as far as its weights show it; None if it may be."""
    if problem := network_problem(model):
        return problem
    if kind := sharding_of(model):
        return (
            f"the model is shared out among processes ({kind}), and none has all of its weights: give the whole "
            "network, with a full state dict loaded into it"
        )
    if not list(model.parameters()):
        return "the model has no parameters, so there is nothing to unlearn from"
    if any(is_lazy(t) for t in (*model.parameters(), *model.buffers())):
        return "the model has lazy layers without a shape: run it on a batch of records first"
    if odd := strange_state(model):
        return f"the model's state holds sparse, quantised or meta tensors ({shorten(odd, show=str)}): use dense ones"
    return None if all_finite(model) else "the model's weights hold NaN or infinite values"


def check_trainable(model: nn.Module, found: Findings) -> None:
    """Check that Adam can train the model's weights; problems are added to `found`."""
    for line in untrainable(model):
        found.add_problem(line)


def note_training(model: nn.Module, task: Task, train: Records, found: Findings) -> None:
    """Note what to know of a model that is to be changed: frozen or linear, or with state that no file can hold.

    Args:
        model: A model that has passed its checks.
        task: The task, for its hooks.
        train: The training records.
        found: Warnings are added to this.
    """
    weights = [p for p in model.parameters() if p.is_floating_point() or p.is_complex()]
    total, learning = sum(p.numel() for p in weights), sum(p.numel() for p in weights if p.requires_grad)
    if not learning:
        found.warnings.append(
            "all parameters of the model are frozen (requires_grad=False), so all are changed, and frozen again"
        )
    elif learning <= total / 2:
        found.warnings.append(
            f"only {learning:,} of the model's {total:,} parameters are trainable (requires_grad=True) and may change: "
            "what the others hold of the forget records stays"
        )
    if is_linear(model, task, train):
        found.warnings.append(
            "the model is linear, or learns only a linear layer: its weights hold all that it knows of a record, so "
            "targets come out too low and forgetting is incomplete; train it again without the records"
        )
    if names := extra_state(model):
        found.warnings.append(
            f"the model has state that is no tensor ({shorten(names, show=str)}): the unlearned model in memory keeps "
            "it as it is, a weights file cannot hold it"
        )


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
    # what its architecture shares with the model is said once
    found.problems += [f"Task.build_model: {line}" for line in of_network.problems if line not in found.problems]
