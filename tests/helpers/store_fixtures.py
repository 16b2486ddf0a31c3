"""Fixtures of the tests of faults; a module takes those it needs by assigning them to names of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from efface import Task
from efface.store import Store, failpoints
from helpers.store_cases import AUDITED, QUICK, copied, make_grown, served, task_of, undrawn
from helpers.store_damage import SEEN
from helpers.tiny import Tiny


@pytest.fixture(scope="module")
def task(tiny: Tiny) -> Task:
    """What the stores are about."""
    return task_of(tiny)


@pytest.fixture(scope="module")
def grown(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two versions, the first kept for 30 days, and two requests that wait."""
    with pytest.MonkeyPatch.context() as patch:
        undrawn(patch)
        return make_grown(tmp_path_factory.mktemp("grown") / "store", tiny, grace_days=30, first=AUDITED).path


@pytest.fixture(scope="module")
def strict(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As above, with a first version that was removed at once."""
    return make_grown(tmp_path_factory.mktemp("strict") / "store", tiny).path


@pytest.fixture(scope="module")
def weights(grown: Path, task: Task, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Digest of the weights that an undisturbed run ends with."""
    path = copied(grown, tmp_path_factory.mktemp("undisturbed") / "copy")
    Store(path, task).run(QUICK)
    return served(path)


@pytest.fixture
def path(grown: Path, tmp_path: Path) -> Path:
    """A copy of `grown` that may come to harm."""
    return copied(grown, tmp_path / "copy")


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """Prints what was put in and what came of it (pytest -s)."""
    SEEN.clear()
    yield
    for (fault, outcome, code), times in sorted(SEEN.items()):
        print(f"{fault:44} {times:5} x {outcome:10} exit code {code}")


@pytest.fixture(autouse=True)
def fresh_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts how often a fail point is reached from nought, and draws no figures."""
    failpoints.reset()
    undrawn(monkeypatch)
