"""Running suites from end to end: the smoke suite in processes of this machine, a reduced one on a Dask cluster."""

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster, SchedulerPlugin

from benchmarks.harness import jobs, runner
from benchmarks.harness.jobs import Job
from benchmarks.harness.made import Folders
from benchmarks.harness.runner import Messages
from benchmarks.harness.stored import read_json
from benchmarks.harness.suite import read_suite
from efface.methods import REGISTRY
from helpers.benchmark_command import SETTING, SMOKE, SUITES, Done, run_suite
from helpers.command_line import listing

CELLS = ("noop-default", "retrain-default", "steer-default", "finetune-published", "finetune-tuned")
TUNING = f"{SETTING}-0-finetune-tuning"
KEYS = (
    *("schema", "cell", "options", "evidence", "method_version", "judge_version", "evaluator_version", "forget"),
    *("epochs", "early", "git", "versions", "machine", "tuning", "failed", "cost", "remains", "d2", "pairs"),
    *("accuracy forget", "accuracy retain", "accuracy test", "auc", "variation", "divergence"),
)
# what another run of the same cell may have otherwise
PASSING = ("cost", "git", "machine", "tuning")
QUIET: dict[str, Any] = {"processes": True, "dashboard_address": ":0", "silence_logs": logging.CRITICAL}
REDUCED = f"""
methods = '{SUITES / "methods.toml"}'
[[settings]]
problem = "noisy-digits"
records = 200
request = "random"
share = 0.1
originals = 4
others = 2
retrained = 8
methods = ["steer"]
"""


@pytest.fixture
def copied(smoke: Done, tmp_path: Path) -> Path:
    """The smoke suite's results, for a test that changes them."""
    return Path(shutil.copytree(smoke.out, tmp_path / "out"))


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the jobs that a run would do, in place of doing them."""
    names: list[str] = []

    def note(todo: list[Job], *_: Any) -> None:
        names.extend(job.name for job in todo)

    monkeypatch.setattr(jobs, "do", note)
    return names


def plan(out: Path, cache: Path) -> None:
    runner.run_suite(read_suite(SMOKE), Folders(out, cache), 1, Messages(lambda _: None, lambda *_: None))


def test_a_run_writes_one_file_a_cell_and_says_what_it_does(smoke: Done) -> None:
    assert listing(smoke.out) == sorted([f"{TUNING}.json", *(f"{SETTING}-1-{c}.json" for c in CELLS)])
    assert smoke.stdout.startswith("Smoke test: 5 cells, 5 of them to do, in 12 jobs: about ")
    assert "core-hours" in smoke.stdout and "in 2 processes" in smoke.stdout
    lines = smoke.stderr.splitlines()
    assert len(lines) == 12 and all(" left" in line for line in lines)


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_holds_what_tables_need(smoke: Done, name: str) -> None:
    found = smoke.cell(name)
    assert set(KEYS) == set(found) and found["failed"] is None
    method, variant = name.split("-")
    assert (found["cell"]["method"], found["cell"]["variant"]) == (method, variant)
    assert found["forget"] == 20 and set(found["remains"]) == set(found["d2"])
    for estimates in found["d2"].values():
        assert {"original", "unlearned", "retrained"} <= set(estimates)
        assert all(len(e) == 3 for e in estimates.values())
    assert (found["tuning"] is not None) == (variant == "tuned")
    if variant == "tuned":
        assert found["options"] == read_json(smoke.out / f"{TUNING}.json")["best"]
    assert found["cost"]["retrain"]["cpu_s"] > 0
    assert (found["cost"]["cheaper"] is None) == (method == "noop")


def test_doing_nothing_is_farthest(smoke: Done) -> None:
    far = {name: smoke.cell(name)["d2"]["margin"]["unlearned"][0] for name in CELLS}
    # so few models are too noisy to say which of the two is nearer
    assert max(far["retrain-default"], far["steer-default"]) < far["noop-default"]
    # methods on fewer originals than the controls are compared with their own
    for name in CELLS[1:]:
        assert far[name] < smoke.cell(name)["d2"]["margin"]["original"][0], name
    assert smoke.cell("noop-default")["remains"]["margin"]["share"][0] == 1


def test_a_second_run_makes_nothing_new(smoke: Done) -> None:
    files = [p for folder in (smoke.out, smoke.cache) for p in folder.rglob("*")]
    before = {p: p.stat().st_mtime_ns for p in files}
    again = run_suite(SMOKE, smoke.out, smoke.cache)
    assert "5 cells, 0 of them to do, in 0 jobs" in again.stdout and not again.stderr
    assert {p: p.stat().st_mtime_ns for folder in (smoke.out, smoke.cache) for p in folder.rglob("*")} == before


def test_only_a_missing_cell_is_made_again(smoke: Done, copied: Path) -> None:
    missing = copied / f"{SETTING}-1-finetune-published.json"
    missing.unlink()
    before = {p: p.stat().st_mtime_ns for p in copied.iterdir()}
    again = run_suite(SMOKE, copied, smoke.cache, "--jobs", "1")
    assert "5 cells, 1 of them to do, in 1 jobs" in again.stdout
    assert {p: p.stat().st_mtime_ns for p in copied.iterdir() if p != missing} == before
    same(read_json(missing), smoke.cell("finetune-published"))


def test_a_damaged_cell_is_made_again(smoke: Done, copied: Path, planned: list[str]) -> None:
    name = f"{SETTING}-1-noop-default"
    (copied / f"{name}.json").write_text("{", encoding="utf-8")
    plan(copied, smoke.cache)
    assert planned == [name]


def test_a_raised_version_of_a_method_runs_only_its_cells_again(
    smoke: Done, copied: Path, planned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(REGISTRY["finetune"], "version", REGISTRY["finetune"].version + 1)
    plan(copied, smoke.cache)
    # the models that its tuning is judged by are looked up again, and found
    models = [name for name in planned if " models (" in name]
    assert all(name.startswith(f"{SETTING}-0: ") for name in models)
    assert [name for name in planned if name not in models] == [
        TUNING,
        *(f"{SETTING}-1-finetune-{variant}" for variant in ("published", "tuned")),
    ]


@pytest.mark.parametrize("version", ["JUDGE_VERSION", "EVALUATOR_VERSION"])
def test_a_raised_version_of_the_judge_or_the_evaluator_runs_every_cell_again(
    smoke: Done, copied: Path, planned: list[str], monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(f"benchmarks.harness.versions.{version}", 99)
    plan(copied, smoke.cache)
    assert {name for name in planned if "models (" not in name} == {TUNING, *(f"{SETTING}-1-{c}" for c in CELLS)}


def same(one: Any, other: Any) -> None:
    """The same results, digit for digit."""
    assert {k: v for k, v in one.items() if k not in PASSING} == {k: v for k, v in other.items() if k not in PASSING}


class Finished(SchedulerPlugin):
    """Counts the tasks that a cluster's workers finish."""

    count = 0

    def transition(self, key: Any, start: str, finish: str, *_: Any, **__: Any) -> None:
        self.count += (start, finish) == ("processing", "memory")


