"""Graphs of the benchmark: Cora and CiteSeer, papers with the words that they use, their topic, and who cites whom."""

import io
import pickle
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness.fetch import member, members
from efface.errors import RequestError


@dataclass(frozen=True)
class Papers:
    """A graph of papers.

    Args:
        x: Which words a paper uses, each row divided by their number, (papers, words).
        y: The topic of each paper, (papers,).
        pairs: Who cites whom, each pair once with the smaller number first, (pairs, 2).
    """

    x: Tensor
    y: Tensor
    pairs: Tensor


@cache
def cora() -> Papers:
    """Cora: 2,708 papers of 7 topics, 1,433 words, 5,278 pairs."""
    content = [line.split() for line in member("pgl", "pgl/data/cora/cora.content").decode().splitlines()]
    names = {row[0]: i for i, row in enumerate(content)}
    topics = {topic: i for i, topic in enumerate(sorted({row[-1] for row in content}))}
    x = torch.tensor(np.array([row[1:-1] for row in content], dtype=np.float32))
    y = torch.tensor([topics[row[-1]] for row in content])
    cites = [line.split() for line in member("pgl", "pgl/data/cora/cora.cites").decode().splitlines()]
    return _papers(x, y, [(names[a], names[b]) for a, b in cites if a in names and b in names])


@cache
def citeseer() -> Papers:
    """CiteSeer as Planetoid has it: 3,327 papers of 6 topics, 3,703 words; 15 papers have no words and no topic."""
    folder = "pgl/data/citeseer/ind.citeseer."
    parts = ("allx", "tx", "ally", "ty", "graph", "test.index")
    raw = dict(zip(parts, members("pgl", [folder + part for part in parts]), strict=True))
    order = np.array(raw["test.index"].decode().split(), dtype=np.int64)
    allx, tx, ally, ty, graph = (_read(raw[part]) for part in parts[:-1])
    size = int(order.max()) + 1
    x, y = np.zeros((size, allx.shape[1]), dtype=np.float32), np.zeros((size, ally.shape[1]))
    x[: allx.shape[0]], y[: len(ally)] = allx.toarray(), ally
    x[order], y[order] = tx.toarray(), ty
    pairs = [(a, b) for a, others in graph.items() for b in others if max(a, b) < size]
    return _papers(torch.tensor(x), torch.tensor(y.argmax(1)), pairs)


def _papers(x: Tensor, y: Tensor, cited: list[tuple[int, int]]) -> Papers:
    pairs = torch.tensor(sorted({(min(p), max(p)) for p in cited if p[0] != p[1]}))
    return Papers(x / x.sum(1, keepdim=True).clamp(min=1), y, pairs)


class _Restricted(pickle.Unpickler):
    """Reads arrays, sparse matrices and lists by number, and nothing else: a pickle may name any function."""

    def find_class(self, module: str, name: str) -> Any:
        import scipy.sparse

        known = {
            "csr_matrix": scipy.sparse.csr_matrix,
            "_reconstruct": np.empty(0).__reduce__()[0],
            "ndarray": np.ndarray,
            "dtype": np.dtype,
            "defaultdict": defaultdict,
            "list": list,
        }
        if (
            module.split(".")[0] not in {"scipy", "numpy", "collections", "__builtin__", "builtins"}
            or name not in known
        ):
            raise RequestError(f"the file of CiteSeer names {module}.{name}, which is not read")
        return known[name]


def _read(raw: bytes) -> Any:
    return _Restricted(io.BytesIO(raw), encoding="latin1").load()
