"""Checks of a model against a task's records: every problem is found before any work starts."""

import torch
from torch import Tensor, nn

from efface.data.checks import Findings
from efface.data.records import Records
from efface.errors import describe_error, shorten
from efface.models.checkpoint import extra_state
from efface.models.init import try_fresh, untrainable
from efface.models.kind import outputs_problem
from efface.models.output_checks import check_outputs, is_linear, width_of
from efface.models.runnable import problem_before_a_pass
from efface.models.running import call_forward, device_of, mode
from efface.runtime.seeds import seeded
from efface.task import Task


def check_model(
    model: nn.Module,
    task: Task,
    train: Records,
    found: Findings,
    finite: bool = True,
    stable: bool = True,
    trained: bool = True,
) -> int | None:
    """Check that a model returns what the task's kind takes, and for each record the same whatever is read with it.

    Args:
        model: The model; it is run on a few dozen records.
        task: The task, for its hooks and its kind.
        train: The training records.
        found: Problems are added to this.
        finite: Whether the outputs must be finite.
        stable: Whether records are known to be the same when read twice.
        trained: Whether the model is trained.

    Returns:
        The width of the outputs, such as the number of classes; None if they are of another kind, or there are no
        records.
    """
    if problem := problem_before_a_pass(model):
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
    if problem := outputs_problem(model, task, train, out, batch.targets):
        found.problems.append(problem)
        return None
    assert isinstance(out, Tensor)
    check_outputs(model, task, train, found, finite, stable, trained)
    return width_of(out)


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


def check_fresh(model: nn.Module, task: Task, train: Records, width: int | None, found: Findings) -> None:
    """Check that an untrained network can be made, and that one from Task.build_model fits the records and outputs.

    Args:
        model: The original, whose architecture the network must have.
        task: The task.
        train: The training records.
        width: The width of the model's outputs; None if it is not known.
        found: Problems are added to this.
    """
    with seeded(0):
        network, problems = try_fresh(task, model)
        found.problems += problems
        if network is None or task.build_model is None:
            return
        of_network = Findings()
        built = check_model(network, task, train, of_network, trained=False)
    if width is not None and built is not None and built != width:
        of_network.problems.append(f"its network has {built} {task.rules.unit} where the model has {width}")
    # what its architecture shares with the model is said once
    found.problems += [f"Task.build_model: {line}" for line in of_network.problems if line not in found.problems]
