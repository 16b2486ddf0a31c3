"""Weights to begin anew from, for methods that re-initialise a part of the model."""

from torch import Tensor, nn

from efface.errors import RequestError
from efface.methods.base import Problem
from efface.models.init import fresh_model
from efface.runtime.seeds import derive_seed


def fresh_values(problem: Problem, purpose: str) -> dict[str, Tensor]:
    """Parameters and buffers, by name, of an untrained network like the model; a purpose and the run's seed draw it.

    Pretrained values where `Task.build_model` begins at such. Raises RequestError where no such network can be made.
    """
    seed = derive_seed(problem.seed, purpose, "fresh")
    fresh = _tensors(fresh_model(problem.task, problem.original, seed))
    # buffers that no state dict holds may be the model's own affair, and are left out where they do not match
    for name, own in problem.model.named_parameters():
        if name not in fresh or fresh[name].shape != own.shape:
            raise RequestError(f"Task.build_model gives another network than the model: {name} differs")
    return fresh


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    held = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: tensor.detach() for name, tensor in held.items()}
