"""New keys for results after a change of code that changes no number: benchmarks/rekey.py."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import efface
from bench_cells import cell, controls, name_of, written
from efface.bench.results import read
from efface.bench.runner import run_suite
from efface.bench.suite import Suite, read_suite
from efface.bench.tuning import tuned_for
from efface.errors import RequestError

PACKAGE = Path(efface.__file__).parent
BENCHMARKS = PACKAGE.parents[1] / "benchmarks"
DIGITS: Any = {"problem": "noisy-digits", "records": 600, "share": 0.1}
SUITE = f"""
methods = '{BENCHMARKS / "methods.toml"}'
[tuning]
draws = 2
[[settings]]
problem = "noisy-digits"
request = "random"
share = 0.1
methods = ["steer", "finetune"]
"""
BEST = {"lr": 0.02, "epochs": 1.5}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rekey", BENCHMARKS / "rekey.py")
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@dataclass(frozen=True)
class Case:
    """A checkout of other code, its results of a suite, and cells of both codes."""

    old: Path
    suites: Path
    results: Path
    evidence: tuple[Path, Path]
    before: dict[str, str]
    after: dict[str, str]

    @property
    def suite(self) -> Suite:
        return read_suite(self.suites / "made.toml")

    def todo(self) -> str:
        """What a dry run of the suite says."""
        said: list[str] = []
        run_suite(self.suite, self.results, self.suites / "cache", 1, said.append, lambda *_: None, dry_run=True)
        return said[0].split(": ")[1]


def edited(place: Path, **new: Any) -> None:
    place.write_text(json.dumps({**json.loads(place.read_text()), **new}, indent=1) + "\n")


def ran(draw: int) -> list[dict[str, Any]]:
    how = {**DIGITS, "draw": draw}
    return [*controls(**how), cell("steer", "default", **how), cell("finetune", **how)]


@pytest.fixture(scope="module")
def made(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Case:
    root = tmp_path_factory.mktemp("rekey")
    package = root / "old/src/efface"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    with (package / "numerics/logits.py").open("a") as file:
        file.write("\nUNUSED = 0\n")
    (root / "made.toml").write_text(SUITE)
    results = written(root / "made", *ran(1), cell("finetune", "tuned", tuning_s=1.0, **DIGITS))
    suite = read_suite(root / "made.toml")
    tuned = next(c for c in suite.cells if c.variant == "tuned")
    assert suite.tuning is not None
    own = tuned_for(tuned, suite.tuning)
    told = {"key": "", "tuned": asdict(own), "tried": [{"options": BEST}], "best": BEST, "cpu_s": 3.0}
    (results / f"{own.name}.json").write_text(json.dumps(told))
    evidence = root / "before", root / "after"
    for folder in evidence:
        written(folder, *(c for draw in (1, 2, 3) for c in ran(draw)))
    before = script.keys_by(root / "old", [results], evidence, root)
    after = script.keys_now([results], evidence, root)
    assert before.source == str(package) and after.source == str(PACKAGE)
    for place, keys in ((results, before), (evidence[0], before), (evidence[1], after)):
        for file in place.iterdir():
            edited(file, key=keys.keys[str(file)])
    assert not set(before.keys.values()) & set(after.keys.values())
    return Case(root / "old", root, results, evidence, before.keys, after.keys)


@pytest.fixture
def case(made: Case, tmp_path: Path) -> Case:
    """A copy of the made-up results, to be written to."""
    results = shutil.copytree(made.results, tmp_path / "made")
    before, after = (
        {str(results / p.name): keys[str(p)] for p in made.results.iterdir()} for keys in (made.before, made.after)
    )
    return Case(made.old, made.suites, results, made.evidence, before, after)


def test_files_of_the_code_before_get_the_keys_of_the_code_as_it_is(script: ModuleType, case: Case) -> None:
    old = {p.name: json.loads(p.read_text()) for p in case.results.iterdir()}
    assert script.rekey(case.old, case.evidence, [case.results], case.suites) == (6, 0)
    for place in case.results.iterdir():
        told = json.loads(place.read_text())
        assert place.read_text() == json.dumps(told, indent=1) + "\n"
        lines = told.pop("rekeyed")
        assert lines == [{"from": old[place.name]["key"], "efface": "changed: numerics.logits", "evidence": 12}]
        assert {**old[place.name], "key": told["key"]} == told and told["key"] != old[place.name]["key"]
    assert case.todo().startswith("5 cells, 0 of them to do")
    assert len(read(case.results)) == 5  # whoever reads results knows the line
    texts = {p.name: p.read_text() for p in case.results.iterdir()}
    assert script.rekey(case.old, case.evidence, [case.results], case.suites) == (0, 6)
    assert texts == {p.name: p.read_text() for p in case.results.iterdir()}


def test_what_was_outdated_or_not_tried_is_refused_and_nothing_is_written(script: ModuleType, case: Case) -> None:
    files = {name_of(c).split("-1-")[1]: case.results / name_of(c) for c in ran(1)}
    edited(files["steer-default.json"], key="0123456789abcdef")
    (case.results / "stray.json").write_text("{}")
    told = json.loads(files["noop-default.json"].read_text())
    edited(files["noop-default.json"], cell={**told["cell"], "method": "ssd"})
    texts = {p.name: p.read_text() for p in case.results.iterdir()}
    with pytest.raises(RequestError) as caught:
        script.rekey(case.old, case.evidence, [case.results], case.suites)
    steer, noop, stray = (files["steer-default.json"], files["noop-default.json"], case.results / "stray.json")
    key = case.before[str(steer)]
    assert sorted(caught.value.problems) == sorted(
        [
            f"{steer}: outdated before: expected key {key}, got 0123456789abcdef",
            f"{noop}: no cell of the evidence ran ssd",
            f"{stray}: is of no cell of its suite",
        ]
    )
    assert texts == {p.name: p.read_text() for p in case.results.iterdir()}


def last_digit(told: dict[str, Any]) -> None:
    told["remains"]["margin"]["share"][1] += 1e-16


def other_torch(told: dict[str, Any]) -> None:
    told["versions"]["torch"] = "0"


def signed_zero(told: dict[str, Any]) -> None:
    told["d2"]["margin"]["retrained"][0] = -0.0


@pytest.mark.parametrize(("change", "where"), [(last_digit, "remains"), (other_torch, "versions"), (signed_zero, "d2")])
def test_evidence_with_another_reading_is_refused(
    change: Callable[[dict[str, Any]], None], where: str, script: ModuleType, made: Case, tmp_path: Path
) -> None:
    after = shutil.copytree(made.evidence[1], tmp_path / "after")
    place = after / name_of(ran(2)[3])
    told = json.loads(place.read_text())
    change(told)
    place.write_text(json.dumps(told))
    keys = {**made.after, **{str(p): json.loads(p.read_text())["key"] for p in after.iterdir()}}
    problems: list[str] = []
    assert script.compared((made.evidence[0], after), made.before, keys, problems)[0] == 11
    assert problems == [f"{place.name}: the two runs differ in {where}: run the results again"]


def test_costs_may_differ_and_keys_must_be_those_of_their_code(script: ModuleType, made: Case, tmp_path: Path) -> None:
    after = shutil.copytree(made.evidence[1], tmp_path / "after")
    for place in after.iterdir():
        edited(place, cost={}, git=None)
    problems: list[str] = []
    keys = {str(after / p.name): made.after[str(p)] for p in made.evidence[1].iterdir()}
    methods = {"noop", "retrain", "steer", "finetune"}
    assert script.compared((made.evidence[0], after), made.before, keys, problems) == (12, methods)
    assert not problems
    # the code before, run twice, is no evidence
    later = {str(p): made.after[str(made.evidence[1] / p.name)] for p in made.evidence[0].iterdir()}
    script.compared((made.evidence[0], made.evidence[0]), made.before, later, problems)
    assert len(problems) == 12 and all("expected the key of its code" in p for p in problems)


def test_little_evidence_is_refused(script: ModuleType, made: Case, tmp_path: Path) -> None:
    pair = [written(tmp_path / name, *ran(1), *ran(2), cell("ssd", failed="no model", **DIGITS)) for name in "ab"]
    (pair[1] / name_of(ran(2)[0])).unlink()
    keys = {str(p): "made up" for folder in pair for p in folder.iterdir()}
    problems: list[str] = []
    assert script.compared(pair, keys, keys, problems) == (7, {"noop", "retrain", "steer", "finetune"})
    assert problems == [
        f"{name_of(ran(2)[0])}: is in one folder of the evidence only",
        "evidence: expected 10 or more cells with the same readings, got 7",
    ]


def test_a_folder_without_the_package_is_no_checkout(script: ModuleType, made: Case, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="expected a checkout with src/efface in it"):
        script.keys_by(tmp_path, [made.results], made.evidence, made.suites)
