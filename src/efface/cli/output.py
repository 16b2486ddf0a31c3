"""The output folder: whether it may be used, what is written into it, and the same as JSON."""

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from efface.errors import CheckpointError, EffaceError, RequestError
from efface.runtime.files import folder_problem

if TYPE_CHECKING:
    from efface.auditing.report.build import Report
    from efface.unlearning.result import Result

WEIGHTS, REPORT, PAGE = "unlearned.safetensors", "report.json", "report.html"
NOT_AUDITED = "no audit was made, so nothing was verified"


def check_folder(folder: Path, force: bool, sources: Iterable[Path] = ()) -> None:
    """Refuse a folder that cannot be written to; nothing is made here.

    Args:
        folder: where a command writes; it must be absent or empty.
        force: it need not be empty.
        sources: checkpoints that the run reads, none of which may be replaced.
    """
    problem = folder_problem(folder)
    if problem is None and folder.is_dir():
        try:
            if not force and any(folder.iterdir()):
                problem = "is not empty; give --force to write into it anyway"
        except OSError as error:
            problem = f"cannot be used: {error.strerror or error}"
    if problem is not None:
        raise RequestError(f"{folder}: {problem} (--out)")
    target = os.path.realpath(folder / WEIGHTS)
    replaced = [s for s in sources if os.path.realpath(s) == target]
    if replaced:
        raise RequestError(f"{replaced[0]}: would be replaced by the unlearned weights; choose another --out")


def save(folder: Path, result: "Result | None", report: "Report | None") -> dict[str, str]:
    """Write weights and report, those that there are; each file whole or not at all.

    Returns:
        The path of each file: `weights`, `report` and `page`.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, str] = {}
    try:
        # an old report must never lie beside new weights, not even if the process dies between two files
        for name in (REPORT, PAGE):
            (folder / name).unlink(missing_ok=True)
        if result is not None:
            result.save(folder / WEIGHTS)
            files["weights"] = str(folder / WEIGHTS)
        if report is not None:
            written, page = report.save(folder)
            files |= {"report": str(written), "page": str(page)}
    except CheckpointError as error:  # the request was fine: it is the disk that is not
        raise EffaceError("; ".join(error.problems)) from error
    finally:
        if made and not files:
            with contextlib.suppress(OSError):
                folder.rmdir()
    return files


def summary(report: "Report | None", files: Mapping[str, str]) -> dict[str, Any]:
    """The answer of a command under --json."""
    return {
        "status": "not_audited" if report is None else str(report.verdict.status),
        "reasons": [NOT_AUDITED] if report is None else list(report.verdict.reasons),
        "files": dict(files),
        "report": None if report is None else report.document,
    }


def print_json(document: Mapping[str, Any], stdout: TextIO) -> None:
    """One JSON document, in ASCII, so that every terminal can show it."""
    print(json.dumps(document, indent=1, allow_nan=False), file=stdout)
