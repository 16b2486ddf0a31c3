"""Fixtures that tests of the store share. Stores that took runs to make are made once, and copied by each test."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from efface import Task
from efface.store import Store, StoreSettings, build, failpoints, judging
from helpers.hasty import undrawn
from helpers.store_cases import AUDITED, QUICK, copied, make_grown, people, served, task_of
from helpers.store_damage import SEEN
from helpers.store_secrets import make_secret
from helpers.tiny import Tiny


@pytest.fixture(scope="session")
def task(tiny: Tiny) -> Task:
    """What the stores are about."""
    return task_of(tiny)


@pytest.fixture
def store(tmp_path: Path, tiny: Tiny, task: Task) -> Store:
    """A new store."""
    return Store.create(tmp_path / "store", task, tiny.model)


@pytest.fixture
def strict_store(tmp_path: Path, tiny: Tiny, task: Task) -> Store:
    """A new store without days of grace."""
    return Store.create(tmp_path / "store", task, tiny.model, settings=StoreSettings(grace_days=0))


@pytest.fixture
def asked_store(tmp_path: Path, tiny: Tiny, task: Task) -> Store:
    """A store in which one request waits."""
    made = Store.create(tmp_path / "store", task, tiny.model)
    made.add(people([5, 7, 9]))
    return made


@pytest.fixture
def secret_store(tmp_path: Path, tiny: Tiny) -> Store:
    """A store whose request names people with ids that are hard to write down."""
    return make_secret(tmp_path / "store", tiny)


@pytest.fixture(scope="session")
def grown(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two versions, the first kept for 30 days, and two requests that wait."""
    with pytest.MonkeyPatch.context() as patch:
        undrawn(patch)
        return make_grown(tmp_path_factory.mktemp("grown") / "store", tiny, grace_days=30, first=AUDITED).path


@pytest.fixture(scope="session")
def strict(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As above, with a first version that was removed at once."""
    return make_grown(tmp_path_factory.mktemp("strict") / "store", tiny).path


@pytest.fixture(scope="session")
def weights(grown: Path, task: Task, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Digest of the weights that an undisturbed run ends with."""
    path = copied(grown, tmp_path_factory.mktemp("undisturbed") / "copy")
    Store(path, task).run(QUICK)
    return served(path)


@pytest.fixture
def path(grown: Path, tmp_path: Path) -> Path:
    """A copy of `grown` that may come to harm."""
    return copied(grown, tmp_path / "copy")


@pytest.fixture(autouse=True)
def noted_faults(request: pytest.FixtureRequest) -> Iterator[None]:
    """Notes with each test which faults it put in and what came of them, for `python -m benchmarks.store_faults`."""
    before = SEEN.copy()
    yield
    request.node.user_properties += [("fault", [*fault, times]) for fault, times in (SEEN - before).items()]


@pytest.fixture(autouse=True)
def unarmed() -> Iterator[None]:
    """Leaves no fail point armed for the next test."""
    yield
    failpoints.disarm()


@pytest.fixture
def spied(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[dict[str, Any]]]:
    """What runs hand to `unlearn` and `audit_models`, which do their work as ever."""
    seen: dict[str, list[dict[str, Any]]] = {"unlearn": [], "audit_models": []}

    def spy(module: ModuleType, name: str) -> None:
        real = getattr(module, name)

        def call(*given: Any, **options: Any) -> Any:
            seen[name].append({**options, "model": given[0] if given else None})
            return real(*given, **options)

        monkeypatch.setattr(module, name, call)

    spy(build, "unlearn")
    spy(judging, "audit_models")
    return seen
