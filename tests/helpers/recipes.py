"""Training recipes of many kinds, and whether an ensemble's cache tells them apart."""

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from efface import Recipe, Task
from efface.models.ensembles import ModelSpec, TrainedEnsemble, Training, train_ensemble
from efface.runtime.cost import Meter
from helpers.tiny import CLASSES, FEATURES, RECORDS, mlp, weights

SHORT = Recipe(epochs=1, lr=1e-2, batch=32, least_steps=12)


MOST = np.arange(5, RECORDS - 30)


SCALE = 1.0


def specs(n: int = 3, positions: Any = MOST) -> list[ModelSpec]:
    return [ModelSpec(None, positions, seed) for seed in range(n)]


def trained(
    task: Task, original: nn.Module, wanted: list[ModelSpec] | None = None, meter: Meter | None = None, **how: Any
) -> TrainedEnsemble:
    training = Training(**{"recipe": SHORT, "jobs": 1, **how})
    return train_ensemble(task, original, specs() if wanted is None else wanted, training, meter or Meter())


def bias_fit(model: nn.Module, dataset: Any, seed: int) -> None:
    """The quickest training: biases at random."""
    with torch.no_grad():
        model[2].bias.copy_(SCALE * torch.rand(CLASSES))


def scaled(by: Any) -> Callable[..., None]:
    def fit(model: nn.Module, dataset: Any, seed: int) -> None:
        with torch.no_grad():
            model[2].bias.fill_(float(by))

    return fit


def with_default(model: nn.Module, dataset: Any, seed: int, by: float = 1.0) -> None:
    scaled(by)(model, dataset, seed)


@functools.lru_cache
def remembered(by: float) -> float:
    return by


def by_a_helper(model: nn.Module, dataset: Any, seed: int) -> None:
    scaled(remembered(1.0))(model, dataset, seed)


@dataclasses.dataclass
class Fitter:
    by: Any

    def __call__(self, model: nn.Module, dataset: Any, seed: int) -> None:
        scaled(self.by)(model, dataset, seed)


class Decorated:
    """A function in an object of its own, as class-based decorators make them."""

    def __init__(self, fit: Callable[..., None], times: int) -> None:
        functools.update_wrapper(self, fit)
        self.times = times

    def __call__(self, *given: Any) -> None:
        for _ in range(self.times):
            self.__wrapped__(*given)  # type: ignore[attr-defined]


class Doubler(Fitter):
    def __call__(self, model: nn.Module, dataset: Any, seed: int) -> None:
        scaled(2 * self.by)(model, dataset, seed)


class Scaled(nn.Module):
    def __init__(self, by: float) -> None:
        super().__init__()
        self.inner, self.by = mlp(), by

    def forward(self, inputs: Tensor) -> Tensor:
        return self.by * self.inner(inputs)  # type: ignore[no-any-return]

    def __getitem__(self, at: int) -> nn.Module:
        return self.inner[at]


def found_in(cache: Path, task: Task, original: nn.Module, wanted: ModelSpec | None = None, **how: Any) -> bool:
    """Whether a model is in the cache, which it is afterwards."""
    return bool(trained(task, original, [wanted or ModelSpec(None, MOST, 0)], cache=cache, **how).found)


def all_weights(found: TrainedEnsemble) -> list[dict[str, bytes]]:
    return [weights(model) for model in found.models]


def noting(place: Path, fail: int | None = None) -> Callable[..., None]:
    """`bias_fit`, with a line in a file for each model: its seed and the process."""

    def fit(model: nn.Module, dataset: Any, seed: int) -> None:
        with place.open("a") as notes:
            notes.write(f"{seed} {os.getpid()}\n")
        if seed == fail:
            raise ValueError("out of\npatience")
        bias_fit(model, dataset, seed)

    return fit


def noted(place: Path) -> list[int]:
    return [int(line.split()[0]) for line in place.read_text().splitlines()]


def drawing() -> nn.Module:
    """A network that draws at random and keeps statistics."""
    return nn.Sequential(nn.BatchNorm1d(FEATURES), nn.Dropout(0.2), mlp())
