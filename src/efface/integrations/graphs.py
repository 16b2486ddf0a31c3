"""PyTorch Geometric: labels of nodes and links between them as tasks; nodes, edges and features are deleted."""

import copy
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from efface.errors import RequestError, kind_of, shorten
from efface.integrations import library
from efface.integrations.graph_fits import LinkFit, NodeFit
from efface.integrations.graph_structures import LinkGraph, NodeGraph, inner_product, unique_pairs
from efface.methods.gnndelete import add_operators
from efface.runtime.options import clear_calls
from efface.runtime.seeds import derive_seed
from efface.task import Task
from efface.task.structure import Structure

WHOLE = 1_000_000  # records in an evaluation: however many, one pass computes all nodes


@clear_calls()
def node_task(
    data: Any, *, train: Any = None, holdout: Any, test: Any = None, delete: str = "nodes", **fields: Any
) -> Task:
    """A task whose records are nodes with a label: one of several classes.

    The model is called as `model(x, edge_index)` and returns logits for all nodes. Ids are the numbers of nodes.

    Nodes outside `train` were never in the graph that the model was trained on: they hear from its nodes, and no node
    hears from them. A deleted node is read in the same way. With `delete` "features", what leaves is the features and
    the label of a node; the node itself stays as a link between others, with zero features.

    Args:
        data: A `torch_geometric.data.Data` with `x`, `edge_index` and `y`.
        train: Numbers of the nodes that the model was trained on, or a mask; `data.train_mask` by default.
        holdout: Numbers of nodes that it never saw, or a mask.
        test: The same, to measure accuracy.
        delete: What a request takes: "nodes" or "features".
        fields: Other fields of the task. `fit` is called as `fit(model, data, seed)`, with the `Data` to train on: `y`
            is -1 outside `train_mask`. By default it is `NodeFit()`, 200 passes of Adam.

    Raises:
        RequestError: PyTorch Geometric is missing, or the data does not fit.
    """
    library("torch_geometric", "graphs")
    x, edges = _graph(data, ("x", "edge_index", "y"))
    if delete not in ("nodes", "features"):
        raise RequestError(f"delete: expected 'nodes' or 'features', got {delete!r}")
    given = {"train": getattr(data, "train_mask", None) if train is None else train, "holdout": holdout, "test": test}
    sets = {name: _nodes(name, value, len(x)) for name, value in given.items() if value is not None}
    if "train" not in sets:
        raise RequestError("train is missing: give the numbers of the nodes that the model was trained on, or a mask")
    _check_apart({name: set(nodes.tolist()) for name, nodes in sets.items()}, "node")
    made: dict[str, Any] = {name: TensorDataset(nodes, data.y[nodes]) for name, nodes in sets.items()}
    made |= {"ids": sets["train"].numpy(), "kind": "classes", "batch_size": WHOLE, "fit": NodeFit()}
    return Task(**{**made, **fields, "structure": NodeGraph(x, edges, data.y, sets["train"], delete == "features")})


