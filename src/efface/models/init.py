"""Making untrained networks with the architecture of a given one."""

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from efface.errors import RequestError, describe_error, shorten
from efface.models.running import copy_model, device_of
from efface.models.wrappers import plain_network
from efface.runtime.kinds import network_problem, or_by_integration
from efface.runtime.seeds import seeded
from efface.task import Task


def fresh_model(task: Task, original: nn.Module, seed: int) -> nn.Module:
    """Make an untrained network with the architecture, device and dtypes of `original`.

    It comes from `Task.build_model` if there is one; otherwise it is a deep copy whose modules reset their parameters.

    Args:
        task: The task.
        original: The model.
        seed: Seed of the initial weights.

    Returns:
        A new network, which nobody else holds.

    Raises:
        RequestError: No such network can be made; with all reasons.
    """
    with seeded(seed):
        model, problems = try_fresh(task, original)
    if model is None:
        raise RequestError(problems)
    return model


def try_fresh(task: Task, original: nn.Module) -> tuple[nn.Module | None, list[str]]:
    """Try to make an untrained network as `fresh_model` does, with weights from the global random generators.

    Args:
        task: The task.
        original: The model.

    Returns:
        The network and an empty list, or None and the reasons why there is none.
    """
    if problems := untrainable(original):
        return None, problems
    if task.build_model is not None:
        return _built(task.build_model, original)
    if task.fine_tuned:
        return None, ["the model was fine-tuned, so a fresh start needs its pretrained weights: give Task.build_model"]
    try:
        return _reset(original)
    except Exception as error:  # for example a reset_parameters that needs an argument
        return None, [f"the model cannot be copied and reset ({describe_error(error)}): give Task.build_model"]


def untrainable(model: nn.Module) -> list[str]:
    """Reasons why the default recipe cannot train the model's weights; empty if it can."""
    if any(getattr(m, "sparse", None) is True for m in model.modules()):
        return ["layers with sparse gradients cannot be trained by Adam: make the embeddings with sparse=False"]
    if not any(p.dtype == torch.float16 for p in model.parameters()):
        return []
    # Adam's squared gradients underflow in float16
    return ["float16 weights cannot be trained: convert with model.float() or model.bfloat16(), and back afterwards"]


def _built(build: Callable[[], nn.Module], original: nn.Module) -> tuple[nn.Module | None, list[str]]:
    try:
        given = build()
    except Exception as error:
        return None, [f"Task.build_model raised {describe_error(error)}"]
    if isinstance(given, nn.Module):
        try:
            given = plain_network(given)
        except RequestError as error:
            return None, [f"Task.build_model: {line}" for line in error.problems]
    if problem := network_problem(given):
        return None, [f"Task.build_model: {problem}"]
    if given is original or {id(p) for p in given.parameters()} & {id(p) for p in original.parameters()}:
        return None, ["Task.build_model gives the model itself: build_model must make a new, untrained network"]
    if not list(given.parameters()):
        return None, ["Task.build_model gave a network without parameters: build_model must make a network to train"]
    if any(is_lazy(p) for p in given.parameters()):
        return None, ["Task.build_model gave lazy layers without a shape: let it run the network on a batch first"]
    if _same_weights(given, original):
        return None, ["Task.build_model gives the model's own weights: build_model must make a new, untrained network"]
    try:
        # copied, since build_model may return a network that the caller holds, too
        model = _as(copy_model(given), original)
    except Exception as error:
        return None, [
            f"what Task.build_model gives cannot be copied to the model's device and dtype ({describe_error(error)})"
        ]
    if not any(p.requires_grad for p in model.parameters()):
        unfreeze(model)
    return model, []


def _reset(original: nn.Module) -> tuple[nn.Module | None, list[str]]:
    model = copy_model(original)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point() or parameter.is_complex():
                parameter.fill_(math.nan)  # to find parameters that no module resets, or only in part
    for module in model.modules():
        reset = _resetter(module)
        if reset is not None:
            reset()
    kept = [name for name, p in model.named_parameters() if bool(torch.isnan(p).any())]
    if kept:
        mend = or_by_integration("give Task.build_model", original)
        return None, [
            f"no module resets {shorten(kept, show=str)} by a reset_parameters, "
            f"so no reference can start afresh: {mend}"
        ]
    unfreeze(model)
    return model, []


def unfreeze(model: nn.Module) -> None:
    """Make every parameter that can have a gradient trainable."""
    for parameter in model.parameters():
        if parameter.is_floating_point() or parameter.is_complex():  # others cannot have a gradient
            parameter.requires_grad_(True)


def _as(model: nn.Module, original: nn.Module) -> nn.Module:
    """Move `model` to the device of `original`, and to its dtype, parameter by parameter where it has several."""
    model = model.to(device_of(original))
    dtypes = {p.dtype for p in original.parameters() if p.is_floating_point()}
    if len(dtypes) == 1:
        return model.to(dtype=dtypes.pop())
    wanted = _tensors(original)
    for name, tensor in _tensors(model).items():
        if tensor.is_floating_point() and name in wanted and wanted[name].is_floating_point():
            tensor.data = tensor.data.to(wanted[name].dtype)
    return model


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _same_weights(one: nn.Module, other: nn.Module) -> bool:
    first, second = dict(one.named_parameters()), dict(other.named_parameters())
    return first.keys() == second.keys() and all(
        not is_lazy(second[name]) and p.shape == second[name].shape and torch.equal(p.to(second[name]), second[name])
        for name, p in first.items()
    )


def _resetter(module: nn.Module) -> Callable[[], None] | None:
    # attention and transformer modules of torch have it under a private name
    for name in ("reset_parameters", "_reset_parameters"):
        method = getattr(module, name, None)
        if callable(method):
            return cast("Callable[[], None]", method)
    return None
