"""A small structure in plain torch: a node is read with the mean of its neighbours, so that retraining is exact."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from efface import Task
from efface.task.structure import Effects, Structure
from efface.types import Indices

NODES, TRAINED, WIDTH, CLASSES = 320, 200, 6, 3


class Neighbours(Structure):
    """Nodes, of which the first ones are the training records; nobody hears from the others, or from one that left."""

    def __init__(self, x: Tensor, links: Tensor, present: Tensor) -> None:
        self.x, self.links, self.present = x, links, present

    def features(self) -> Tensor:
        """What each node is read by: its own features, and the mean of those of its neighbours."""
        heard = (self.links & self.present).float()
        return torch.cat([self.x, heard @ self.x / heard.sum(1, keepdim=True).clamp(min=1)], 1)

    def after(self, positions: Indices) -> Structure:
        present = self.present.clone()
        present[torch.as_tensor(positions)] = False
        return Neighbours(self.x, self.links, present)

    def forward(self, model: nn.Module, inputs: Any) -> Tensor:
        outputs: Tensor = model(self.features())[inputs]
        return outputs

    def fitted(self, dataset: Any) -> Any:
        nodes, y = (torch.stack(part) for part in zip(*(dataset[i] for i in range(len(dataset))), strict=True))
        return TensorDataset(self.features()[nodes], y)

    def affected(self, positions: Indices) -> Mapping[str, Indices]:
        near = self.links[torch.as_tensor(positions)].any(0) & self.present
        near[torch.as_tensor(positions)] = False
        return {"1 hop": near.nonzero().flatten().numpy()}

    def rows(self, positions: Indices, hops: int) -> Indices:
        ends = np.sort(np.asarray(positions, dtype=np.int64))
        return ends if hops == 0 else np.union1d(ends, self.affected(positions)["1 hop"])

    def effects(self, positions: Indices) -> Effects:
        alone = int((~self.links[torch.as_tensor(positions)].any(1)).sum())
        return Effects(warnings=(f"{alone} without a neighbour",) if alone else ())


@dataclass(frozen=True)
class Exact:
    """A task of real values whose best model is known: least squares on what nodes are read by."""

    task: Task
    forget: Indices

    @property
    def retain(self) -> Indices:
        """The training records that stay."""
        return np.setdiff1d(np.arange(TRAINED), self.forget)

    def best(self, structure: Neighbours, nodes: Indices) -> Tensor:
        """The weights of the best model of some nodes in a structure."""
        y = self.task.train.tensors[1][nodes]  # type: ignore[attr-defined]
        return torch.linalg.lstsq(structure.features()[nodes].double(), y.double()).solution.flatten()


def linear() -> nn.Linear:
    return nn.Linear(2 * WIDTH, 1, bias=False)


def least_squares(model: nn.Module, dataset: Any, seed: int) -> None:
    """A `Task.fit` that is exact."""
    x, y = dataset.tensors
    with torch.no_grad():
        model.weight.copy_(torch.linalg.lstsq(x.double(), y.double()).solution.t())


def exact() -> Exact:
    """The task of real values, with a request of 12 nodes."""
    structure, generator = neighbours(), torch.Generator().manual_seed(1)
    y = (structure.features() @ torch.randn(2 * WIDTH, 1, generator=generator)) + torch.randn(
        NODES, 1, generator=generator
    )
    return Exact(_task(structure, y, kind="regression", build_model=linear, fit=least_squares), np.arange(5, 41, 3))


def neighbours() -> Neighbours:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(NODES, WIDTH, generator=generator)
    links = torch.rand(NODES, NODES, generator=generator) < 0.008
    links = (links | links.t()).fill_diagonal_(False)
    present = torch.arange(NODES) < TRAINED
    return Neighbours(x, links, present)


def classified(build: Any = None, steps: int = 150) -> tuple[nn.Module, Task]:
    """A network that knows the classes of its nodes by heart, and its task."""
    structure, generator = neighbours(), torch.Generator().manual_seed(2)
    y = structure.features()[:, :CLASSES].argmax(1)
    drawn = torch.randint(CLASSES, (NODES,), generator=generator)
    y = torch.where(torch.rand(NODES, generator=generator) < 0.15, drawn, y)
    torch.manual_seed(3)
    model = network() if build is None else build()
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-2)
    for _ in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(structure.forward(model, torch.arange(TRAINED)), y[:TRAINED]).backward()
        optimiser.step()
    return model.eval(), _task(structure, y, kind="classes", batch_size=NODES)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2 * WIDTH, 32), nn.ReLU(), nn.Linear(32, CLASSES))


def _task(structure: Neighbours, y: Tensor, **fields: Any) -> Task:
    nodes = torch.arange(NODES)
    sets = {"train": slice(TRAINED), "holdout": slice(TRAINED, NODES)}
    data = {name: TensorDataset(nodes[at], y[at]) for name, at in sets.items()}
    return Task(**data, structure=structure, **fields)
