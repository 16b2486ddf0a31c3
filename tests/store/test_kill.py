"""A run that is killed at any point: nothing is lost, and the next ends with the weights of an undisturbed one."""

import ast
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import efface.store
from efface.store import Store
from efface.store.failpoints import POINTS, RUN_POINTS
from helpers.store_cases import (
    AUDITED,
    asked_for,
    child_environment,
    copied,
    long_only,
    make_grown,
    served,
    task_of,
    wrong_after,
    wrong_before,
)
from helpers.store_damage import KILLED, SEEN, note_kills
from helpers.tiny import Tiny

HELPERS = Path(__file__).parents[1] / "helpers"
ENVIRONMENT = child_environment()
FORKS, WORKER = HELPERS / "store_forks.py", HELPERS / "store_worker.py"
# a retraining has neither checkpoint to read nor audit
ANEW_TOO = (
    "run.drift-read",
    "baseline.renamed",
    "run.unlearned",
    "checkpoint.renamed",
    "run.made",
    "version.before-commit",
    "run.committed",
    "sweep.removing",
)
AGAIN = (
    *(f"unlearn.forward:kill:{n}" for n in (30, 100)),
    *(f"head.synced:kill:{n}" for n in (2, 3, 5)),  # after later events of a run
    "head.renamed:kill:4",
    *(f"baseline.{part}:kill:2" for part in ("written", "renamed")),  # the holdout answers, after the first outputs
)
# killed, and killed again while the next run takes up what was left
TWICE = (
    ("checkpoint.written:kill", "recover.temporary:kill"),
    ("checkpoint.renamed:kill", "recover.orphans:kill", "checkpoint.renamed:kill"),
    ("unlearn.forward:kill:30", "run.made:kill", "report.renamed:kill", "version.before-commit:kill"),
    ("report.renamed:kill", "report.synced:kill"),
    ("run.committed:kill", "link.synced:kill", "run.truncated:kill", "removed.before-commit:kill"),
    ("run.committed:kill", "cleared.before-commit:kill", "sweep.removing:kill"),
    ("link.renamed:kill", "sweep.removing:kill"),
)
CASES: list[tuple[str, tuple[str, ...]]] = [
    *(("audited", (f"{point}:kill",)) for point in RUN_POINTS),
    *(("retrained", (f"{point}:kill",)) for point in ANEW_TOO),
    *(("audited", (point,)) for point in AGAIN),
    *(("audited", points) for points in TWICE),
]


def killed_at(cases: list[tuple[str, tuple[str, ...]]], folder: Path) -> list[dict[str, Any]]:
    """What became of each case; all of them share one process, see store_forks.py."""
    listed = folder / "cases.json"
    listed.write_text(json.dumps(cases), encoding="utf-8")
    done = subprocess.run([sys.executable, FORKS, folder, listed], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seen = json.loads((folder / "seen.json").read_text(encoding="utf-8"))
    assert len(seen) == len(cases)
    return list(seen)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return killed_at(CASES, tmp_path_factory.mktemp("kills"))


@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{name}-{'-'.join(points)}" for name, points in CASES])
def test_a_killed_run_loses_nothing_and_the_next_ends_as_if_it_had_not_been(
    seen: list[dict[str, Any]], number: int
) -> None:
    case = seen[number]
    assert all(case["killed"]), f"ended with {case['codes']}: a point was not reached"
    assert not case["wrong"]
    name, points = CASES[number]
    note_kills(f"kill{'' if len(points) == 1 else 's one after another'} ({name} run)", points, "same weights")


def test_every_point_is_listed_once_and_tried() -> None:
    assert len(set(POINTS)) == len(POINTS) >= 30
    tried = {point.partition(":")[0] for _, points in CASES for point in points}
    assert tried == set(RUN_POINTS)
    literal, ends = passed_in_source()
    assert literal <= set(POINTS)
    assert all(any(point.endswith(end) for point in POINTS) for end in ends)


def passed_in_source() -> tuple[set[str], set[str]]:
    """The names that the package's code gives to `failpoint`, and the ends of those that begin with a variable."""
    literal, ends = set(), set()
    for path in Path(efface.store.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "failpoint":
                (name,) = node.args
                if isinstance(name, ast.Constant):
                    literal.add(name.value)
                elif isinstance(name, ast.JoinedStr) and isinstance(name.values[-1], ast.Constant):
                    ends.add(name.values[-1].value)
    assert len(literal) > 20 and ends
    return literal, ends


@long_only
def test_kills_at_random_points_again_and_again(tmp_path: Path) -> None:
    draw = random.Random(0)
    cases = []
    for _ in range(150):
        points = [f"{draw.choice(RUN_POINTS)}:kill:{draw.choice((1, 1, 2, 3))}" for _ in range(draw.randint(2, 5))]
        cases.append((draw.choice(("audited", "retrained")), tuple(points)))
    found = killed_at(cases, tmp_path)
    assert not [(case, one["wrong"]) for case, one in zip(cases, found, strict=True) if one["wrong"]]
    kills = sum(sum(one["killed"]) for one in found)
    SEEN[f"kills at random points, {len(cases)} stores", "same weights", KILLED] += kills
    assert kills > len(cases)


@long_only
def test_processes_killed_at_random_times(tmp_path: Path, tiny: Tiny) -> None:
    task = task_of(tiny)
    made = make_grown(tmp_path / "store", tiny).path
    asked = asked_for(Store(made, task))
    draw, killed, lasts, weights = random.Random(0), 0, 0.0, ""
    for number in range(41):
        path = copied(made, tmp_path / f"case-{number}")
        with subprocess.Popen([sys.executable, WORKER, path], env=ENVIRONMENT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            began = time.monotonic()
            if number == 0:  # undisturbed
                assert process.stdout.read() == b"done\n"
                lasts, weights = time.monotonic() - began, served(path)
            time.sleep(draw.uniform(0, lasts) if number else 0)
            process.kill()
            killed += number > 0 and b"done" not in process.stdout.read()
        assert not wrong_before(path, task, asked)
        Store(path, task).run(AUDITED)
        assert not wrong_after(path, task, asked, weights)
    SEEN["kill at a random time", "same weights", KILLED] += killed
    assert killed > 10
