"""The folder of a store: files named by their content, written whole or not at all, for their owner alone."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from efface.store.database import named
from efface.store.errors import BusyError, DamagedError, StorageError
from efface.store.failpoints import reach

HASH = re.compile(r"[0-9a-f]{64}")
SUFFIX = ".safetensors"
KEPT = ("checkpoints", "baselines")
CHUNK = 2**20


class Folder:
    """Where everything of a store lies; nothing in it leads out of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / "ledger.sqlite"
        self.link = path / f"current{SUFFIX}"
        self.reports = path / "reports"

    def create(self) -> None:
        """Make the folders, which only their owner can enter."""
        self.path.mkdir(mode=0o700)
        for part in (*(self.path / name for name in KEPT), self.reports):
            part.mkdir(mode=0o700)

    @contextmanager
    def locked(self, wait_s: float) -> Iterator[None]:
        """Hold the lock that one run at a time may have; it goes with the process that holds it, however that ends."""
        lock = FileLock(self.path / "run.lock", timeout=wait_s, mode=0o600, thread_local=False)
        with named(self.path / "run.lock"):
            try:
                lock.acquire()
            except Timeout:
                raise BusyError(
                    f"{self.path}: another run is at work on this store: try again later, or let efface run wait for "
                    "it (--wait SECONDS)"
                ) from None
        try:
            yield
        finally:
            lock.release()

    def part(self, name: str) -> Path:
        """A folder of the store; DamagedError where it is a link, so that nothing outside is written or removed."""
        path = self.path / name
        if path.is_symlink():
            raise DamagedError(f"{name} is a link, which may lead out of the store")
        return path

    def place(self, kind: str, digest: str) -> Path:
        """Where a file with this hash lies; DamagedError for anything that is no hash, such as a path."""
        if kind not in KEPT or not isinstance(digest, str) or not HASH.fullmatch(digest):
            raise DamagedError(f"the history names a file {str(digest)[:80]!r}, which is no SHA-256")
        return self.path / kind / f"{digest}{SUFFIX}"

    def keep(self, kind: str, write: Callable[[Path], object]) -> str:
        """Keep the file that `write` makes, under its own hash, which is given back."""
        point = kind.removesuffix("s")
        temporary = self.part(kind) / f".new{SUFFIX}"
        with named(temporary):
            temporary.touch(mode=0o600)
            reach(f"{point}.temporary")
            write(temporary)
            temporary.chmod(0o600)
            if kind == "checkpoints":
                reach("checkpoint.written")
            _sync(temporary)
            digest = hash_of(temporary)
            if kind == "checkpoints":
                reach("checkpoint.synced")
            os.replace(temporary, self.place(kind, digest))
            reach(f"{point}.renamed")
            _sync(temporary.parent)
            if kind == "checkpoints":
                reach("checkpoint.folder-synced")
        return digest

    def checked(self, kind: str, digest: str, what: str) -> Path:
        """The path of a file whose content is what its hash says; DamagedError where it is not."""
        path = self.place(kind, digest)
        shown = path.relative_to(self.path)
        self.part(kind)
        if path.is_symlink():
            raise DamagedError(f"{shown} ({what}) is a link, which may lead out of the store")
        if not path.is_file():
            raise DamagedError(f"{shown} ({what}) is missing")
        with named(path):
            if hash_of(path) != digest:
                raise DamagedError(f"{shown} ({what}) was changed: its content does not have the hash that names it")
        return path

    def held(self, kind: str) -> list[Path]:
        """All files of a kind, temporary ones left out."""
        with named(self.path / kind):
            return sorted(p for p in self.part(kind).iterdir() if not p.name.startswith("."))

    def report(self, run: int) -> Path:
        """The folder with the report of a run."""
        if not isinstance(run, int):
            raise DamagedError(f"the history names a run {str(run)[:80]!r}, which is no number")
        return self.reports / f"run-{run:04d}"

    def stray_reports(self, runs: Collection[int]) -> list[Path]:
        """What lies among the reports and is none of those of some runs."""
        known = {self.report(run) for run in runs}
        with named(self.reports):
            held = sorted(p for p in self.part("reports").iterdir() if not p.name.startswith("."))
        return [path for path in held if path not in known]

    @staticmethod
    def clear(path: Path) -> None:
        """Remove a folder with what is in it; of a link, only the link."""
        if path.is_symlink() or path.is_file():
            path.unlink()
        else:
            shutil.rmtree(path, ignore_errors=True)

    def keep_report(self, run: int, save: Callable[[Path], object]) -> dict[str, str]:
        """Keep the files that `save` writes into a folder as a run's report; gives the hash of each."""
        temporary, final = self.part("reports") / ".new", self.report(run)
        with named(temporary):
            self.clear(temporary)
            temporary.mkdir(mode=0o700)
            reach("report.folder")
            save(temporary)
            reach("report.written")
            for file in temporary.iterdir():
                file.chmod(0o600)
                _sync(file)
            hashes = {file.name: hash_of(file) for file in sorted(temporary.iterdir())}
            reach("report.synced")
            self.clear(final)  # of an attempt that was interrupted before it was noted
            os.replace(temporary, final)
            reach("report.renamed")
            _sync(self.reports)
        return hashes

    def serve(self, digest: str) -> None:
        """Let `current.safetensors` be the checkpoint with this hash, in one step."""
        target = os.path.relpath(self.place("checkpoints", digest), self.path)
        if self.link.is_symlink() and os.readlink(self.link) == target:
            return
        temporary = self.path / ".current.tmp"
        with named(self.link):
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(target)
            reach("link.temporary")
            os.replace(temporary, self.link)
            reach("link.replaced")
            _sync(self.path)

    def serves(self, digest: str) -> bool:
        """Whether `current.safetensors` leads to the checkpoint with this hash."""
        return self.link.is_symlink() and self.path / self.link.readlink() == self.place("checkpoints", digest)

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
        """Remove what an interrupted run left half-written; the caller holds the run lock."""
        with named(self.path):
            for kind in KEPT:
                for leftover in self.part(kind).glob(".*"):
                    leftover.unlink()
            self.clear(self.part("reports") / ".new")
            (self.path / ".current.tmp").unlink(missing_ok=True)

    def write_head(self, seq: int, digest: str, mac: str) -> None:
        """Note how far the history goes, so that rows removed from its end are missed; never back."""
        path, temporary = self.path / "head", self.path / ".head.tmp"
        with named(path), FileLock(self.path / "head.lock", timeout=60, mode=0o600, thread_local=False):
            known = self.read_head()
            if known is not None and known[0] >= seq:
                return
            temporary.unlink(missing_ok=True)  # were it a link, something outside would be written to
            temporary.touch(mode=0o600)
            temporary.write_text(json.dumps({"seq": seq, "hash": digest, "mac": mac}), encoding="ascii")
            _sync(temporary)
            reach("head.temporary")
            os.replace(temporary, path)
            reach("head.replaced")

    def read_head(self) -> tuple[int, str, str] | None:
        """Number and hash of the last event that was noted, and the key's MAC of both; None without a note."""
        path = self.path / "head"
        try:
            held: Any = json.loads(path.read_text(encoding="ascii"))
            return int(held["seq"]), str(held["hash"]), str(held["mac"])
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"head: cannot be read: {error.strerror or error}") from error
        except (ValueError, TypeError, KeyError, OverflowError):
            raise DamagedError(
                "head: cannot be read; it holds the number and hash of the history's last event"
            ) from None

    def open_to_others(self) -> list[Path]:
        """What other users of the machine may read, which is nothing unless somebody changed it."""
        return [path for path in [self.path, *self.path.rglob("*")] if others_may_read(path)]


def others_may_read(path: Path) -> bool:
    """Whether a file that is there may be read by other users of the machine."""
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


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
