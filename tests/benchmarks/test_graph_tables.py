"""Tables of the benchmark on graphs, and the file of CiteSeer, which may name no function."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from benchmarks.graphs.tables import BLOCK, fill, render
from benchmarks.harness.graph_sets import _read
from efface.errors import RequestError

ROOT = Path(__file__).resolve().parents[2]


def row(method: str, training: float, **changes: Any) -> dict[str, Any]:
    made = {"setting": "cora-gcn-edges", "method": method, "models": 4, "distances": {"deleted": [1.5, 1.0, 2.0]}}
    made |= {
        "beside_unlinking": {},
        "measures": {"test AUC": 0.9, "test AUC spread": 0.01},
        "training_passes": training,
    }
    return made | {"forward_passes": 30.0, "cpu_s": 2.0} | changes


def test_prices_are_in_passes_and_methods_in_order(tmp_path: Path) -> None:
    controls = row("retrained", 1500, forward_passes=0.0, models=5), row("do nothing", 0, forward_passes=0)
    rows = [*controls, row("steer", 65)]
    for one in rows:
        (tmp_path / f"{one['method']}.json").write_text(json.dumps(one))
    lines = render(tmp_path).splitlines()
    assert lines[0] == "### Cora, GCN: edges deleted, link prediction"
    assert "4 unlearned models, 5 retrained." in lines
    table = [line for line in lines if line.startswith("|")][2:]
    assert [line.split(" | ")[0] for line in table] == ["| do nothing", "| steer", "| retrained"]
    assert "| 1.50 (1.00 to 2.00) | 0.900 | 75 | 20.0x | 2.0 |" in table[1]


def test_methods_stand_beside_unlinking_alone(tmp_path: Path) -> None:
    rows = [row("utu", 4), row("steer", 65, beside_unlinking={"deleted": [-1.25, -2.0, -0.5]})]
    for one in rows:
        (tmp_path / f"{one['method']}.json").write_text(json.dumps(one))
    lines = render(tmp_path).splitlines()
    assert lines[-1] == "| steer | -1.25 (-2.00 to -0.50) |"
    assert lines[-3] == "| method | deleted |" and "less that of `utu`" in lines[-5]


def test_a_block_is_filled_and_filled_anew() -> None:
    page = f"before\n\n{BLOCK[0]}\n"
    once = fill(page, "table\n")
    assert once == f"before\n\n{BLOCK[0]}\n\ntable\n\n{BLOCK[1]}\n"
    assert fill(once, "table\n") == once


def test_the_page_holds_what_the_committed_rows_give() -> None:
    page = (ROOT / "docs" / "structures.md").read_text(encoding="utf-8")
    assert page == fill(page, render(ROOT / "benchmarks" / "results" / "graphs"))


def test_a_pickle_of_arrays_is_read_and_one_of_anything_else_is_not() -> None:
    matrix = csr_matrix(np.eye(3, dtype=np.float32))
    assert (_read(pickle.dumps(matrix, protocol=3)).toarray() == np.eye(3)).all()
    assert _read(pickle.dumps({1: [2, 3]}, protocol=3)) == {1: [2, 3]}
    with pytest.raises(RequestError, match="is not read"):
        _read(pickle.dumps(print, protocol=3))
