"""The benchmark from end to end: its smoke suite in processes of this machine, and a reduced one on a Dask cluster."""

import io
import json
import logging
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from command_line import listing, run
from distributed import LocalCluster, SchedulerPlugin
from efface.bench import backend, cell, runner
from efface.bench.runner import Job, run_suite
from efface.bench.suite import Suite, read_suite

import efface
from efface.cli import bench as command
from efface.errors import RequestError

SUITES = Path(efface.__file__).parents[2] / "benchmarks"
SMOKE = SUITES / "smoke.toml"
SETTING = "noisy-digits-600-random-0.1"
CELLS = ("noop-default", "retrain-default", "steer-default", "finetune-published", "finetune-tuned")
TUNING = f"{SETTING}-0-finetune-tuning"
KEYS = (
    *("schema", "key", "cell", "options", "forget", "epochs", "early", "git", "versions", "machine", "tuning"),
    *("failed", "cost", "remains", "d2", "accuracy forget", "accuracy retain", "accuracy test", "auc"),
    *("variation", "divergence"),
)
# what a run of the same cell may tell otherwise
PASSING = ("cost", "git", "machine", "tuning")
QUIET: dict[str, Any] = {"processes": True, "dashboard_address": None, "silence_logs": logging.CRITICAL}
REDUCED = f"""
methods = '{SUITES / "methods.toml"}'
[[settings]]
problem = "noisy-digits"
request = "random"
share = 0.1
originals = 2
others = 2
retrained = 8
methods = ["finetune"]
"""


@dataclass(frozen=True)
class Done:
    """The folders of a suite that was run, and what the command told."""

    out: Path
    cache: Path
    stdout: str
    stderr: str

    def cell(self, name: str) -> Any:
        """The JSON of a cell, by method and variant."""
        return read(self.out / f"{SETTING}-1-{name}.json")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def bench(suite: Path, out: Path, cache: Path, *words: str) -> Done:
    result = run("bench", "run", str(suite), "--out", str(out), "--cache", str(cache), *words)
    assert result.exit_code == 0, result.output
    return Done(out, cache, result.stdout, result.stderr)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("smoke")
    return bench(SMOKE, folder / "out", folder / "cache", "--jobs", "2")


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

    monkeypatch.setattr(runner, "_do", note)
    return names


def plan(suite: Suite, out: Path, cache: Path) -> None:
    run_suite(suite, out, cache, 1, lambda _: None, lambda *_: None)


def test_a_run_writes_one_file_a_cell_and_tells_what_it_does(smoke: Done) -> None:
    assert listing(smoke.out) == sorted([f"{TUNING}.json", *(f"{SETTING}-1-{c}.json" for c in CELLS)])
    assert smoke.stdout.startswith("Smoke test: 5 cells, 5 of them to do, in 12 jobs: about ")
    assert "core-hours" in smoke.stdout and "in 2 processes" in smoke.stdout
    lines = smoke.stderr.splitlines()
    assert len(lines) == 12 and all(" left" in line for line in lines)


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_holds_what_tables_need(smoke: Done, name: str) -> None:
    told = smoke.cell(name)
    assert set(KEYS) == set(told) and told["failed"] is None
    method, variant = name.split("-")
    assert (told["cell"]["method"], told["cell"]["variant"]) == (method, variant)
    assert told["forget"] == 60 and set(told["remains"]) == set(told["d2"])
    for estimates in told["d2"].values():
        assert {"original", "unlearned", "retrained"} <= set(estimates)
        assert all(len(e) == 3 for e in estimates.values())
    assert (told["tuning"] is not None) == (variant == "tuned")
    if variant == "tuned":
        assert told["options"] == read(smoke.out / f"{TUNING}.json")["best"]
    assert told["cost"]["retrain"]["cpu_s"] > 0
    assert (told["cost"]["cheaper"] is None) == (method == "noop")


def test_doing_nothing_is_farthest_and_retraining_nearest(smoke: Done) -> None:
    far = {name: smoke.cell(name)["d2"]["margin"]["unlearned"][0] for name in CELLS}
    assert far["retrain-default"] < far["steer-default"] < far["noop-default"]
    assert far["retrain-default"] == min(far.values())
    # methods on fewer originals than the controls are compared with their own
    for name in CELLS[1:]:
        assert far[name] < smoke.cell(name)["d2"]["margin"]["original"][0], name
    assert smoke.cell("noop-default")["remains"]["margin"]["share"][0] == 1


def test_a_second_run_makes_nothing_new(smoke: Done) -> None:
    files = [p for folder in (smoke.out, smoke.cache) for p in folder.rglob("*")]
    before = {p: p.stat().st_mtime_ns for p in files}
    again = bench(SMOKE, smoke.out, smoke.cache)
    assert "5 cells, 0 of them to do, in 0 jobs" in again.stdout and not again.stderr
    assert {p: p.stat().st_mtime_ns for folder in (smoke.out, smoke.cache) for p in folder.rglob("*")} == before


def test_only_a_missing_cell_is_made_again(smoke: Done, copied: Path) -> None:
    gone = copied / f"{SETTING}-1-finetune-published.json"
    gone.unlink()
    before = {p: p.stat().st_mtime_ns for p in copied.iterdir()}
    again = bench(SMOKE, copied, smoke.cache, "--jobs", "1")
    assert "5 cells, 1 of them to do, in 1 jobs" in again.stdout
    assert {p: p.stat().st_mtime_ns for p in copied.iterdir() if p != gone} == before
    same(read(gone), smoke.cell("finetune-published"))


def test_a_damaged_cell_is_made_again(smoke: Done, copied: Path, planned: list[str]) -> None:
    name = f"{SETTING}-1-noop-default"
    (copied / f"{name}.json").write_text("{", encoding="utf-8")
    plan(read_suite(SMOKE), copied, smoke.cache)
    assert planned == [name]


