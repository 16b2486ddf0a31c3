"""Graph networks of the benchmark, and the training of many networks of links side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch_geometric.nn import GCNConv, SAGEConv

from efface.integrations.graph_fits import absent_ends
from efface.runtime.progress import track

HIDDEN, WIDTH = 128, 64  # of networks of links, as published


class Network(nn.Module):
    """Two message-passing layers; it counts its own passes, which are the price of all work on a graph."""

    forward_passes = 0  # without gradients, of all networks together
    training_passes = 0  # with gradients

    def __init__(self, layer: type[nn.Module], features: int, hidden: int, outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.one, self.two, self.dropout = layer(features, hidden), layer(hidden, outputs), dropout

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Outputs of all nodes, (nodes, outputs)."""
        if torch.is_grad_enabled():
            Network.training_passes += 1
        else:
            Network.forward_passes += 1
        h = F.dropout(self.one(x, edges).relu(), self.dropout, self.training)
        outputs: Tensor = self.two(h, edges)
        return outputs


LAYERS = {"gcn": GCNConv, "sage": SAGEConv}


def link_network(layer: str, features: int) -> Network:
    """A network of links, whose rows are compared by inner products."""
    return Network(LAYERS[layer], features, HIDDEN, WIDTH)


def node_network(layer: str, features: int, classes: int) -> Network:
    """A network of topics, as in the papers of these layers: 16 hidden numbers, half of them dropped in training."""
    return Network(LAYERS[layer], features, 16, classes, dropout=0.5)


@dataclass(frozen=True)
class Constant:
    """A sparse matrix that does not learn, with its transpose, which gradients take."""

    matrix: Tensor
    transposed: Tensor


class Product(torch.autograd.Function):
    """A constant sparse matrix times a dense one."""

    @staticmethod
    def forward(ctx: Any, constant: Constant, dense: Tensor) -> Tensor:
        """The product."""
        ctx.constant = constant
        return constant.matrix @ dense

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[None, Tensor]:  # type: ignore[override]
        """The gradient of the dense matrix."""
        return None, ctx.constant.transposed @ slope


def train_side_by_side(
    networks: Sequence[Network], x: Tensor, edges: Tensor, epochs: int, lr: float, seeds: Sequence[int]
) -> None:
    """Train networks of links in place, each as `LinkFit` trains one; together they take far less time than in turn.

    Args:
        networks: The networks, of one kind of layer.
        x: Features, (nodes, features).
        edges: Both directions of the training edges, (2, 2 n).
        epochs: Passes.
        lr: Learning rate of Adam.
        seeds: Seed of the absent pairs of each network.
    """
    gcn = isinstance(networks[0].one, GCNConv)
    heard, words = _messages(edges, len(x), gcn), _sparse(csr_matrix(x.numpy()))
    parameters = [_stack(networks, name) for name, _ in networks[0].named_parameters()]
    weights = dict(zip([name for name, _ in networks[0].named_parameters()], parameters, strict=True))
    optimiser = torch.optim.Adam(parameters, lr=lr, fused=True)
    pairs = edges[:, edges[0] < edges[1]]
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    known = torch.unique(edges[0] * len(x) + edges[1])
    target = torch.cat([torch.ones(pairs.shape[1]), torch.zeros(pairs.shape[1])]).expand(len(networks), -1)
    with track(f"training {len(networks)} networks of links", epochs, None) as advance:
        for _ in range(epochs):
            optimiser.zero_grad()
            z = _outputs(weights, heard, words, len(networks), gcn)
            absent = torch.stack([absent_ends(known, len(x), pairs.shape[1], draw) for draw in draws])
            ends = torch.cat([pairs.expand(len(networks), 2, -1), absent], 2)
            rows = (ends + len(x) * torch.arange(len(networks))[:, None, None]).transpose(0, 1).reshape(2, -1)
            one, other = (z.reshape(-1, z.shape[2]).index_select(0, at) for at in rows)
            logits = (one * other).sum(1).view_as(target)
            # the sum over networks, so that each moves as if it were alone
            (F.binary_cross_entropy_with_logits(logits, target) * len(networks)).backward()
            optimiser.step()
            advance()
    with torch.no_grad():
        for number, network in enumerate(networks):
            for name, parameter in network.named_parameters():
                parameter.copy_(weights[name][number])
            network.eval()


def _outputs(weights: dict[str, Tensor], heard: Constant, words: Constant, count: int, gcn: bool) -> Tensor:
    """The rows of all nodes by each network, (networks, nodes, width)."""
    first = _wide(words, weights, "one", gcn)
    hidden = _hear(heard, first, weights, "one", gcn).relu()
    second = [hidden @ weights[name].transpose(1, 2) for name in _names("two", gcn)]
    return _hear(heard, second, weights, "two", gcn)


def _names(layer: str, gcn: bool) -> list[str]:
    return [f"{layer}.lin.weight"] if gcn else [f"{layer}.lin_l.weight", f"{layer}.lin_r.weight"]


def _wide(words: Constant, weights: dict[str, Tensor], layer: str, gcn: bool) -> list[Tensor]:
    """Features times the weights of all networks at once, (networks, nodes, hidden) for each weight."""
    found = []
    for name in _names(layer, gcn):
        weight = weights[name]
        product: Tensor = Product.apply(words, weight.reshape(-1, weight.shape[2]).t())
        found.append(product.view(len(product), len(weight), -1).transpose(0, 1))
    return found


def _hear(heard: Constant, parts: Sequence[Tensor], weights: dict[str, Tensor], layer: str, gcn: bool) -> Tensor:
    """What reaches each node, (networks, nodes, width)."""
    sent = parts[0].transpose(0, 1)
    came = Product.apply(heard, sent.reshape(len(sent), -1)).view_as(sent).transpose(0, 1)
    bias = weights[f"{layer}.bias" if gcn else f"{layer}.lin_l.bias"][:, None]
    return came + bias if gcn else came + bias + parts[1]


def _messages(edges: Tensor, nodes: int, gcn: bool) -> Constant:
    """The matrix of messages: of GCN normalised by degrees with itself, else the mean of those heard."""
    source, target = edges.numpy()
    a = csr_matrix((np.ones(len(source), dtype=np.float32), (target, source)), (nodes, nodes))
    if gcn:
        a = a + csr_matrix(np.eye(nodes, dtype=np.float32))
        scale = csr_matrix(np.diag(np.asarray(a.sum(1)).ravel() ** -0.5).astype(np.float32))
        return _sparse(scale @ a @ scale)
    share = 1 / np.maximum(np.asarray(a.sum(1)).ravel(), 1)
    return _sparse(csr_matrix(np.diag(share).astype(np.float32)) @ a)


def _sparse(matrix: csr_matrix) -> Constant:
    return Constant(_csr(csr_matrix(matrix)), _csr(csr_matrix(matrix.T)))


def _csr(matrix: csr_matrix) -> Tensor:
    parts = (torch.from_numpy(matrix.indptr.astype(np.int64)), torch.from_numpy(matrix.indices.astype(np.int64)))
    return torch.sparse_csr_tensor(*parts, torch.from_numpy(matrix.data.astype(np.float32)), matrix.shape)


def _stack(networks: Sequence[Network], name: str) -> Tensor:
    stacked = torch.stack([dict(network.named_parameters())[name].detach() for network in networks])
    return stacked.requires_grad_(True)
