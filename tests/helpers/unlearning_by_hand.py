"""Short runs of methods, and their gradients computed apart."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from efface import Result
from efface.methods import Method
from efface.methods.adversarial import label_first
from helpers.calls import unlearn
from helpers.tiny import Tiny, mlp

ALL = 100_000  # a batch that takes every record, so that nothing depends on how they are drawn


def small(tiny: Tiny) -> nn.Module:
    """A network that fits some of the records, so that no gradient is negligible."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = mlp(8)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(40):
        optimiser.zero_grad()
        F.cross_entropy(model(tiny.x), tiny.y).backward()
        optimiser.step()
    return model.eval()


def flat(model: nn.Module) -> Tensor:
    return parameters_to_vector(model.parameters()).detach()


def slope(model: nn.Module, loss: Tensor) -> Tensor:
    return torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(model.parameters()))])


def unlearned(tiny: Tiny, model: nn.Module, method: Method, **more: Any) -> tuple[Result, Tensor]:
    """A run without looks, and the retain records that it may read."""
    plain = {"forget": tiny.forget, "task": tiny.task(), "evaluate": False}
    result = unlearn(model, method=method, **{**plain, **more})
    return result, torch.from_numpy(np.setdiff1d(result.splits.retain, result.splits.audit_reference))


def outputs(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        return label_first(model(x), y)
