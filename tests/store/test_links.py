"""Links and names that lead out of a store: nothing outside is read, written or removed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from efface import Task
from efface.errors import EffaceError, RequestError
from efface.store import DamagedError, Store
from helpers import store_fixtures as given
from helpers.store_cases import (
    ANEW,
    AUDITED,
    QUICK,
)
from helpers.store_damage import (
    SEEN,
    ends_well,
    keeps_serving,
    refuses,
    weights_files,
)

task, grown, weights, path, table, fresh_points = (
    given.task,
    given.grown,
    given.weights,
    given.path,
    given.table,
    given.fresh_points,
)


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder that is not the store's; nothing in it may change."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "mine.safetensors").write_bytes(b"mine")
    (folder / ".hidden").write_bytes(b"mine too")
    yield folder
    held = {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "given"}
    assert held == {"mine.safetensors": b"mine", ".hidden": b"mine too"}


@pytest.mark.parametrize(
    "name", ("checkpoints/planted.safetensors", "checkpoints/notes.txt", "baselines/x.safetensors")
)
def test_a_link_among_the_checkpoints(path: Path, task: Task, weights: str, outside: Path, name: str) -> None:
    (path / name).symlink_to(outside / "mine.safetensors")
    found = Store(path, task).verify(level=None).problems
    assert any(name in line for line in found), found
    SEEN["link that leads out", "named", 4] += 1
    if not name.endswith(".safetensors"):
        (path / name).unlink()
    ends_well(path, task, weights)
    assert not (path / name).is_symlink()


@pytest.mark.parametrize("name", (".head.tmp", ".current.tmp", "checkpoints/.new.safetensors", "reports/.new"))
def test_a_link_where_something_is_about_to_be_written(
    path: Path, task: Task, weights: str, outside: Path, name: str
) -> None:
    (path / name).symlink_to(outside if name == "reports/.new" else outside / "mine.safetensors")
    ends_well(path, task, weights, AUDITED)
    SEEN["link that leads out", "replaced", 0] += 1


def test_a_checkpoint_that_is_a_link(path: Path, task: Task, weights: str, outside: Path) -> None:
    file = (path / "current.safetensors").resolve()
    file.rename(outside / "given")
    file.symlink_to(outside / "given")
    assert any("is a link" in line for line in Store(path, task).verify(level=None).problems)
    keeps_serving(path, task, DamagedError, "is a link", "link that leads out")
    file.unlink()
    (outside / "given").rename(file)
    ends_well(path, task, weights)


@pytest.mark.parametrize("name", ("checkpoints", "baselines", "reports"))
def test_a_folder_that_is_a_link(path: Path, task: Task, weights: str, outside: Path, name: str) -> None:
    (path / name).rename(path.parent / "away")
    (path / name).symlink_to(outside)
    before = weights_files(path)
    for plan in (QUICK, ANEW):
        refuses(DamagedError, f"{name} is a link", "folder that is a link", lambda p=plan: Store(path, task).run(p))  # type: ignore[misc]
    assert weights_files(path) == before
    (path / name).unlink()
    (path.parent / "away").rename(path / name)
    ends_well(path, task, weights)


@pytest.mark.parametrize("target", ("mine", "itself", "nothing"))
def test_a_link_in_service_that_leads_elsewhere(
    path: Path, task: Task, weights: str, outside: Path, target: str
) -> None:
    link = path / "current.safetensors"
    link.unlink()
    link.symlink_to({"mine": outside / "mine.safetensors", "itself": link, "nothing": "/nowhere"}[target])
    assert any("current.safetensors" in line for line in Store(path, task).verify(level=None).problems)
    SEEN["link in service leads elsewhere", "named", 4] += 1
    ends_well(path, task, weights)


ESCAPE = "../../outside/mine"
FORGED: dict[str, tuple[str, dict[str, object]]] = {
    "checkpoint": ("version", {"file": ESCAPE}),
    "long path": ("version", {"file": f"{'a' * 64}/../../../outside/mine"}),
    "no text": ("version", {"file": 7}),
    "holdout answers": ("version", {"baseline": ESCAPE}),
    "unfinished": ("unlearned", {"number": 2, "kept": {"file": ESCAPE, "weights": ""}}),
    "report": ("audited", {"number": 1, "audit": {"status": "verified", "files": {ESCAPE: "0" * 64}}}),
    "report folder": ("began", {"number": "../../outside", "parent": 2, "requests": [], "plan": {}}),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_history_that_names_files_outside(path: Path, task: Task, weights: str, outside: Path, what: str) -> None:
    """Forged by somebody who has the key, so that the chain is fine."""
    kind, body = FORGED[what]
    core = Store(path, task)._core
    whole = {name: (path / name).read_bytes() for name in ("ledger.sqlite", "head")}
    with core.writing() as book:
        if kind == "version":
            last = {
                name: getattr(book.history.serving, name)
                for name in ("lineage", "kind", "weights", "file", "baseline", "drift", "audit")
            }
            body = {**last, "number": 3, "parent": 2, "run": None, "requests": [], **body}
        if what == "unfinished":
            book.append("began", {"number": 2, "parent": 2, "requests": [2, 3], "plan": {}})
        if what == "report folder":
            book.append(kind, body)
            kind, body = "audited", {"number": body["number"], "audit": {"files": {"mine.safetensors": "0" * 64}}}
        book.append(kind, body)
    try:
        assert Store(path, task).verify(level=None).problems
    except DamagedError as error:
        assert "\n" not in str(error)
    before = weights_files(path)
    for call in (
        lambda: Store(path, task).run(QUICK),
        lambda: Store(path, task).rollback(2),
        lambda: Store(path, task).export(1, path.parent / "bundle"),
    ):
        try:
            call()
        except EffaceError as error:
            assert isinstance(error, DamagedError | RequestError)
    assert all(weights_files(path).get(name) == held for name, held in before.items() if not name.startswith("current"))
    SEEN["event that names a file outside", "named", 4] += 1
    if what == "checkpoint":
        for name, held in whole.items():
            (path / name).write_bytes(held)
        ends_well(path, task, weights)
