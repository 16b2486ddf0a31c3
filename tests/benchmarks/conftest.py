"""Fixtures that several test files of the benchmark share."""

import json
import os
from pathlib import Path

import pytest
from filelock import FileLock

from helpers.benchmark_cells import cell, controls, tuning, written
from helpers.benchmark_command import SMOKE, Done, run_suite

REFUSED = "the request was refused:\n  - the loss became nan: try a smaller | learning rate"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder."""
    monkeypatch.setenv("EFFACE_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The smoke suite, run in two processes, once for all processes of pytest-xdist."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "smoke"
    said = folder / "said.json"
    with FileLock(folder.with_suffix(".lock")):
        if said.is_file():
            return Done(folder / "out", folder / "cache", **json.loads(said.read_text(encoding="utf-8")))
        folder.mkdir()
        done = run_suite(SMOKE, folder / "out", folder / "cache", "--jobs", "2")
        said.write_text(json.dumps({"stdout": done.stdout, "stderr": done.stderr}), encoding="utf-8")
    return done


@pytest.fixture
def tier(tmp_path: Path) -> Path:
    """Two data sets, one request each, with tuned and failed baselines."""
    adult = {"problem": "adult", "request": "memorised"}
    return written(
        tmp_path / "tier",
        *controls(),
        cell("steer", "default", left=0.2, retain=0.15, cpu_s=3.0, vague=("logits",)),
        cell("finetune", left=0.9, retain=0.1, cpu_s=20.0),
        cell("finetune", "tuned", left=0.25, retain=0.1, half=0.2, cpu_s=5.0, tuning_s=12.0),
        cell("ssd", failed=REFUSED),
        cell("salun", left=None, cpu_s=1.0),
        *controls(**adult),
        cell(
            "steer", "default", left=0.5, retain=0.2, cpu_s=6.0, missing=("other_classes",), vague=("margin",), **adult
        ),
        cell("finetune", left=0.1, half=None, retain=3.0, cpu_s=10.0, dirty=True, **adult),
        tuning("finetune", 12.0),
    )