@clear_calls()
def link_task(
    data: Any,
    *,
    holdout: Any,
    test: Any = None,
    decode: Callable[[Tensor, Tensor], Tensor] = inner_product,
    seed: int = 0,
    **fields: Any,
) -> Task:
    """A task whose records are pairs of nodes, linked or not.

    The model is called as `model(x, edge_index)` and returns a row for each node. Ids are texts such as "3-17", with
    the smaller number first; direction is not kept. Training records are all edges of `data`, and as many pairs that
    are no edge in any set; the holdout and the test set have as many of these, too.

    Args:
        data: A `torch_geometric.data.Data` with `x` and the `edge_index` of the graph that the model was trained on.
        holdout: Edges that the model never saw, neither to be scored nor in the graph, (2, edges).
        test: The same, to measure the AUC.
        decode: The logit of pairs, called as `decode(z, pairs)` with the rows of all nodes and pairs (n, 2).
        seed: Seed of the pairs that are no edge.
        fields: Other fields of the task. `fit` is called as `fit(model, data, seed)`, with the `Data` to train on:
            `edge_label_index` are its edges, each once. By default it is `LinkFit(decode=decode)`, 1,500 passes of
            Adam, with new pairs that are no edge in each.

    Raises:
        RequestError: PyTorch Geometric is missing, or the data does not fit.
    """
    library("torch_geometric", "graphs")
    x, edges = _graph(data, ("x", "edge_index"))
    given = {"train": edges, "holdout": holdout, "test": test}
    linked = {name: _pairs(name, value, len(x)) for name, value in given.items() if value is not None}
    _check_apart({name: set(map(tuple, pairs.tolist())) for name, pairs in linked.items()}, "edge")
    counts = {name: len(pairs) for name, pairs in linked.items()}
    apart = absent_pairs(torch.cat(list(linked.values())), len(x), sum(counts.values()), seed)
    absent = dict(zip(counts, apart.split(list(counts.values())), strict=True))
    made: dict[str, Any] = {}
    for name, pairs in linked.items():
        y = torch.cat([torch.ones(len(pairs)), torch.zeros(len(pairs))])
        made[name] = TensorDataset(torch.cat([pairs, absent[name]]), y)
    records = made["train"].tensors[0]
    made |= {"ids": [link_id(u, v) for u, v in records.tolist()], "kind": "binary", "batch_size": WHOLE}
    made["fit"] = LinkFit(decode=decode)
    return Task(**{**made, **fields, "structure": LinkGraph(x, records, len(linked["train"]), decode)})


def link_id(u: int, v: int) -> str:
    """The id of a pair of nodes in a task of links."""
    return f"{min(u, v)}-{max(u, v)}"


def edges_at(task: Task, nodes: Collection[int]) -> list[str]:
    """The ids of all training edges at some nodes: what to forget where a node leaves a task of links.

    Args:
        task: A task by `link_task`.
        nodes: Numbers of the nodes.

    Raises:
        RequestError: The task is of another kind, or a node has no edge in training.
    """
    structure: Structure | None = task.structure
    if not isinstance(structure, LinkGraph):
        raise RequestError("edges_at is for a task by efface.integrations.graphs.link_task")
    wanted, edges = np.unique(np.asarray(list(nodes), dtype=np.int64)), structure.edges.numpy()
    if bare := np.setdiff1d(wanted, edges).tolist():
        raise RequestError(f"no training edge is at {shorten(bare)}: there is nothing to delete")
    return [link_id(u, v) for u, v in edges[np.isin(edges, wanted).any(1)].tolist()]


