"""PyTorch Geometric: nodes, edges and features are deleted, and everything is read in the graph that is left."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv, SAGEConv
from typer.testing import CliRunner

import efface
from efface.cli.main import app
from efface.data.records import Records
from efface.integrations import graphs
from efface.integrations.graph_fits import LinkFit, NodeFit
from efface.integrations.graph_structures import LinkGraph, NodeGraph
from efface.methods import GNNDelete
from efface.models.checkpoint import load_weights, save_weights
from efface.models.running import logits_of
from efface.models.training import Recipe, retrain
from efface.runtime.cost import Meter
from efface.store import RunPlan, Store
from extras.pages import run_page
from extras.runs import margins, moved, unlearn

NODES, FEATURES, CLASSES = 500, 24, 3


class Net(nn.Module):
    def __init__(self, layer: Any = GCNConv, outputs: int = CLASSES) -> None:
        super().__init__()
        self.one, self.two = layer(FEATURES, 32), layer(32, outputs)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        return self.two(self.one(x, edge_index).relu(), edge_index)


def both(pairs: torch.Tensor) -> torch.Tensor:
    return torch.cat([pairs.t(), pairs.t().flip(0)], 1)


@pytest.fixture(scope="module")
def graph() -> Data:
    """A graph in which neighbours are often of one class."""
    torch.manual_seed(0)
    y = torch.arange(NODES) % CLASSES
    x = torch.randn(NODES, FEATURES)
    x[torch.arange(NODES), y] += 2.5
    pairs = torch.randint(NODES, (6000, 2))
    kept = (pairs[:, 0] < pairs[:, 1]) & ((y[pairs[:, 0]] == y[pairs[:, 1]]) | (torch.rand(6000) < 0.05))
    return Data(x=x, edge_index=both(torch.unique(pairs[kept], dim=0)), y=y)


@pytest.fixture(scope="module")
def nodes(graph: Data) -> efface.Task:
    return graphs.node_task(graph, train=range(300), holdout=range(300, 500), fit=NodeFit(epochs=120))


@pytest.fixture(scope="module")
def links(graph: Data) -> efface.Task:
    torch.manual_seed(1)
    pairs = graph.edge_index[:, graph.edge_index[0] < graph.edge_index[1]].t()
    pairs = pairs[torch.randperm(len(pairs))]
    data = Data(x=graph.x, edge_index=both(pairs[250:]))
    return graphs.link_task(data, holdout=pairs[:250].t(), fit=LinkFit(epochs=250, lr=5e-3))


def trained(task: efface.Task, net: nn.Module) -> nn.Module:
    return retrain(task, net, np.arange(len(task.train)), 0, Meter(), Recipe()).eval()


@pytest.fixture(scope="module")
def node_model(nodes: efface.Task) -> nn.Module:
    return trained(nodes, Net())


@pytest.fixture(scope="module")
def link_model(links: efface.Task) -> nn.Module:
    return trained(links, Net(GCNConv, 16))


def read(task: efface.Task, model: nn.Module, inputs: Any) -> torch.Tensor:
    assert task.structure is not None
    with torch.no_grad():
        return task.structure.forward(model, torch.as_tensor(inputs))


def test_a_deleted_node_hears_and_is_not_heard(graph: Data, nodes: efface.Task, node_model: nn.Module) -> None:
    at = np.array([3, 8, 150])
    after = nodes.after(at)
    source, target = graph.edge_index
    heard = torch.arange(NODES) < 300
    heard[at] = False
    by_hand = node_model(graph.x, graph.edge_index[:, heard[source]]).detach()
    assert torch.allclose(read(after, node_model, range(NODES)), by_hand, atol=1e-5)
    # a holdout node is read in the same way before and after, but for the nodes that are gone
    far = [v for v in range(300, 500) if not set(_around(graph, v, 3)) & set(at.tolist())]
    assert far and torch.allclose(read(after, node_model, far), read(nodes, node_model, far), atol=1e-5)
    rings = nodes.structure.affected(at)  # type: ignore[union-attr]
    near = {int(v) for v in target[torch.isin(source, torch.from_numpy(at))] if v < 300} - set(at.tolist())
    assert set(rings["1 hop"].tolist()) == near
    assert not set(rings["1 hop"].tolist()) & set(rings["2 hops"].tolist())


def _around(graph: Data, node: int, hops: int) -> list[int]:
    reached = torch.zeros(NODES, dtype=torch.bool)
    reached[node] = True
    for _ in range(hops):
        reached[graph.edge_index[0][reached[graph.edge_index[1]]]] = True
    return reached.nonzero().flatten().tolist()


def test_a_deleted_edge_is_scored_without_itself(links: efface.Task, link_model: nn.Module) -> None:
    structure = links.structure
    assert isinstance(structure, LinkGraph)
    after, pair = links.after(np.array([0])), structure.pairs[:1]
    z = link_model(structure.x, both(structure.edges[1:])).detach()
    assert torch.allclose(read(after, link_model, pair), (z[pair[:, 0]] * z[pair[:, 1]]).sum(1), atol=1e-4)
    assert not torch.allclose(read(after, link_model, pair), read(links, link_model, pair), atol=1e-4)
    # a pair that is no edge takes nothing with it
    last = len(structure.pairs) - 1
    assert torch.equal(read(links.after(np.array([last])), link_model, pair), read(links, link_model, pair))


def test_features_leave_and_the_node_stays_as_a_link(graph: Data, node_model: nn.Module) -> None:
    task = graphs.node_task(graph, train=range(300), holdout=range(300, 500), delete="features")
    after = task.after(np.array([3]))
    assert isinstance(after.structure, NodeGraph)
    bare = graph.x.clone()
    bare[3] = 0.0
    edges = graph.edge_index[:, graph.edge_index[0] < 300]
    near = [v for v in _around(graph, 3, 1) if v != 3]
    assert torch.allclose(read(after, node_model, near), node_model(bare, edges).detach()[near], atol=1e-5)
    # the features of a node that left are read as those of a newcomer, whose neighbours never heard of it
    gone = graphs.node_task(graph, train=range(300), holdout=range(300, 500)).after(np.array([3]))
    assert torch.equal(read(after, node_model, [3]), read(gone, node_model, [3]))
    assert torch.allclose(read(after, node_model, [*near, 3])[:-1], read(after, node_model, near), atol=1e-6)
    data = after.structure.fitted([(torch.tensor(v), 0) for v in range(300) if v != 3])
    assert not data.x[3].any() and not data.train_mask[3] and data.y[3] == -1 and data.train_mask.sum() == 299
    assert (data.edge_index == 3).any(), "its edges stay"


def test_what_is_trained_on_has_nothing_of_what_left(nodes: efface.Task, links: efface.Task) -> None:
    seen: list[Data] = []
    both_tasks = [(nodes, Net(), [4, 5]), (links, Net(SAGEConv, 16), [7])]
    for task, net, at in both_tasks:
        watched = efface.Task(**{**vars(task), "fit": lambda model, data, seed: seen.append(data)})
        retrain(watched, net, np.setdiff1d(np.arange(len(task.train)), at), 0, Meter(), Recipe())
    assert not torch.isin(seen[0].edge_index, torch.tensor([4, 5])).any() and (seen[0].y[[4, 5]] == -1).all()
    assert seen[0].edge_index.max() < 300 and (seen[0].y[300:] == -1).all()
    pair = links.structure.pairs[7].tolist()  # type: ignore[union-attr]
    assert pair not in seen[1].edge_index.t().tolist() and pair[::-1] not in seen[1].edge_index.t().tolist()
    assert len(seen[1].edge_label_index[0]) == links.structure.linked - 1  # type: ignore[union-attr]


def test_nodes_are_forgotten(nodes: efface.Task, node_model: nn.Module) -> None:
    result = unlearn(node_model, nodes)
    after = nodes.after(np.arange(30))
    assert moved(result.model, node_model)
    was, now = (margins(m, after, list(range(30))).mean() for m in (node_model, result.model))
    assert now < was


def test_edges_are_forgotten_and_the_audit_runs(links: efface.Task, link_model: nn.Module) -> None:
    result = unlearn(link_model, links, forget=list(links.ids or ())[:60])
    report = efface.audit(result, seed=1)
    assert report.verdict.status.value
    forgot_in = links.after(np.arange(60))
    was, now = (margins(m, forgot_in, list(range(60))).mean() for m in (link_model, result.model))
    assert now < was


@pytest.mark.parametrize("method", ["utu", "gif", "gnndelete"])
def test_methods_of_structures_run(method: str, links: efface.Task, link_model: nn.Module) -> None:
    small = {"gif": {"rounds": 1, "iterations": 3, "sample": 100}, "gnndelete": {"steps": 5}, "utu": {}}
    model = graphs.with_operators(link_model, Data(x=links.structure.x, edge_index=both(links.structure.edges)))  # type: ignore[union-attr]
    made = efface.methods.get(method, small[method])
    result = unlearn(model, links, forget=list(links.ids or ())[:20], method=made)
    assert bool(moved(result.model, model)) == (method != "utu")


def test_operators_change_nothing_by_themselves(graph: Data, node_model: nn.Module) -> None:
    followed = graphs.with_operators(node_model, graph)
    assert torch.equal(followed(graph.x, graph.edge_index), node_model(graph.x, graph.edge_index))
    assert [m.weight.shape[0] for m in followed.modules() if type(m).__name__ == "DeletionOperator"] == [32, CLASSES]
    with pytest.raises(efface.RequestError, match="no layer of torch_geometric"):
        graphs.with_operators(nn.Linear(2, 2), graph)
    assert GNNDelete().unfit(node_model) and not GNNDelete().unfit(followed)


def test_bad_graphs_and_requests_are_refused(graph: Data, links: efface.Task, link_model: nn.Module) -> None:
    def refused(what: str, **given: Any) -> None:
        with pytest.raises(efface.RequestError, match=what):
            graphs.node_task(**{"data": graph, "train": range(9), "holdout": range(9, 20), **given})

    refused("with tensors x, edge_index, y", data=Data(x=graph.x))
    refused("nodes 0 to 499, and not 500, -1|nodes 0 to 499, and not -1, 500", holdout=[500, -1])
    refused("holdout and train share 8", holdout=[8, 12])
    refused("a node stands twice", holdout=[12, 12])
    refused("expected 'nodes' or 'features'", delete="edges")
    odd = graph.clone()
    odd.edge_index = torch.tensor([[0], [999]])
    refused("edge_index: the graph has nodes 0 to 499, and not 999", data=odd)
    with pytest.raises(efface.RequestError, match="holdout and train share"):
        graphs.link_task(graph, holdout=graph.edge_index[:, :4])
    absent = list(links.ids or ())[-1]
    for forget, what in (([absent], "only edges can be deleted"), (["0-499999"], "0-499999")):
        with pytest.raises(efface.RequestError, match=what):
            efface.check(link_model, task=links, forget=forget)
    with pytest.raises(efface.RequestError, match="no training edge is at 7"):
        bare = Data(x=graph.x, edge_index=graph.edge_index[:, (graph.edge_index != 7).all(0)])
        graphs.edges_at(graphs.link_task(bare, holdout=torch.tensor([[7], [8]])), [7])


def test_what_a_deletion_does_to_the_shape_is_told() -> None:
    x = torch.eye(8, 4)
    chain = torch.tensor([[0, 1], [1, 2], [2, 3], [4, 5]])
    structure = LinkGraph(x, torch.cat([chain, torch.tensor([[0, 7]])]), 4)
    apart = structure.effects(np.array([1]))
    assert apart.refusals == () and "falls into" in apart.warnings[0]
    bare = structure.effects(np.array([3]))
    assert any("last edges" in line for line in bare.warnings)
    assert "no edge would be left" in structure.effects(np.arange(4)).refusals[0]
    lonely = NodeGraph(x, both(chain), torch.zeros(8, dtype=torch.int64), torch.arange(8), False)
    assert "1 node to delete has no edge in training" in lonely.effects(np.array([6])).warnings[0]


def test_a_node_is_deleted_by_its_edges(links: efface.Task) -> None:
    ids = graphs.edges_at(links, [0])
    assert ids and all("0" in one.split("-") for one in ids) and set(ids) <= set(links.ids or ())


def test_the_page_runs(
    graph: Data, links: efface.Task, node_model: nn.Module, link_model: nn.Module, tmp_path: Path
) -> None:
    data = graph.clone()
    data.train_mask = torch.arange(NODES) < 300
    held = links.holdout.tensors[0][:250].t()  # type: ignore[attr-defined]
    world = {"data": data, "model": node_model, "holdout_mask": torch.arange(NODES) >= 320, "link_model": link_model}
    world |= {"test_mask": (torch.arange(NODES) >= 300) & (torch.arange(NODES) < 320), "forget_nodes": list(range(20))}
    world |= {"unseen_nodes": torch.arange(400, 410), "held_edges": held, "forget_edges": list(links.ids or ())[:12]}
    world |= {"links": Data(x=graph.x, edge_index=both(links.structure.edges))}  # type: ignore[union-attr]
    names = run_page("graphs", world)
    assert names["logits"].shape == (10, CLASSES) and names["edges_of_a_node"]


def test_a_few_edges_are_rehearsed_on_other_edges(links: efface.Task, link_model: nn.Module) -> None:
    """Half of the training records are pairs without an edge, which cannot leave."""
    every = np.arange(len(links.train))
    assert (links.can_leave(every) == (every < links.structure.linked)).all()  # type: ignore[union-attr]
    result = unlearn(link_model, links, forget=list(links.ids or ())[:3], method="finetune")
    report = efface.audit(result, seed=1, options=efface.AuditOptions(rehearse=True))
    found = report.findings.rehearsal
    assert found is not None and found.records >= 60 and found.runs >= 2


@pytest.mark.parametrize("layer", ["gcn", "sage"])
def test_the_benchmark_trains_networks_side_by_side_as_the_fit_trains_one(layer: str, graph: Data) -> None:
    from benchmarks.graphs.networks import link_network, train_side_by_side

    torch.manual_seed(2)
    networks = [link_network(layer, FEATURES) for _ in range(2)]
    alone = [link_network(layer, FEATURES) for _ in range(2)]
    for one, other in zip(alone, networks, strict=True):
        one.load_state_dict(other.state_dict())
    train_side_by_side(networks, graph.x, graph.edge_index, 5, 1e-3, [3, 4])
    pairs = graph.edge_index[:, graph.edge_index[0] < graph.edge_index[1]]
    data = Data(x=graph.x, edge_index=graph.edge_index, edge_label_index=pairs)
    for one, other, seed in zip(alone, networks, (3, 4), strict=True):
        LinkFit(epochs=5, lr=1e-3)(one, data, seed)
        for name, weight in one.named_parameters():
            assert torch.allclose(weight, dict(other.named_parameters())[name], atol=2e-4), name


def test_the_benchmark_counts_an_answer_as_right_that_is_likeliest_though_below_a_half(graph: Data) -> None:
    from benchmarks.graphs.measure import Judge

    task = graphs.node_task(graph, train=range(300), holdout=range(320, 500), test=range(300, 320))
    net = trained(replace(task, fit=NodeFit(epochs=30)), Net())
    with torch.no_grad():
        net.two.lin.weight.mul_(0.01)  # type: ignore[union-attr]
        net.two.bias.mul_(0.01)  # type: ignore[union-attr]
    setting: Any = SimpleNamespace(task=task, forget=np.arange(10), of_links=False)
    margins_by_place, found = Judge(setting).read(net, after=False)
    test = logits_of(task, net, Records(task.test, task), np.arange(20), Meter())  # type: ignore[arg-type]
    assert bool((margins_by_place["deleted"] < 0).all())
    right = (test.argmax(1) == graph.y[300:320]).double().mean()
    assert found["test accuracy"] == pytest.approx(float(right)) and right > 0.5


PLAN = RunPlan(options={"steps": 10}, level="quick", accept="any")


def served(store: Store, net: nn.Module) -> nn.Module:
    load_weights(net, store.current)
    return net.eval()


def test_nodes_are_forgotten_in_turn_and_never_heard_of_again(
    nodes: efface.Task, node_model: nn.Module, tmp_path: Path
) -> None:
    task = replace(nodes, build_model=Net)
    store = Store.create(tmp_path / "store", task, node_model)
    store.add([3, 40, 77])
    assert store.run(PLAN).version is not None
    store.add([5, 9])
    outcome = store.run(PLAN)
    assert outcome.version is not None and outcome.version.requests == (2,)
    verified = store.verify(level="quick")
    assert not verified.problems and verified.report is not None
    assert not any("said of training records" in line.what for line in verified.leftovers), "structures keep no outputs"
    store.add([100])
    assert store.run(RunPlan(retrain=True, seed=1)).version is not None
    holdout = Records(nodes.holdout, nodes)
    left = nodes.after(np.array([3, 40, 77, 5, 9, 100]))
    said = logits_of(left, served(store, Net()), holdout, np.arange(len(holdout)), Meter()).argmax(1)
    assert (said == holdout.targets(range(len(holdout)))).double().mean() > 0.8


def test_links_are_forgotten_by_their_ids(links: efface.Task, link_model: nn.Module, tmp_path: Path) -> None:
    task = replace(links, build_model=lambda: Net(GCNConv, 16))
    store = Store.create(tmp_path / "store", task, link_model)
    asked = [str(name) for name in list(links.ids)[:4]]  # type: ignore[arg-type]
    store.add(asked)
    outcome = store.run(PLAN)
    assert outcome.version is not None and outcome.records == 4
    assert not store.verify(level=None).problems
    absent = str(list(links.ids)[-1])  # type: ignore[arg-type]
    store.add([absent])
    with pytest.raises(efface.RequestError, match="without an edge: only edges can be deleted"):
        store.run(PLAN)


TASK = """
import torch
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv
from efface.integrations import graphs
from efface.integrations.graph_fits import NodeFit

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = GCNConv(24, 32), GCNConv(32, 3)

    def forward(self, x, edge_index):
        return self.two(self.one(x, edge_index).relu(), edge_index)

def task():
    from dataclasses import replace
    data = Data(**torch.load("graph.pt", weights_only=True))
    made = graphs.node_task(data, train=range(300), holdout=range(300, 500), fit=NodeFit(epochs=120))
    return replace(made, build_model=Net)
"""


def test_the_command_line_takes_a_graph(
    graph: Data, node_model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"x": graph.x, "edge_index": graph.edge_index, "y": graph.y}, tmp_path / "graph.pt")
    (tmp_path / "graph_task.py").write_text(TASK)
    (tmp_path / "ids.txt").write_text("3\n40\n77\n")
    save_weights(node_model, tmp_path / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    given = ["graph_task:task", "--checkpoint", "model.safetensors"]
    seen = CliRunner().invoke(app, ["doctor", *given])
    assert seen.exit_code == 0, seen.output
    done = CliRunner().invoke(app, ["unlearn", *given, "--forget", "ids.txt", "--out", "run", "--level", "quick"])
    assert done.exit_code in (0, 3), done.output
    assert (tmp_path / "run" / "report.html").exists() and (tmp_path / "run" / "receipt.pdf").exists()
