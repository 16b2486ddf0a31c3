"""Everything in the folder of a store and in its database is explained, or is named by `verify`."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from efface import Task
from efface.store import Store
from efface.store.database import TRIGGERS, metadata
from helpers.store_cases import QUICK, context_of

OTHER = "CREATE TRIGGER {0} BEFORE UPDATE ON events WHEN 0 BEGIN SELECT RAISE(ABORT, 'events is append-only'); END"
CHANGES = {
    "trigger of other text": ("DROP TRIGGER events_update", OTHER.format("events_update")),
    "trigger too many": (OTHER.format("spy").replace("UPDATE", "INSERT"),),
    "table too many": ("CREATE TABLE copies (name TEXT)",),
    "view": ("CREATE VIEW people AS SELECT name FROM pending_ids",),
    "index too many": ("CREATE INDEX by_name ON pending_ids (name)",),
    "index missing": ("DROP INDEX tags_by_tag",),
    "index of other columns": ("DROP INDEX tags_by_tag", "CREATE INDEX tags_by_tag ON tags (request)"),
    "column too many": ("ALTER TABLE notes ADD COLUMN person TEXT",),
    "statistics": ("ANALYZE",),
}
SAID = {
    "trigger of other text": "ledger.sqlite: the trigger events_update was changed, which refuses changes",
    "trigger too many": "ledger.sqlite: holds the trigger 'spy' that is none of the store's",
    "table too many": "ledger.sqlite: holds the table 'copies' that is none of the store's",
    "view": "ledger.sqlite: holds the view 'people' that is none of the store's",
    "index too many": "ledger.sqlite: holds the index 'by_name' that is none of the store's",
    "index missing": "ledger.sqlite: the index tags_by_tag is missing",
    "index of other columns": "ledger.sqlite: the index tags_by_tag was changed",
    "column too many": "ledger.sqlite: the table notes was changed",
    "statistics": "ledger.sqlite: holds the table 'sqlite_stat1' that is none of the store's",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_schema_that_was_changed_is_named(path: Path, change: str) -> None:
    raw = sqlite3.connect(path / "ledger.sqlite")
    for statement in CHANGES[change]:
        raw.execute(statement)
    raw.commit()
    raw.close()
    assert Store(path).verify(level=None).problems == (SAID[change],)


def test_every_table_and_trigger_of_the_package_is_looked_for(path: Path) -> None:
    store = Store(path)
    raw = sqlite3.connect(path / "ledger.sqlite")
    for name in TRIGGERS:
        raw.execute(f"DROP TRIGGER {name}")
    raw.commit()
    problems = store.verify(level=None).problems
    assert problems == tuple(
        f"ledger.sqlite: the trigger {name} is missing, which refuses changes" for name in sorted(TRIGGERS)
    )
    for table in metadata.tables:
        raw.execute(f"ALTER TABLE {table} ADD COLUMN person TEXT")
    raw.commit()
    raw.close()
    problems = store.verify(level=None).problems
    assert {f"ledger.sqlite: the table {table} was changed" for table in metadata.tables} <= set(problems)


def made(place: Path) -> None:
    place.parent.mkdir(exist_ok=True)
    place.write_text("mine")


def linked(place: Path) -> None:
    place.symlink_to(place.parent / "head")


def piped(place: Path) -> None:
    os.mkfifo(place)


def folder(place: Path) -> None:
    place.mkdir()
    (place / "deep").write_text("mine")


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("notes.txt", made, "is no file of the store"),
        (".hidden", made, "is no file of the store"),
        ("ledger.sqlite.bak", made, "is no file of the store"),
        ("head.bak", made, "is no file of the store"),
        (".head.tmp", made, "is no file of the store"),
        ("copy", folder, "is no file of the store"),
        ("other", linked, "is a link, which may lead out of the store"),
        ("pipe", piped, "is neither a file nor a folder"),
        ("checkpoints/model.safetensors", made, "is no file of the store"),
        (f"checkpoints/{'0' * 64}.pt", made, "is no file of the store"),
        (f"checkpoints/{'0' * 64}", made, "is no file of the store"),
        ("checkpoints/.hidden", made, "is no file of the store"),
        ("checkpoints/old", folder, "is a folder where the store has files"),
        ("checkpoints/link", linked, "is a link, which may lead out of the store"),
        ("baselines/pipe", piped, "is neither a file nor a folder"),
        ("reports/run-0001/extra.csv", made, "is no file of the store"),
        ("reports/run-0001/deep", folder, "is a folder where the store has files"),
        ("reports/run-0001/link", linked, "is a link, which may lead out of the store"),
    ],
)
def test_what_the_store_does_not_explain_is_named(
    path: Path, name: str, make: Callable[[Path], None], said: str
) -> None:
    make(path / name)
    (path / name).chmod(0o600) if not (path / name).is_symlink() else None
    assert Store(path).verify(level=None).problems == (f"{name}: {said}",)


def test_what_a_run_left_is_no_damage_and_the_next_one_removes_it(path: Path, task: Task) -> None:
    left = [
        *(f"{kind}/{name}.safetensors" for kind in ("baselines", "checkpoints") for name in (".new", "0" * 64)),
        "checkpoints/..new.safetensors.0123ab.tmp",
        "reports/.new",
        "reports/run-0009",
    ]
    for name in left:
        made(path / name)
        (path / name).chmod(0o600)
    (path / ".current.tmp").symlink_to("nowhere")
    (path / ".head.0123ab.tmp").touch(0o600)
    found = Store(path).verify(level=None)
    assert found.problems == ()
    assert sorted(found.warnings) == sorted(
        f"{name}: nothing in the history names it; the next run removes it" for name in [*left, ".current.tmp"]
    )
    Store(path, task).run(QUICK)
    assert Store(path).verify(level=None).warnings == ()
    assert not [name for name in [*left, ".current.tmp", ".head.0123ab.tmp"] if os.path.lexists(path / name)]


def test_files_of_a_run_at_work_are_its_own(path: Path) -> None:
    (path / "checkpoints/.new.safetensors").touch(0o600)
    store = Store(path)
    assert len(store.verify(level=None).warnings) == 1
    with context_of(store).folder.locked(0.0):
        assert store.verify(level=None).warnings == ()


def test_a_file_with_another_name_elsewhere_is_named(path: Path, tmp_path: Path) -> None:
    file = next((path / "checkpoints").iterdir())
    os.link(file, tmp_path / "kept.safetensors")
    (warning,) = Store(path).verify(level=None).warnings
    assert (
        warning == f"checkpoints/{file.name}: is a hard link, so what it holds stays elsewhere once it is removed here"
    )


@pytest.mark.parametrize("name", ["checkpoints", "reports", "baselines"])
def test_a_folder_that_leads_elsewhere_is_named(path: Path, tmp_path: Path, name: str) -> None:
    (path / name).rename(tmp_path / "moved")
    (path / name).symlink_to(tmp_path / "moved")
    assert f"{name}: is a link, which may lead out of the store" in Store(path).verify(level=None).problems


def test_a_database_that_is_a_link_is_named(path: Path, tmp_path: Path) -> None:
    (path / "ledger.sqlite").rename(tmp_path / "moved")
    (path / "ledger.sqlite").symlink_to(tmp_path / "moved")
    assert "ledger.sqlite: is a link, which may lead out of the store" in Store(path).verify(level=None).problems
