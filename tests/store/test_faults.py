"""Disks that do harm: each is named in a line, what serves goes on, and a later run ends well."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from efface import Task
from efface.store import StorageError, Store, failpoints
from helpers.store_cases import (
    ANEW,
    AUDITED,
    QUICK,
    asked_for,
    copied,
    make_young,
    people,
    served,
    wrong_after,
)
from helpers.store_damage import (
    SEEN,
    ends_well,
    refuses,
    weights_files,
)
from helpers.tiny import Tiny

pytestmark = pytest.mark.usefixtures("brief")

ROOT = os.geteuid() == 0


WRITES = (
    "began.before-commit",
    "checkpoint.temporary",
    "checkpoint.written",
    "checkpoint.synced",
    "checkpoint.renamed",
    "checkpoint.folder-synced",
    "made.before-commit",
    "report.folder",
    "report.written",
    "report.synced",
    "report.renamed",
    "audited.before-commit",
    "baseline.temporary",
    "baseline.written",
    "baseline.synced",
    "baseline.renamed",
    "baseline.folder-synced",
    "version.appended",
    "version.ids-deleted",
    "version.before-commit",
    "cleared.before-commit",
    "link.synced",
    "link.renamed",
    "removed.before-commit",
)


@pytest.mark.parametrize("point", WRITES)
def test_a_full_disk_at_every_write(
    grown: Path, strict: Path, task: Task, weights: str, tmp_path: Path, point: str
) -> None:
    plan = ANEW if "baseline" in point else AUDITED if point.startswith(("report", "audited")) else QUICK
    path = copied(strict if point.startswith("removed") else grown, tmp_path / "copy")
    asked, before = asked_for(Store(path, task)), (path / "current.safetensors").read_bytes()
    failpoints.arm(f"{point}:full")
    refuses(StorageError, "No space left on device", f"full disk at {point}", lambda: Store(path, task).run(plan))
    failpoints.disarm()
    assert asked_for(Store(path, task)) == asked
    served_now = (path / "current.safetensors").read_bytes()
    assert served_now == before or Store(path, task).status().pending == ()
    Store(path, task).run(plan)
    expected = served(path) if plan is ANEW else weights
    assert not wrong_after(path, task, asked, expected)


@pytest.mark.parametrize("point", ["head.synced", "head.renamed"])
def test_what_is_done_is_not_refused_because_the_head_cannot_be_noted(
    grown: Path, task: Task, weights: str, tmp_path: Path, point: str
) -> None:
    path = copied(grown, tmp_path / "copy")
    failpoints.arm(f"{point}:full")
    answer = Store(path, task).add(people([77]))
    failpoints.disarm()
    assert answer.made and answer.request in Store(path, task).status().pending
    Store(path, task).cancel(answer.request.number)
    head = json.loads((path / "head").read_text())
    assert head["seq"] == Store(path, task).history().seq
    Store(path, task).run(QUICK)
    assert served(path) == weights


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB; skipped where none can be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(place: Path, left_kb: int) -> Path:
    """A file that leaves so much of a disk free."""
    disk = os.statvfs(place)
    file = place / "filler"
    with file.open("wb") as out:
        out.write(bytes(max(disk.f_bavail * disk.f_frsize - left_kb * 1024, 0)))
    return file


@pytest.mark.parametrize("left_kb", (0, 4, 16, 48, 64, 96, 160))
def test_a_disk_that_is_really_full(grown: Path, small_disk: Path, task: Task, weights: str, left_kb: int) -> None:
    path = copied(grown, small_disk / "copy")
    asked, before = asked_for(Store(path, task)), (path / "current.safetensors").read_bytes()
    filler = fill(small_disk, left_kb)
    for plan in (AUDITED, QUICK):
        try:
            Store(path, task).run(plan)
            SEEN["full disk (tmpfs)", "had room", 0] += 1
        except StorageError as error:
            assert "\n" not in str(error) and str(path) in str(error)
            SEEN["full disk (tmpfs)", "refused", 6] += 1
            assert (path / "current.safetensors").read_bytes() in (before, *weights_files(path).values())
    filler.unlink()
    assert asked_for(Store(path, task)) == asked
    ends_well(path, task, weights)


@pytest.mark.parametrize("left_kb", (0, 16, 80))
def test_a_store_is_made_whole_or_not_at_all_on_a_full_disk(tiny: Tiny, small_disk: Path, left_kb: int) -> None:
    filler = fill(small_disk, left_kb)
    refuses(
        StorageError,
        " full" if left_kb == 80 else "No space left",
        "full disk (tmpfs), at init",
        lambda: make_young(small_disk / "store", tiny),
    )
    assert [p.name for p in small_disk.iterdir()] == ["filler"]
    filler.unlink()
    assert make_young(small_disk / "store", tiny).verify(level=None).problems == ()


def test_a_folder_that_is_read_only(path: Path, task: Task, weights: str) -> None:
    asked, before = asked_for(Store(path, task)), (path / "current.safetensors").read_bytes()
    with read_only(path):
        assert served(path)
        for call in (
            lambda: Store(path, task).run(QUICK),
            lambda: Store(path, task).add(people([77])),
            lambda: Store(path, task).cancel(2),
        ):
            refuses(StorageError, str(path), "read-only folder", call)
        assert (path / "current.safetensors").read_bytes() == before
    assert asked_for(Store(path, task)) == asked
    ends_well(path, task, weights)


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """A folder that nobody can write to for a while; root can in any but one that is mounted so."""
    if not ROOT:
        path.chmod(0o500)
        yield
        path.chmod(0o700)
        return
    for options in (["--bind", path, path], ["-o", "remount,ro,bind", path]):
        done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=True)


@pytest.mark.skipif(not ROOT, reason="only root can be somebody else")
def test_somebody_who_owns_nothing_there(path: Path, task: Task) -> None:
    heard, say = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setuid(65534)
            Store(path, task).run(QUICK)
            os.write(say, b"it ran")
        except BaseException as error:
            os.write(say, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(say)
    with os.fdopen(heard) as held:
        said = held.read()
    assert said.startswith("StorageError") and "Permission denied" in said and "\n" not in said, said
    SEEN["another user's store", "refused", 6] += 1
