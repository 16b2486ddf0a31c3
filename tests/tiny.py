"""A problem that is unlearned in a fraction of a second: noisy Gaussian classes, and a network that knows them."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from efface import Recipe, Task

CLASSES, FEATURES = 3, 16
RECORDS, HOLDOUT = 300, 200
REFERENCE = Recipe(epochs=1, lr=1e-2, batch=32, least_steps=40)

# every method on a scale that takes milliseconds; a new method adds its row
SMALL: dict[str, dict[str, str]] = {
    "steer": {"rounds": "2", "steps": "8"},
    "perturb": {"steps": "8", "every": "4"},
    "finetune": {"steps": "8", "every": "4"},
    "neggrad_plus": {"steps": "8", "every": "4"},
    "noop": {},
    "retrain": {"epochs": "2"},
}


def records(n: int, seed: int, noise: float = 0.2) -> tuple[Tensor, Tensor]:
    """Features around a corner for each class, and labels of which a share is drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % CLASSES
    x = torch.randn(n, FEATURES, generator=generator)
    x[torch.arange(n), y] += 3.5
    drawn = torch.randint(CLASSES, (n,), generator=generator)
    return x, torch.where(torch.rand(n, generator=generator) < noise, drawn, y)


def mlp(width: int = 48) -> nn.Sequential:
    return nn.Sequential(nn.Linear(FEATURES, width), nn.ReLU(), nn.Linear(width, CLASSES))


def memorise(model: nn.Module, inputs: Any, y: Tensor, steps: int = 150, lr: float = 1e-2) -> nn.Module:
    """Train on all records at once, and leave the model in eval mode."""
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    model.train()
    for _ in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(model(inputs).float(), y).backward()
        optimiser.step()
    return model.eval()


@dataclass(frozen=True)
class Tiny:
    """The problem: `model` knows the training records by heart; `forget` are 12 of them."""

    model: nn.Module
    x: Tensor
    y: Tensor
    holdout_x: Tensor
    holdout_y: Tensor
    forget: tuple[int, ...]

    def task(self, **changes: Any) -> Task:
        """The task, with some of its fields changed."""
        plain = {"train": TensorDataset(self.x, self.y), "holdout": TensorDataset(self.holdout_x, self.holdout_y)}
        return Task(**{**plain, **changes})

    def fresh(self) -> nn.Module:
        """A copy of the model, for a test that changes it."""
        return copy.deepcopy(self.model)


def make_tiny() -> Tiny:
    x, y = records(RECORDS, seed=0)
    holdout_x, holdout_y = records(HOLDOUT, seed=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = memorise(mlp(), x, y)
    return Tiny(model, x, y, holdout_x, holdout_y, tuple(range(5, 65, 5)))


def bits(model: nn.Module) -> dict[str, bytes]:
    """Every parameter and buffer, byte by byte, and what else a run could leave changed in a model."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    held = {
        k: t.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() for k, t in tensors.items()
    }
    for name, p in model.named_parameters():
        grad = b"none" if p.grad is None else p.grad.reshape(-1).view(torch.uint8).numpy().tobytes()
        held |= {f"{name} grad": grad, f"{name} free": bytes([p.requires_grad])}
    return held | {f"{name} mode": bytes([m.training]) for name, m in model.named_modules()}


def weights(model: nn.Module) -> dict[str, bytes]:
    """The parameters and buffers alone."""
    return {k: v for k, v in bits(model).items() if " " not in k}
