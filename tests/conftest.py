"""Fixtures that several test files share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from efface.runtime.devices import threads
from helpers.command_line import copy_workshop, make_workshop
from helpers.fresh_imports import fresh_imports
from helpers.hasty import brief_audits, few_looks, undrawn
from helpers.memorised import Memorised, make_memorised
from helpers.tiny import Tiny, make_tiny

# the files that take longest, first, so that no process of pytest-xdist is left alone with one at the end
LONG = (
    *("benchmarks/test_runner.py", "store/test_kill.py", "benchmarks/test_asking.py", "test_stored_values.py"),
    *("methods/test_contract.py", "auditing/test_shadow_models.py", "auditing/test_null_rates.py"),
    *("store/test_state_machine.py", "unlearning/test_parallel.py", "cli/test_levels.py", "auditing/test_inputs.py"),
    *("auditing/test_canaries.py", "pages/test_code.py", "cli/test_main.py", "store/test_copying.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of LONG first, in its order."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path, len(LONG)))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small take ten times as long on two threads whose cores are busy."""
    with threads(1):
        yield


@pytest.fixture(scope="session", autouse=True)
def one_look() -> Iterator[None]:
    """Audits learn one record again; tests of that look ask for more."""
    with pytest.MonkeyPatch.context() as patch:
        few_looks(patch)
        yield


@pytest.fixture(autouse=True)
def figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports are not drawn; tests that look at figures, or at receipts in PDF, are marked `drawn`."""
    if request.node.get_closest_marker("drawn") is None:
        undrawn(monkeypatch)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Audits train and fit next to nothing: for tests to which it does not matter what they find."""
    brief_audits(monkeypatch)


@pytest.fixture(autouse=True)
def own_imports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A test imports the modules that it wrote itself, not those of the same name that an earlier one wrote."""
    with fresh_imports(tmp_path_factory.getbasetemp()):
        yield


@pytest.fixture(scope="session")
def tiny() -> Tiny:
    """The smallest problem that shows forgetting; a test that changes its model takes `tiny.fresh()`."""
    return make_tiny()


@pytest.fixture(scope="session")
def known() -> Memorised:
    """A problem whose records the model knows by heart, and models retrained without some of them."""
    return make_memorised()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a task, its weights and ids, for commands; a module may make its own."""
    folder = tmp_path_factory.mktemp("workshop")
    make_workshop(folder)
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh working folder with the files of a module's `made`."""
    copy_workshop(made, tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("EFFACE_STORE", "EFFACE_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path
