"""Where a store and its key lie, and what is refused without the time that torch takes to load."""

import subprocess
import sys
from pathlib import Path

import pytest

import efface.store
from efface.store import StorageError, Store
from efface.store.place import check_outside, check_store, find_key
from helpers.store_cases import people
from helpers.store_verbs import refused

# the `__init__` of efface is left out: what it loads is no business of the store
BARE = f"""
import sys, types
from pathlib import Path
package = types.ModuleType("efface")
package.__path__ = [{str(Path(efface.__file__).parent)!r}]
sys.modules["efface"] = package

from efface.errors import RequestError

def refused(call, *given):
    try:
        call(*given)
    except RequestError as error:
        print(error.problems[0])

"""


def loads(code: str, *arguments: str) -> tuple[list[str], set[str]]:
    """The lines that some code prints, and which of the slow packages it loads."""
    slow = ("torch", "sqlalchemy", "filelock", "scipy", "sklearn", "matplotlib")
    after = f"\nprint(*(name for name in {slow} if name in sys.modules))"
    command = [sys.executable, "-c", BARE + code + after, *arguments]
    *said, loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return said, set(loaded.split())


def test_a_store_that_is_not_there_is_refused_without_loading_anything_slow(tmp_path: Path) -> None:
    code = """
from efface.store import DriftLimits, StoreError, StoreSettings
from efface.store.place import KEY_VARIABLE, check_store
from efface.store.plan import ACCEPT, RunPlan
refused(check_store, Path(sys.argv[1]))
"""
    said, loaded = loads(code, str(tmp_path / "absent"))
    make = "make one (Store.create, or efface init), or name another (folder, or --store)"
    assert said == [f"{tmp_path / 'absent'}: there is no store: {make}"]
    assert loaded == set()


def test_verbs_that_need_no_model_do_without_torch(asked_store: Store) -> None:
    code = """
from efface.store import Store
store = Store(Path(sys.argv[1]))
for call, *given in (
    (store.request, 7), (store.export, 7, "out"), (store.rollback, 9), (store.cancel, 7), (store.run,), (store.add, [1])
):
    refused(call, *given)
print(store.status().serving.number, store.cancel(1).stage, len(store.requests()))
"""
    said, loaded = loads(code, str(asked_store.path))
    assert said == [
        "there is no request 7 (there are: 1 to 1)",
        "there is no request 7 (there are: 1 to 1)",
        "there is no version 9 (there are: 1 to 1)",
        "there is no request 7 (there are: 1 to 1)",
        "this needs the task: give it to Store(folder, task)",
        "1 id is not known to the store: 1. Give the task, so that they are looked for in the training set of today; "
        "if their rows were deleted, say so: deleted=True, or --deleted",
        "1 cancelled 1",
    ]
    assert loaded == {"sqlalchemy", "filelock"}


def test_a_folder_without_a_database_is_no_store(store: Store, tmp_path: Path) -> None:
    check_store(store.path)
    for folder in (tmp_path, tmp_path / "absent", store.path / "head"):
        assert "there is no store" in refused(check_store, folder)[0]


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", denied)
    with pytest.raises(StorageError, match=r"store: Permission denied"):
        check_store(tmp_path / "store")


def test_the_key_is_the_one_given_or_that_of_the_environment_or_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "store"
    monkeypatch.delenv("EFFACE_KEY", raising=False)
    assert find_key(folder, None) == tmp_path / "store.key"
    monkeypatch.setenv("EFFACE_KEY", str(tmp_path / "other"))
    assert find_key(folder, None) == tmp_path / "other"
    assert find_key(folder, tmp_path / "given") == tmp_path / "given"
    for inside in (folder, folder / "key", folder / "deep" / "key"):
        assert "the key must lie outside of the store" in refused(check_outside, folder, inside)[0]


def test_every_name_of_the_package_is_there() -> None:
    for name in efface.store.__all__:
        assert getattr(efface.store, name).__name__ == name
    assert set(efface.store.__all__) <= set(dir(efface.store))
    with pytest.raises(AttributeError, match="no attribute 'Requests'"):
        efface.store.Requests  # noqa: B018


def test_ids_are_read_without_the_task(asked_store: Store) -> None:
    assert sorted(map(str, Store(asked_store.path).ids(1))) == people([5, 7, 9])