def test_dask_workers_give_the_same_distances(smoke: Done, tmp_path: Path) -> None:
    suite, cache = tmp_path / "reduced.toml", tmp_path / "there"
    suite.write_text(REDUCED, encoding="utf-8")
    shutil.copytree(smoke.cache / "models", cache / "models")  # trained models are found, readings are made
    with LocalCluster(n_workers=2, threads_per_worker=1, local_directory=tmp_path / "scratch", **QUIET) as cluster:
        finished = Finished()
        cluster.scheduler.add_plugin(finished)
        there = run_suite(suite, tmp_path / "dask", cache, "--dask", cluster.scheduler_address)
    assert "in 2 processes" in there.stdout
    assert finished.count == len(there.stderr.splitlines()) > 3
    for name in ("noop-default", "retrain-default", "steer-default"):
        same(there.cell(name), smoke.cell(name))


def test_a_cell_has_its_price_by_phase_beside_that_of_retraining(smoke: Done) -> None:
    steer, retrain = smoke.cell("steer-default"), smoke.cell("retrain-default")
    own = steer["cost"]["unlearn"]
    assert sum(own["prices"].values()) == pytest.approx(own["price"])
    assert (
        sum(own["price_each"]) / len(own["price_each"]) == pytest.approx(own["price"]) and len(own["price_each"]) == 4
    )
    assert {"checks", "reference", "targets", "steps", "stop checks"} <= set(own["prices"])
    assert min(own["prices"].values()) > 0
    # 60 epochs of the 180 records that stay
    assert steer["cost"]["retrain"]["price"] == retrain["cost"]["unlearn"]["price"] == 60 * 180
    assert len(steer["pairs"]["margin"]) == 6
