"""Every file in the folder of a store: each is one that the store's history or its work explains, or is named."""

import os
import re
import stat
from pathlib import Path

from efface.store.context import StoreContext
from efface.store.database import translate_errors
from efface.store.errors import DamagedError
from efface.store.files import HASH, KINDS, SUBFOLDERS, SUFFIX, TEMPORARY_LINK, hash_of
from efface.store.head import HEAD, TEMPORARY_HEAD
from efface.store.history import History
from efface.store.place import BACKUP_MARK, DATABASE

REPORTS = "reports"
FILES = {DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", HEAD, f"{HEAD}.lock", "run.lock", BACKUP_MARK}
# files that a write makes and that are there only while it lasts, or after it was killed
TEMPORARY_FILE = re.compile(rf"\.new{re.escape(SUFFIX)}|\.\.new{re.escape(SUFFIX)}\.[0-9a-f]+\.tmp")


def file_faults(context: StoreContext, history: History) -> tuple[list[str], list[str]]:
    """Compare the files of a store with its history.

    Args:
        context: the open store.
        history: its history.

    Returns:
        Damage, and oddities that are no damage, one line each.
    """
    problems = _content_faults(context, history)
    found = _Account(context, history)
    with translate_errors(context.folder.path):
        found.look_at(context.folder.path)
    # asked after the files were listed: what a run makes meanwhile is its own
    at_work = history.open_run is not None or context.folder.at_work()
    left = [] if at_work else [shown for shown in found.left if os.path.lexists(context.folder.path / shown)]
    removed = [f"{shown}: nothing in the history names it; the next run removes it" for shown in left]
    return [*problems, *found.problems], [*found.warnings, *removed]


class _Account:
    """What was found in the folder of a store.

    Args:
        context: the open store.
        history: its history.
    """

    def __init__(self, context: StoreContext, history: History) -> None:
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.left: list[Path] = []  # what a run made and no event names
        self._root, self._needed = context.folder.path, set(history.needed_files())
        self._reports = {
            context.folder.report_of(run.number).name: {Path(name).name for name in run.audit["files"]}
            for run in history.runs.values()
            if run.audit is not None and run.audit["files"]
        }

    def look_at(self, folder: Path) -> None:
        """Look at every file, link and folder below; no link is followed."""
        for path in sorted(folder.iterdir()):
            shown = path.relative_to(self._root)
            try:
                seen = path.lstat()
            except FileNotFoundError:  # a temporary file of somebody at work
                continue
            if self._is_left(shown.parts):
                self.left.append(shown)
            elif fault := _kind_fault(str(shown), seen.st_mode):
                self.problems.append(f"{shown}: {fault}")
            elif not self._is_known(shown.parts):
                self.problems.append(f"{shown}: is no file of the store")
            elif stat.S_ISDIR(seen.st_mode):
                self.look_at(path)
            elif stat.S_ISREG(seen.st_mode) and seen.st_nlink > 1:
                self.warnings.append(
                    f"{shown}: is a hard link, so what it holds stays elsewhere once it is removed here"
                )

    def _is_left(self, parts: tuple[str, ...]) -> bool:
        """Whether a run makes files of this name, and the next run removes this one since no event names it."""
        match parts:
            case (name,):
                return name == TEMPORARY_LINK
            case (kind, name) if kind in KINDS:
                stem = name.removesuffix(SUFFIX)
                orphan = stem != name and HASH.fullmatch(stem) is not None and (kind, stem) not in self._needed
                return orphan or TEMPORARY_FILE.fullmatch(name) is not None
            case ("reports", name):
                return name not in self._reports
            case _:
                return False

    def _is_known(self, parts: tuple[str, ...]) -> bool:
        """Whether the store or its history explains a file or folder of this name."""
        match parts:
            case (name,):
                own = name in FILES or name in SUBFOLDERS or name == f"current{SUFFIX}"
                return own or TEMPORARY_HEAD.fullmatch(name) is not None
            case (kind, name) if kind in KINDS:
                return name.endswith(SUFFIX) and (kind, name.removesuffix(SUFFIX)) in self._needed
            case ("reports", run):
                return run in self._reports
            case ("reports", run, name):
                return name in self._reports.get(run, ())
            case _:
                return False


def _kind_fault(name: str, mode: int) -> str | None:
    """What is wrong with a file being a link, a folder or something else; None for what may be so."""
    is_folder, in_folder = stat.S_ISDIR(mode), name.count("/")
    if name == f"current{SUFFIX}":
        return None  # `verify` says whether it leads to the version in service
    if stat.S_ISLNK(mode):
        return "is a link, which may lead out of the store"
    if not is_folder and not stat.S_ISREG(mode):
        return "is neither a file nor a folder"
    if name in SUBFOLDERS and not is_folder:
        return "is a file where the store has a folder"
    if is_folder and (name in FILES or in_folder > name.startswith(f"{REPORTS}/")):
        return "is a folder where the store has files"
    return None


def _content_faults(context: StoreContext, history: History) -> list[str]:
    """Files that the history names and that are missing or do not hold what they held."""
    problems: list[str] = []
    for (kind, digest), what in history.needed_files().items():
        try:
            context.folder.checked(kind, digest, what)
        except DamagedError as error:
            problems += error.problems
    for run in history.runs.values():
        for name, digest in (run.audit or {}).get("files", {}).items():
            path = context.folder.report_of(run.number) / Path(name).name
            shown = path.relative_to(context.folder.path)
            if path.is_symlink() or not path.is_file():
                problems.append(f"{shown} is missing")
            elif hash_of(path) != digest:
                problems.append(f"{shown} was changed: its content does not have the hash in the history")
    return problems