def with_operators(model: nn.Module, data: Any) -> nn.Module:
    """A copy of a model that the method `gnndelete` takes: an operator after each message-passing layer.

    It says what the model says until `gnndelete` trains the operators. A model retrained from it has them, too.

    Args:
        model: The model, called as `model(x, edge_index)`.
        data: The graph.

    Raises:
        RequestError: PyTorch Geometric is missing, or the model has no message-passing layer.
    """
    passing = library("torch_geometric.nn", "graphs").MessagePassing
    x, edges = _graph(data, ("x", "edge_index"))
    new = copy.deepcopy(model)
    layers = [module for module in new.modules() if isinstance(module, passing)]
    if not layers:
        raise RequestError("the model has no layer of torch_geometric.nn that passes messages, so it takes no operator")
    widths: dict[int, int] = {}

    def measure(layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        widths[id(layer)] = output.shape[-1]

    hooks = [layer.register_forward_hook(measure) for layer in layers]
    was = new.training
    with torch.no_grad():
        new.eval()(x, edges)
    new.train(was)
    for hook in hooks:
        hook.remove()
    used = [layer for layer in layers if id(layer) in widths]
    add_operators(new, used, [widths[id(layer)] for layer in used], len(x))
    return new


def absent_pairs(linked: Tensor, nodes: int, count: int, seed: int) -> Tensor:
    """Distinct pairs of nodes that are none of the linked ones, (count, 2), the smaller number first.

    Args:
        linked: Pairs to leave out, (n, 2), the smaller number first.
        nodes: The number of nodes.
        count: How many.
        seed: Seed of the draw.

    Raises:
        RequestError: There are not as many.
    """
    if nodes * (nodes - 1) // 2 - len(linked) < 2 * count:
        raise RequestError("the graph has too few pairs of nodes without an edge to compare edges with")
    rng = np.random.default_rng(derive_seed(seed, "absent pairs"))
    known = set((linked[:, 0] * nodes + linked[:, 1]).tolist())
    found: list[int] = []
    while len(found) < count:
        ends = np.sort(rng.integers(0, nodes, (count, 2)), axis=1)
        for code in (ends[ends[:, 0] < ends[:, 1]] @ np.array([nodes, 1])).tolist():
            if code not in known and len(found) < count:
                known.add(code)
                found.append(code)
    codes = torch.tensor(found, dtype=torch.int64)
    return torch.stack([codes // nodes, codes % nodes], 1)


def _graph(data: Any, names: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """The features and edges of a graph that has all it needs."""
    if missing := [name for name in names if not isinstance(getattr(data, name, None), Tensor)]:
        raise RequestError(
            f"data: expected a torch_geometric.data.Data with tensors {', '.join(names)}, got {kind_of(data)} "
            f"without {', '.join(missing)}"
        )
    edges = data.edge_index
    if edges.ndim != 2 or edges.shape[0] != 2 or edges.dtype != torch.int64:
        raise RequestError(f"data.edge_index: expected int64 (2, edges), got {edges.dtype} {tuple(edges.shape)}")
    _check_range("data.edge_index", edges, len(data.x))
    if "y" in names and data.y.shape != data.x.shape[:1]:
        raise RequestError(f"data.y: expected a class for each node, ({len(data.x)},), got {tuple(data.y.shape)}")
    return data.x, edges


def _nodes(name: str, given: Any, nodes: int) -> Tensor:
    """Numbers of nodes, given as such or as a mask."""
    at = torch.as_tensor(given)
    if at.dtype == torch.bool and at.shape == (nodes,):
        at = at.nonzero().flatten()
    if at.ndim != 1 or at.dtype.is_floating_point or at.dtype == torch.bool:
        raise RequestError(f"{name}: expected numbers of nodes, or a mask of {nodes} nodes, got {tuple(at.shape)}")
    _check_range(name, at, nodes)
    if len(at.unique()) < len(at):
        raise RequestError(f"{name}: a node stands twice in it")
    return at.long()


def _pairs(name: str, given: Any, nodes: int) -> Tensor:
    """Each edge once, (n, 2), the smaller number first."""
    edges = torch.as_tensor(given)
    if edges.ndim != 2 or edges.shape[0] != 2 or edges.dtype.is_floating_point or not edges.shape[1]:
        raise RequestError(f"{name}: expected edges (2, n), got {tuple(edges.shape)}")
    _check_range(name, edges, nodes)
    return unique_pairs(edges.long())


def _check_range(name: str, at: Tensor, nodes: int) -> None:
    odd = at[(at < 0) | (at >= nodes)].unique().tolist()
    if odd:
        raise RequestError(f"{name}: the graph has nodes 0 to {nodes - 1}, and not {shorten(odd)}")


def _check_apart(sets: dict[str, set[Any]], what: str) -> None:
    names = list(sets)
    lines = [
        f"{other} and {one} share {shorten(sorted(both))}: a {what} of one must not be in the other"
        for i, one in enumerate(names)
        for other in names[i + 1 :]
        if (both := sets[one] & sets[other])
    ]
    if lines:
        raise RequestError(lines)
