"""How graph networks are trained where a task says nothing else: all nodes in each pass, by Adam."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efface.integrations.graph_structures import inner_product
from efface.models.running import device_of


@dataclass(frozen=True)
class NodeFit:
    """A task's `fit` for labels of nodes: cross-entropy of the training nodes.

    Args:
        epochs: Passes.
        lr: Learning rate of Adam.
        decay: Its weight decay.
    """

    epochs: int = 200
    lr: float = 0.01
    decay: float = 5e-4

    def __call__(self, model: nn.Module, data: Any, seed: int) -> None:
        """Train in place; the random generators are seeded already."""
        data = data.to(device_of(model))
        optimiser = torch.optim.Adam(_moving(model), lr=self.lr, weight_decay=self.decay)
        model.train()
        for _ in range(self.epochs):
            optimiser.zero_grad()
            outputs = model(data.x, data.edge_index)
            F.cross_entropy(outputs[data.train_mask], data.y[data.train_mask]).backward()
            optimiser.step()
        model.eval()


@dataclass(frozen=True)
class LinkFit:
    """A task's `fit` for links: binary cross-entropy of all edges and of as many new pairs without one in each pass.

    Args:
        epochs: Passes; 1,500 to 3,000 were published for GNNDelete.
        lr: Learning rate of Adam.
        decode: The logit of pairs, as in `link_task`.
    """

    epochs: int = 1500
    lr: float = 1e-3
    decode: Callable[[Tensor, Tensor], Tensor] = inner_product

    def __call__(self, model: nn.Module, data: Any, seed: int) -> None:
        """Train in place; the random generators are seeded already."""
        data = data.to(device_of(model))
        optimiser = torch.optim.Adam(_moving(model), lr=self.lr)
        edges = data.edge_label_index
        target = torch.cat([torch.ones(edges.shape[1]), torch.zeros(edges.shape[1])]).to(edges.device)
        known = torch.unique(data.edge_index[0] * len(data.x) + data.edge_index[1]).cpu()
        draw = torch.Generator().manual_seed(seed)
        model.train()
        for _ in range(self.epochs):
            absent = absent_ends(known, len(data.x), edges.shape[1], draw).to(edges.device)
            optimiser.zero_grad()
            z = model(data.x, data.edge_index)
            logits = self.decode(z, torch.cat([edges, absent], 1).t())
            F.binary_cross_entropy_with_logits(logits, target).backward()
            optimiser.step()
        model.eval()


def absent_ends(known: Tensor, nodes: int, count: int, draw: torch.Generator) -> Tensor:
    """Pairs of nodes without an edge, drawn anew, (2, count).

    Args:
        known: The codes of all edges, in order: the first node times `nodes`, and the second; both directions.
        nodes: The number of nodes.
        count: How many pairs.
        draw: The generator.
    """
    found: list[Tensor] = []
    while (missing := count - sum(map(len, found))) > 0:
        codes = torch.randint(nodes * nodes, (missing + 16,), generator=draw)
        at = torch.searchsorted(known, codes).clamp(max=len(known) - 1)
        fine = (known[at] != codes) & (codes // nodes != codes % nodes)
        found.append(codes[fine][:missing])
    codes = torch.cat(found)
    return torch.stack([codes // nodes, codes % nodes])


def _moving(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]
