"""Settings of the benchmark on graphs: data, splits, tasks and requests."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from benchmarks.graphs.networks import Network, link_network, node_network
from benchmarks.harness.graph_sets import Papers, citeseer, cora
from efface.integrations.graph_fits import LinkFit, NodeFit
from efface.integrations.graphs import link_task, node_task
from efface.runtime.seeds import derive_seed
from efface.task import Task
from efface.types import Indices

DATA = {"cora": cora, "citeseer": citeseer}
LINK_EPOCHS, NODE_EPOCHS = 1500, 200
HELD_LINKS, TESTED_LINKS = 0.10, 0.05  # shares of all pairs
HELD_NODES, TESTED_NODES = 0.30, 0.10  # shares of all nodes
ASKED_LINKS, ASKED_NODES = 0.025, 100  # as published: 2.5 % of the edges, 100 nodes or features


@dataclass(frozen=True)
class Setting:
    """One problem and one request.

    Args:
        data: "cora" or "citeseer".
        layer: "gcn" or "sage".
        delete: "edges" or "link-nodes" (all edges of some nodes) of links; "nodes" or "features" of topics.
        seed: Seed of splits and request.
    """

    data: str
    layer: str
    delete: str
    seed: int = 0

    @property
    def name(self) -> str:
        """What files are called."""
        return f"{self.data}-{self.layer}-{self.delete}"

    @property
    def of_links(self) -> bool:
        """Whether records are pairs of nodes."""
        return self.delete in ("edges", "link-nodes")

    @cached_property
    def papers(self) -> Papers:
        """The graph."""
        return DATA[self.data]()

    @cached_property
    def task(self) -> Task:
        """The task."""
        papers = self.papers
        order = np.random.default_rng(derive_seed(self.seed, "graph splits", self.data))
        if self.of_links:
            held, tested, train = self._split(
                papers.pairs[order.permutation(len(papers.pairs))], HELD_LINKS, TESTED_LINKS
            )
            data = Data(x=papers.x, edge_index=both_ways(train))
            fit = LinkFit(epochs=LINK_EPOCHS)
            return link_task(data, holdout=held.t(), test=tested.t(), seed=self.seed, fit=fit)
        nodes = torch.from_numpy(order.permutation(len(papers.x)))
        held, tested, train = self._split(nodes, HELD_NODES, TESTED_NODES)
        data = Data(x=papers.x, edge_index=both_ways(papers.pairs), y=papers.y)
        fit, delete = NodeFit(epochs=NODE_EPOCHS), self.delete
        return node_task(data, train=train, holdout=held, test=tested, delete=delete, fit=fit)

    @staticmethod
    def _split(rows: Tensor, held: float, tested: float) -> tuple[Tensor, Tensor, Tensor]:
        first, second = round(held * len(rows)), round(tested * len(rows))
        return rows[:first], rows[first : first + second], rows[first + second :]

    @cached_property
    def forget(self) -> Indices:
        """Positions of the request."""
        order = np.random.default_rng(derive_seed(self.seed, "graph request", self.name))
        if not self.of_links:
            return np.sort(order.permutation(len(self.task.train))[:ASKED_NODES])
        structure = self.task.structure
        edges = structure.edges.numpy()  # type: ignore[union-attr]
        wanted = round(ASKED_LINKS * len(edges))
        if self.delete == "edges":
            return np.sort(order.permutation(len(edges))[:wanted])
        nodes = order.permutation(np.unique(edges))
        # nodes in a random order, until their edges are as many as a request of edges has
        for count in range(1, len(nodes)):
            at = np.flatnonzero(np.isin(edges, nodes[:count]).any(1))
            if len(at) >= wanted:
                return at
        raise ValueError("the graph has too few edges")

    @property
    def ids(self) -> list[int | str]:
        """The ids of the request."""
        every = np.asarray(self.task.ids, dtype=object)
        return [every[at] for at in self.forget.tolist()]

    def network(self) -> Network:
        """An untrained network."""
        papers = self.papers
        if self.of_links:
            return link_network(self.layer, papers.x.shape[1])
        return node_network(self.layer, papers.x.shape[1], int(papers.y.max()) + 1)


def both_ways(pairs: Tensor) -> Tensor:
    """Pairs as directed edges, (2, 2 n)."""
    return torch.cat([pairs.t(), pairs.t().flip(0)], 1)
