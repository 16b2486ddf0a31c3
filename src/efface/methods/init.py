"""Untrained weights, for methods that re-initialise a part of the model."""

from torch import Tensor, nn

from efface.errors import RequestError
from efface.methods.base import Problem
from efface.models.init import fresh_model
from efface.runtime.seeds import derive_seed


def fresh_values(problem: Problem, purpose: str) -> dict[str, Tensor]:
    """Parameters and buffers, by name, of an untrained network like the model.

    They are pretrained where `Task.build_model` gives a pretrained network.

    Args:
        problem: Whose model, task and seed to use.
        purpose: Seeds the draw, along with the seed of the run.

    Raises:
        RequestError: No such network can be made, or it has other parameters than the model.
    """
    seed = derive_seed(problem.seed, purpose, "fresh")
    fresh = _tensors(fresh_model(problem.task, problem.original, seed))
    # buffers may differ, since some models make their own in use
    for name, own in problem.model.named_parameters():
        if name not in fresh or fresh[name].shape != own.shape:
            raise RequestError(f"Task.build_model gives another network than the model: {name} differs")
    return fresh


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    held = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: tensor.detach() for name, tensor in held.items()}
