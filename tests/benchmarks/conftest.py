"""Fixtures that several test files of the benchmark share."""

from pathlib import Path

import pytest
from helpers.benchmark_command import SMOKE, Done, run_suite


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder."""
    monkeypatch.setenv("EFFACE_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The smoke suite, run in two processes."""
    folder = tmp_path_factory.mktemp("smoke")
    return run_suite(SMOKE, folder / "out", folder / "cache", "--jobs", "2")
