"""A bundle of one request for whoever asked: a folder of files, of which either all are there or none."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from efface.errors import RequestError, collect_errors
from efface.runtime.files import replace_durably, sync
from efface.store.context import StoreContext
from efface.store.database import translate_errors
from efface.store.failpoints import failpoint, failpoints_of

BUNDLE, PAGE, README = "request.json", "request.html", "README.txt"
UNFINISHED = ".unfinished"


def export(context: StoreContext, number: int, out: Path) -> list[Path]:
    """Write the bundle of a request, all files of it or none; only their owner can read them.

    Args:
        context: the open store.
        number: number of the request.
        out: a folder that does not exist or is empty, or a link to an empty one.

    Returns:
        The files that were written.

    Raises:
        RequestError: there is no such request, or `out` cannot be used.
        DamagedError: a file of the report is missing or was changed.
        StorageError: the disk is full, or `out` cannot be written to.
    """
    problems: list[str] = []
    target = collect_errors(problems, _target_of, context.folder.path, out)
    collect_errors(problems, context.history().request, number)
    if problems or target is None:
        raise RequestError(problems)

    from efface.auditing.report.receipt import HTML, PDF, render_receipt
    from efface.auditing.report.receipt_pdf import receipt_pdf
    from efface.store.bundle import make_bundle
    from efface.store.bundle_page import render_bundle
    from efface.store.bundle_receipt import receipt_of
    from efface.store.bundle_text import readme

    bundle = make_bundle(context, number)
    receipt = receipt_of(bundle)
    texts = {
        BUNDLE: json.dumps(bundle, indent=1, ensure_ascii=False, allow_nan=False),
        PAGE: render_bundle(bundle),
        README: readme(bundle),
        HTML: render_receipt(receipt),
    }
    files = {**{name: text.encode("utf-8") for name, text in texts.items()}, PDF: receipt_pdf(receipt)}
    with translate_errors(out):
        _write(target, files)
        return sorted(out / name for name in files)


def _target_of(store: Path, out: Path) -> Path:
    """The folder to write, whatever links lead to it; RequestError if it cannot be one."""
    with translate_errors(out):
        target = Path(os.path.realpath(out))
        if out.is_symlink() and not out.exists():
            raise RequestError(f"{out}: is a link that leads nowhere; choose another (out, or --out)")
        if not target.parent.is_dir():
            raise RequestError(f"{out}: there is no folder {target.parent} (out, or --out)")
        inside = Path(os.path.realpath(store))
        if target == inside or inside in target.parents:
            raise RequestError(f"{out}: lies inside the store; choose another (out, or --out)")
        if os.path.lexists(target / UNFINISHED):
            raise _interrupted(target / UNFINISHED)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise RequestError(f"{out}: is not an empty folder; choose another (out, or --out)")
        if os.path.lexists(_beside(target)):
            raise _interrupted(_beside(target))
    return target


def _interrupted(staging: Path) -> RequestError:
    return RequestError(
        f"{staging}: a bundle is being written there, or was, and that was interrupted: remove it with all that was "
        "written beside it, or choose another folder (out, or --out)"
    )


def _write(target: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder that is new or empty."""
    within = target.exists() and _must_stay(target)
    staging = target / UNFINISHED if within else _beside(target)
    try:
        staging.mkdir(mode=0o700)
    except FileExistsError:
        raise _interrupted(staging) from None
    try:
        failpoint("bundle.folder")
        for name, content in files.items():
            with os.fdopen(os.open(staging / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
        failpoint("bundle.written")
        if within:
            _move(staging, target, list(files))
        else:
            replace_durably(staging, target, failpoints_of("bundle"))
            sync(target.parent)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _move(staging: Path, target: Path, names: list[str]) -> None:
    """Move all files of a folder to the one above it, and remove the folder; none is moved if one cannot be."""
    moved: list[Path] = []
    try:
        for name in names:
            sync(staging / name)
        failpoint("bundle.synced")
        for name in names:
            moved.append(target / name)
            os.rename(staging / name, target / name)
            failpoint("bundle.moved")
        staging.rmdir()
        sync(target)
    except BaseException:
        for path in moved:
            path.unlink(missing_ok=True)
        raise


def _must_stay(folder: Path) -> bool:
    """Whether an empty folder must not be replaced by another, since somebody works in it or it cannot be renamed."""
    return (
        os.path.samefile(folder, os.curdir)
        or os.path.ismount(folder)
        or not os.access(folder.parent, os.W_OK | os.X_OK)
        or os.name != "posix"  # only there does a rename replace an empty folder
    )


def _beside(target: Path) -> Path:
    """Where a bundle is written before it is moved to `target`."""
    return target.with_name(f".{target.name}{UNFINISHED}")
