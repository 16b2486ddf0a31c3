"""A small network, its state dict, and whether a file gives it or is refused."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from efface.errors import CheckpointError
from efface.models.checkpoint import load_weights, weights_digest


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def state(seed: int = 0, prefix: str = "") -> dict[str, Tensor]:
    return {prefix + name: tensor.clone() for name, tensor in network(seed).state_dict().items()}


def is_read(path: Path) -> bool:
    """Whether a file gives the weights of `network(0)`."""
    model = network(9)
    load_weights(model, path)
    return weights_digest(model) == weights_digest(network())


def refusal(path: Path) -> str:
    model = network(9)
    with pytest.raises(CheckpointError) as caught:
        load_weights(model, path)
    assert weights_digest(model) == weights_digest(network(9))
    (line,) = caught.value.problems
    assert "\n" not in line
    return line
