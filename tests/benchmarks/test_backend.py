"""Dask clusters that would not do are refused."""

import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster

from benchmarks.harness import backend
from efface.errors import RequestError
from helpers.benchmark_command import SMOKE, bench
from helpers.command_line import listing

QUIET: dict[str, Any] = {"processes": False, "dashboard_address": ":0", "silence_logs": logging.CRITICAL}


@pytest.mark.parametrize(("workers", "each", "said"), [(2, 2, "up to 2 threads"), (1, 1, "fewer than 2 workers")])
def test_a_dask_cluster_that_would_not_do_is_refused(
    workers: int, each: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "WAIT_S", 0.2)
    with (
        LocalCluster(n_workers=workers, threads_per_worker=each, **QUIET) as cluster,
        pytest.raises(RequestError, match=said),
        backend.dask_workers(cluster.scheduler_address),
    ):
        pass


def test_dask_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "WAIT_S", 0.2)
    words = ("run", str(SMOKE), "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache"), "--dask")
    for address, said in (("127.0.0.1:9", "no Dask scheduler answers there"), ("nowhere://x", "no Dask scheduler")):
        result = bench(*words, address)
        assert result.exit_code == 2 and said in result.stderr
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = bench(*words, "127.0.0.1:9")
    assert result.exit_code == 2 and "pip install -e '.[bench]'" in result.stderr
    assert not listing(tmp_path)
