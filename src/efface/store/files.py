"""The folder of a store: files named by the hash of their content, written atomically, readable by the owner only."""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from efface.runtime.files import replace_durably, sync
from efface.store.database import translate_errors
from efface.store.errors import BusyError, DamagedError, StorageError
from efface.store.failpoints import failpoint, failpoints_of
from efface.store.logs import log, logged_wait
from efface.store.place import DATABASE

HASH = re.compile(r"[0-9a-f]{64}")
SUFFIX = ".safetensors"
KINDS = ("checkpoints", "baselines")
SUBFOLDERS = (*KINDS, "reports")
TEMPORARY_LINK = ".current.tmp"
CHUNK = 2**20


class Folder:
    """The folder that holds all files of a store; links that lead out of it are refused."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / DATABASE
        self.link = path / f"current{SUFFIX}"

    def add_subfolders(self) -> None:
        """Make the folders in it, which only their owner can enter."""
        for name in SUBFOLDERS:
            (self.path / name).mkdir(mode=0o700)

    @contextmanager
    def locked(self, wait_s: float) -> Iterator[None]:
        """Hold the run lock, which only one process at a time can have; it is released when the process ends, too.

        Args:
            wait_s: seconds to wait for another run.

        Raises:
            BusyError: another run holds it.
        """
        lock = FileLock(self.path / "run.lock", timeout=wait_s, mode=0o600, thread_local=False)
        with translate_errors(self.path / "run.lock"):
            try:
                with logged_wait(self.path, "another run"):
                    lock.acquire()
            except Timeout:
                raise BusyError(
                    f"{self.path}: another run is at work on this store: try again later, or let the run wait for "
                    "it (wait_s, or --wait SECONDS)"
                ) from None
        try:
            yield
        finally:
            lock.release()

    def subfolder(self, name: str) -> Path:
        """A folder of the store; DamagedError if it is a link, since nothing outside may be written or removed."""
        path = self.path / name
        if path.is_symlink():
            raise DamagedError(f"{name} is a link, which may lead out of the store")
        return path

    def path_of(self, kind: str, digest: str) -> Path:
        """The path of a file.

        Args:
            kind: one of KINDS.
            digest: SHA-256 of the content, in hexadecimal.

        Raises:
            DamagedError: `kind` or `digest` is something else, such as a path that leads out of the store.
        """
        if kind not in KINDS or not isinstance(digest, str) or not HASH.fullmatch(digest):
            raise DamagedError(f"the history names a file {str(digest)[:80]!r}, which is no SHA-256")
        return self.path / kind / f"{digest}{SUFFIX}"

    def add(self, kind: str, write: Callable[[Path], object]) -> str:
        """Write a file and name it by the hash of its content.

        Args:
            kind: one of KINDS.
            write: a function that writes the content to a given path.

        Returns:
            SHA-256 of the content, in hexadecimal.
        """
        point = kind.removesuffix("s")
        temporary = self.subfolder(kind) / f".new{SUFFIX}"
        with translate_errors(temporary):
            temporary.touch(mode=0o600)
            failpoint(f"{point}.temporary")
            write(temporary)
            temporary.chmod(0o600)
            failpoint(f"{point}.written")
            digest = hash_of(temporary)
            replace_durably(temporary, self.path_of(kind, digest), failpoints_of(point))
            sync(temporary.parent)
            failpoint(f"{point}.folder-synced")
        return digest

    def checked(self, kind: str, digest: str, what: str) -> Path:
        """The path of a file, after checking its content against its hash.

        Args:
            kind: one of KINDS.
            digest: SHA-256 of the content, in hexadecimal.
            what: the name of the file in messages, such as "version 3".

        Raises:
            DamagedError: it is missing, is a link, or was changed.
        """
        path = self.path_of(kind, digest)
        shown = path.relative_to(self.path)
        self.subfolder(kind)
        if path.is_symlink():
            raise DamagedError(f"{shown} ({what}) is a link, which may lead out of the store")
        if not path.is_file():
            raise DamagedError(f"{shown} ({what}) is missing")
        with translate_errors(path):
            if hash_of(path) != digest:
                raise DamagedError(f"{shown} ({what}) was changed: its content does not have the hash that names it")
        return path

    def listed(self, kind: str) -> list[Path]:
        """All files or folders of a kind except temporary ones; `kind` is one of KINDS or "reports"."""
        with translate_errors(self.path / kind):
            return sorted(p for p in self.subfolder(kind).iterdir() if not p.name.startswith("."))

    def report_of(self, run: int) -> Path:
        """The folder with the report of a run."""
        if not isinstance(run, int):
            raise DamagedError(f"the history names a run {str(run)[:80]!r}, which is no number")
        return self.path / "reports" / f"run-{run:04d}"

    def stray_reports(self, runs: Collection[int]) -> list[Path]:
        """Everything in the folder of reports except the reports of the given runs."""
        known = {self.report_of(run) for run in runs}
        return [path for path in self.listed("reports") if path not in known]

    def add_report(self, run: int, save: Callable[[Path], object]) -> dict[str, str]:
        """Write the report of a run.

        Args:
            run: number of the run.
            save: a function that writes the report's files into a given folder.

        Returns:
            SHA-256 of each file, by name.
        """
        temporary, final = self.subfolder("reports") / ".new", self.report_of(run)
        with translate_errors(temporary):
            clear(temporary)
            temporary.mkdir(mode=0o700)
            failpoint("report.folder")
            save(temporary)
            failpoint("report.written")
            hashes = {file.name: hash_of(file) for file in sorted(temporary.iterdir())}
            for file in temporary.iterdir():
                file.chmod(0o600)
            clear(final)  # an earlier attempt may have been interrupted before the history noted it
            replace_durably(temporary, final, failpoints_of("report"))
            sync(final.parent)
        return hashes

    def serve(self, digest: str) -> None:
        """Make `current.safetensors` a link to the checkpoint with this hash, in one step."""
        target = os.path.relpath(self.path_of("checkpoints", digest), self.path)
        if self.link.is_symlink() and os.readlink(self.link) == target:
            return
        temporary = self.path / TEMPORARY_LINK
        with translate_errors(self.link):
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(target)
            replace_durably(temporary, self.link, failpoints_of("link"))
            sync(self.path)

    def serves(self, digest: str) -> bool:
        """Whether `current.safetensors` is a link to the checkpoint with this hash."""
        return self.link.is_symlink() and self.path / self.link.readlink() == self.path_of("checkpoints", digest)

    def at_work(self) -> bool:
        """Whether some process holds the run lock."""
        try:
            with self.locked(0.0):
                return False
        except BusyError:
            return True
        except StorageError:  # a copy that is read-only
            return False

    def tidy(self) -> None:
        """Remove files that an interrupted run left half-written; the caller holds the run lock."""
        with translate_errors(self.path):
            for kind in KINDS:
                left = [path for path in self.subfolder(kind).glob(".*") if path.is_symlink() or not path.is_dir()]
                for path in left:
                    path.unlink()
                if left:
                    log(self.path, "removed %d unfinished files of an interrupted run from %s", len(left), kind)
            clear(self.subfolder("reports") / ".new")
            (self.path / TEMPORARY_LINK).unlink(missing_ok=True)

    def open_to_others(self) -> list[Path]:
        """Files and folders that other users of the machine may read; none unless permissions were changed."""
        return [path for path in [self.path, *self.path.rglob("*")] if others_may_read(path)]


def others_may_read(path: Path) -> bool:
    """Whether other users of the machine may read a file; False if there is none."""
    try:
        return not path.is_symlink() and bool(path.stat().st_mode & 0o077)
    except OSError:
        return False


def hash_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def clear(path: Path) -> None:
    """Remove a file, a link (but not its target), or a folder with its contents."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
