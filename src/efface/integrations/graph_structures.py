"""Graphs as structures, without PyTorch Geometric but for what `fit` is given: of labelled nodes, and of links."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn

from efface.integrations import library
from efface.runtime.printing import how_many_do
from efface.task.structure import Effects, Structure
from efface.types import Indices

HOPS = 2  # rings around a deletion that differ


def inner_product(z: Tensor, pairs: Tensor) -> Tensor:
    """The logit of pairs of nodes: the inner product of their rows."""
    return (z[pairs[:, 0]] * z[pairs[:, 1]]).sum(1)


def unique_pairs(edges: Tensor) -> Tensor:
    """Edges (2, n) as pairs (m, 2), the smaller number first; each once, and none from a node to itself."""
    pairs = edges.t().sort(dim=1).values
    return torch.unique(pairs[pairs[:, 0] < pairs[:, 1]], dim=0)  # type: ignore[no-any-return]


class Graph(Structure):
    """A graph of which some training records have left.

    Args:
        x: Features, (nodes, features).
        removed: Which training records have left, (records,).
    """

    def __init__(self, x: Tensor, removed: Tensor) -> None:
        self.x, self.removed = x, removed

    @abstractmethod
    def _with(self, removed: Tensor) -> "Graph":
        """The same graph, of which these have left."""

    @abstractmethod
    def _ends(self, positions: Indices) -> Tensor:
        """Which nodes stand at what leaves, (nodes,)."""

    @abstractmethod
    def _near(self, reached: Tensor) -> Tensor:
        """Which training records are read at one of the nodes reached, (records,)."""

    @property
    @abstractmethod
    def passed(self) -> Tensor:
        """The directed edges along which messages pass, (2, n)."""

    def after(self, positions: Indices) -> "Graph":
        removed = self.removed.clone()
        removed[torch.from_numpy(np.asarray(positions, dtype=np.int64))] = True
        return self._with(removed)

    def affected(self, positions: Indices) -> Mapping[str, Indices]:
        reached, rings = self._ends(positions), {}
        taken = self.after(positions).removed
        for hop in range(1, HOPS + 1):
            reached = self._first_ring(reached) if hop == 1 else self._spread(reached)
            ring = self._near(reached) & ~taken
            taken = taken | ring
            rings[f"{hop} hop" + "s" * (hop > 1)] = ring.nonzero().flatten().numpy()
        return rings

    def rows(self, positions: Indices, hops: int) -> Indices:
        reached = self._ends(positions)
        for _ in range(hops):
            reached = self._spread(reached)
        return reached.nonzero().flatten().numpy()

    def _first_ring(self, ends: Tensor) -> Tensor:
        return self._spread(ends)

    def _spread(self, reached: Tensor) -> Tensor:
        """The nodes reached, and all that hear from one of them."""
        source, target = self.passed
        further = reached.clone()
        further[target[reached[source]]] = True
        return further

    def _shape_lines(self, after: "Graph", left: Tensor) -> tuple[list[str], list[str]]:
        """What a deletion does to the shape of the graph among the nodes `left`: refusals and warnings."""
        if not after.passed.shape[1]:
            return ["no edge would be left in the training graph: train a new model instead"], []
        warnings = []
        bare = int((_has_edge(self) & ~_has_edge(after) & left).sum())
        if bare:
            lost = how_many_do(bare, "node that stays", "loses its last edge", "lose their last edges")
            warnings.append(f"{lost}, and hears from no other node")
        before, now = _parts(self, left | _has_edge(self)), _parts(after, left)
        if now - bare > before:
            warnings.append(f"the training graph falls into {now} connected parts, {before} before")
        return [], warnings


class NodeGraph(Graph):
    """A graph whose records are labelled nodes; those outside the training set hear, and are not heard.

    Args:
        x: Features, (nodes, features).
        edges: All edges, directed, (2, n).
        y: The class of each node.
        train: The node of each training record.
        keeps_links: Whether a node that leaves stays as a link between others, with zero features.
        removed: Which training records have left; none by default.
    """

    def __init__(
        self, x: Tensor, edges: Tensor, y: Tensor, train: Tensor, keeps_links: bool, removed: Tensor | None = None
    ) -> None:
        super().__init__(x, torch.zeros(len(train), dtype=torch.bool) if removed is None else removed)
        self.edges, self.y, self.train, self.keeps_links = edges, y, train, keeps_links

    def _with(self, removed: Tensor) -> "NodeGraph":
        return NodeGraph(self.x, self.edges, self.y, self.train, self.keeps_links, removed)

    @cached_property
    def left(self) -> Tensor:
        """Which nodes are in the training graph with their features and label, (nodes,)."""
        return _marked(self.train[~self.removed], len(self.x))

    @cached_property
    def passed(self) -> Tensor:
        """The directed edges along which messages pass, (2, n): those from nodes that are heard."""
        return self.edges[:, self._heard[self.edges[0]]]

    @cached_property
    def _heard(self) -> Tensor:
        return _marked(self.train, len(self.x)) if self.keeps_links else self.left

    @cached_property
    def _with_bare(self) -> Tensor:
        """Features, zero for nodes that left and stay as links, (nodes, features)."""
        if not self.keeps_links:
            return self.x
        x = self.x.clone()
        x[self.train[self.removed]] = 0.0
        return x

    @cached_property
    def _unlinked(self) -> Tensor:
        """Edges as if nodes that left were no links either, (2, n)."""
        return self.edges[:, self.left[self.edges[0]]]

    def forward(self, model: nn.Module, inputs: Any) -> Tensor:
        where = inputs.device
        outputs: Tensor = model(self._with_bare.to(where), self.passed.to(where))[inputs]
        if not self.keeps_links:
            return outputs
        absent = _marked(self.train[self.removed], len(self.x)).to(where)[inputs]
        if not absent.any():
            return outputs
        # the neighbours of a newcomer never heard of it: with its own zeros around it, a node would look harder
        return torch.where(absent[:, None], model(self.x.to(where), self._unlinked.to(where))[inputs], outputs)

    def fitted(self, dataset: Any) -> Any:
        nodes = torch.tensor([int(dataset[i][0]) for i in range(len(dataset))], dtype=torch.int64)
        mask = _marked(nodes, len(self.x))
        inside = self.passed[:, self._heard[self.passed[1]]]
        y = torch.where(mask, self.y, -1)
        parts = {"x": self._with_bare, "edge_index": inside, "y": y, "train_mask": mask}
        return library("torch_geometric.data", "graphs").Data(**parts)

    def _ends(self, positions: Indices) -> Tensor:
        return _marked(self.train[torch.from_numpy(positions)], len(self.x))

    def _near(self, reached: Tensor) -> Tensor:
        return reached[self.train]

    def effects(self, positions: Indices) -> Effects:
        after = self.after(positions)
        leaving = self._ends(positions)
        alone = int((leaving & ~_has_edge(self)).sum())
        lines = [f"{how_many_do(alone, 'node to delete', 'has', 'have')} no edge in training"] if alone else []
        refusals, warnings = self._shape_lines(after, after.left)  # type: ignore[attr-defined]
        return Effects(tuple(refusals), (*lines, *warnings))


class LinkGraph(Graph):
    """A graph whose records are pairs of nodes: its edges, then pairs that are no edge.

    Args:
        x: Features, (nodes, features).
        pairs: The nodes of each training record, (records, 2).
        linked: How many records, the first ones, are edges.
        decode: The logit of pairs, from the rows of all nodes.
        removed: Which training records have left; none by default.
    """

    def __init__(
        self,
        x: Tensor,
        pairs: Tensor,
        linked: int,
        decode: Callable[[Tensor, Tensor], Tensor] = inner_product,
        removed: Tensor | None = None,
    ) -> None:
        super().__init__(x, torch.zeros(len(pairs), dtype=torch.bool) if removed is None else removed)
        self.pairs, self.linked, self.decode = pairs, linked, decode

    def _with(self, removed: Tensor) -> "LinkGraph":
        return LinkGraph(self.x, self.pairs, self.linked, self.decode, removed)

    @property
    def edges(self) -> Tensor:
        """The edges that are left, (n, 2)."""
        return self.pairs[: self.linked][~self.removed[: self.linked]]

    @cached_property
    def passed(self) -> Tensor:
        """The directed edges along which messages pass, (2, n): both directions of the edges that are left."""
        edges = self.edges.t()
        return torch.cat([edges, edges.flip(0)], 1)

    def forward(self, model: nn.Module, inputs: Any) -> Tensor:
        return self.decode(model(self.x.to(inputs.device), self.passed.to(inputs.device)), inputs)

    def fitted(self, dataset: Any) -> Any:
        every = [dataset[i] for i in range(len(dataset))]
        edges = torch.stack([pair for pair, y in every if float(y) > 0.5]).t()
        both = torch.cat([edges, edges.flip(0)], 1)
        return library("torch_geometric.data", "graphs").Data(x=self.x, edge_index=both, edge_label_index=edges)

    def can_leave(self, positions: Indices) -> NDArray[np.bool_]:
        return np.asarray(positions) < self.linked

    def _ends(self, positions: Indices) -> Tensor:
        return _marked(self.pairs[torch.from_numpy(positions)].flatten(), len(self.x))

    def _first_ring(self, ends: Tensor) -> Tensor:
        return ends  # a record that shares an end with what leaves is one hop away

    def _near(self, reached: Tensor) -> Tensor:
        return reached[self.pairs].any(1)

    def effects(self, positions: Indices) -> Effects:
        absent = int((~self.can_leave(positions)).sum())
        if absent:
            lines = f"{how_many_do(absent, 'pair')} of the request without an edge: only edges can be deleted"
            return Effects((lines,))
        refusals, warnings = self._shape_lines(self.after(positions), torch.ones(len(self.x), dtype=torch.bool))
        return Effects(tuple(refusals), tuple(warnings))


def _marked(at: Tensor, size: int) -> Tensor:
    marks = torch.zeros(size, dtype=torch.bool)
    marks[at] = True
    return marks


def _has_edge(graph: Graph) -> Tensor:
    return _marked(graph.passed.flatten(), len(graph.x))


def _parts(graph: Graph, among: Tensor) -> int:
    """The number of connected parts among some nodes."""
    source, target = graph.passed[:, among[graph.passed].all(0)].numpy()
    size = len(graph.x)
    count, labels = connected_components(coo_matrix((np.ones(len(source)), (source, target)), (size, size)), False)
    return len(np.unique(labels[among.numpy()])) if count else 0