def test_changed_code_of_a_method_runs_only_its_cells_again(
    smoke: Done, copied: Path, planned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cell.digest_of
    monkeypatch.setattr(cell, "digest_of", lambda m: "other" if m[0] == "methods.finetune" else real(m))
    plan(read_suite(SMOKE), copied, smoke.cache)
    # the models that its tuning is judged by are looked up again, and found
    models = [name for name in planned if " models (" in name]
    assert all(name.startswith(f"{SETTING}-0: ") for name in models)
    assert [name for name in planned if name not in models] == [
        TUNING,
        *(f"{SETTING}-1-finetune-{variant}" for variant in ("published", "tuned")),
    ]


def test_all_that_is_wrong_with_a_run_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    place = str(tmp_path / "file")
    words = ("--out", place, "--cache", place, "--jobs", "2", "--dask", "127.0.0.1:9")
    result = run("bench", "run", str(tmp_path / "no.toml"), *words)
    assert result.exit_code == 2 and not result.stdout and "4 reasons" in result.stderr
    for said in ("cannot be read", "is not a folder (--out)", f"cache {place}: ", "leave one out"):
        assert said in result.stderr


def test_an_interrupted_run_ends_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "_do", interrupt)
    result = run("bench", "run", str(SMOKE), "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache"))
    assert result.exit_code == 130 and result.stderr == "efface: interrupted\n"


def test_a_terminal_shows_a_line_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    shown.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(sys, "stderr", shown)
    with command._progress() as done:
        done("first [of] two", 90.0)
    assert "first [of] two" in shown.getvalue() and "about 90.0 s left" in shown.getvalue()


def test_a_dry_run_tells_the_estimate_and_writes_nothing(tmp_path: Path) -> None:
    done = bench(SMOKE, tmp_path / "out", tmp_path / "cache", "--dry-run")
    assert done.stdout.startswith("Smoke test: 5 cells, 5 of them to do") and not done.stderr
    assert done.stdout.count("\n") == 1 and not listing(tmp_path)


def test_results_become_tables_and_figures(smoke: Done, tmp_path: Path) -> None:
    shown, written = run("bench", "table", str(smoke.out)), tmp_path / "table.md"
    assert shown.exit_code == 0 and "| finetune" in shown.stdout
    assert run("bench", "table", str(smoke.out), "--out", str(written)).stdout == f"Wrote {written}\n"
    assert written.read_text(encoding="utf-8").rstrip("\n") == shown.stdout.rstrip("\n")
    drawn = run("bench", "plot", str(smoke.out), "--out", str(tmp_path / "figures"))
    assert drawn.exit_code == 0, drawn.output
    assert drawn.stdout.split("Wrote ")[1:] == [f"{p}\n" for p in sorted((tmp_path / "figures").iterdir())]


def test_results_that_are_not_there_are_refused(tmp_path: Path) -> None:
    for words in (("table", "none"), ("plot", "none", "--out", str(tmp_path / "figures"))):
        result = run("bench", *words)
        assert result.exit_code == 2 and "none: there is no such folder" in result.stderr
    assert not listing(tmp_path)


def same(one: Any, other: Any) -> None:
    """The same results, digit for digit."""
    assert {k: v for k, v in one.items() if k not in PASSING} == {k: v for k, v in other.items() if k not in PASSING}


class Finished(SchedulerPlugin):
    """Counts the tasks that a cluster's workers finish."""

    count = 0

    def transition(self, key: Any, start: str, finish: str, *_: Any, **__: Any) -> None:
        self.count += (start, finish) == ("processing", "memory")


def test_dask_workers_give_the_same_distances(smoke: Done, tmp_path: Path) -> None:
    suite = tmp_path / "reduced.toml"
    suite.write_text(REDUCED, encoding="utf-8")
    caches = [tmp_path / "here", tmp_path / "there"]
    for place in caches:  # trained models are found, readings are made
        shutil.copytree(smoke.cache / "models", place / "models")
    here = bench(suite, tmp_path / "out", caches[0], "--jobs", "2")
    with LocalCluster(n_workers=2, threads_per_worker=1, local_directory=tmp_path / "scratch", **QUIET) as cluster:
        finished = Finished()
        cluster.scheduler.add_plugin(finished)
        there = bench(suite, tmp_path / "dask", caches[1], "--dask", cluster.scheduler_address)
    jobs = len(here.stderr.splitlines())
    assert "in 2 processes" in there.stdout and len(there.stderr.splitlines()) == jobs
    assert finished.count == jobs > 3
    for name in ("noop-default", "retrain-default", "finetune-published"):
        same(there.cell(name), here.cell(name))


@pytest.mark.parametrize(("workers", "each", "said"), [(2, 2, "up to 2 threads"), (1, 1, "fewer than 2 workers")])
def test_a_dask_cluster_that_would_not_do_is_refused(
    workers: int, each: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "WAIT_S", 0.2)
    with (
        LocalCluster(n_workers=workers, threads_per_worker=each, **(QUIET | {"processes": False})) as cluster,
        pytest.raises(RequestError, match=said),
        backend.dask_workers(cluster.scheduler_address),
    ):
        pass


def test_dask_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "WAIT_S", 0.2)
    words = ("bench", "run", str(SMOKE), "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache"), "--dask")
    for address, said in (("127.0.0.1:9", "no Dask scheduler answers there"), ("nowhere://x", "no Dask scheduler")):
        result = run(*words, address)
        assert result.exit_code == 2 and said in result.stderr
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = run(*words, "127.0.0.1:9")
    assert result.exit_code == 2 and "pip install 'efface[bench]'" in result.stderr
    assert not listing(tmp_path)
