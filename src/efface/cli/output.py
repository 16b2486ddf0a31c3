"""The output of a command: checking its folder, writing weights and report, and printing JSON."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from efface.errors import EffaceError, RequestError, reason_of
from efface.runtime.files import folder_problem
from efface.store.errors import StorageError

if TYPE_CHECKING:
    from efface.auditing.report.build import Report
    from efface.unlearning.nothing import NothingUnlearnedError
    from efface.unlearning.result import Result

WEIGHTS, REPORT, PAGE = "unlearned.safetensors", "report.json", "report.html"
RECEIPTS = ("receipt.html", "receipt.pdf")
IN_JSON = ("weights", "report", "page")  # of the files, those that --json names
NOT_AUDITED = "no audit was made, so nothing was verified"


def check_folder(folder: Path, force: bool, sources: Iterable[Path] = ()) -> None:
    """Check that a folder can be written to, without making it.

    Args:
        folder: where a command writes; it must not exist or be empty.
        force: whether it may hold files already.
        sources: checkpoints that the run reads, none of which may be replaced.

    Raises:
        RequestError: the folder cannot be used.
    """
    problem = folder_problem(folder)
    if problem is None and folder.is_dir():
        try:
            if not force and any(folder.iterdir()):
                problem = "is not empty; give --force to write into it anyway"
        except OSError as error:
            problem = f"cannot be used: {reason_of(error)}"
    if problem is not None:
        raise RequestError(f"{folder}: {problem} (--out)")
    target = os.path.realpath(folder / WEIGHTS)
    replaced = [s for s in sources if os.path.realpath(s) == target]
    if replaced:
        raise RequestError(f"{replaced[0]}: would be replaced by the unlearned weights; choose another --out")


def save(folder: Path, result: "Result | None", report: "Report | None") -> dict[str, str]:
    """Write the weights and the report, as far as they are given, each file completely or not at all.

    Args:
        folder: where to write; made if it is missing.
        result: the result whose weights are written, if there is one.
        report: the report, if there is one.

    Returns:
        The paths of the files: `weights`, `report`, `page`, and those of the receipt by their names.

    Raises:
        StorageError: a file cannot be written; the message names those that were written before it.
    """
    files: dict[str, str] = {}
    made = False
    try:
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        # old reports are removed first, so that one is never found beside new weights, even if the process is killed
        for name in (REPORT, PAGE, *RECEIPTS):
            (folder / name).unlink(missing_ok=True)
        if result is not None:
            result.save(folder / WEIGHTS)
            files["weights"] = str(folder / WEIGHTS)
        if report is not None:
            written, page = report.save(folder)
            files |= {"report": str(written), "page": str(page), **{name: str(folder / name) for name in RECEIPTS}}
    except EffaceError as error:  # the disk is at fault, not the request
        raise _unwritten("; ".join(getattr(error, "problems", [str(error)])), files) from error
    except OSError as error:
        what = f"{error.filename or folder}: cannot be written: {reason_of(error)} (--out)"
        raise _unwritten(what, files) from error
    finally:
        if made and not files:
            with contextlib.suppress(OSError):
                folder.rmdir()
    return files


def _unwritten(what: str, files: Mapping[str, str]) -> StorageError:
    """The error for a file that could not be written; `files` are those that were written before it."""
    return StorageError(f"{what}; written before that: {', '.join(files.values())}" if files else what)


def summary(result: "Result | None", report: "Report | None", files: Mapping[str, str]) -> dict[str, Any]:
    """The output of a command under --json; `files` are the paths of the files that were written, by kind."""
    return {
        "status": "not_audited" if report is None else str(report.verdict.status),
        "reasons": [NOT_AUDITED] if report is None else list(report.verdict.reasons),
        "next": list(report.verdict.next_steps if report is not None else result.next_steps if result else ()),
        "files": {name: files[name] for name in IN_JSON if name in files},
        "report": None if report is None else report.document,
    }


def print_json(document: Mapping[str, Any], stdout: TextIO) -> None:
    """Print a JSON document in ASCII, which every terminal can show."""
    print(json.dumps(document, indent=1, allow_nan=False), file=stdout)


def nothing_summary(error: "NothingUnlearnedError") -> dict[str, Any]:
    """The output under --json of a run that unlearned nothing."""
    from efface.runtime.jsonable import to_jsonable

    document = {
        "status": "nothing_unlearned",
        "reasons": [error.reason],
        "next": list(error.next_steps),
        "files": {},
        "report": None,
        "method": {"key": error.method.key, "options": dataclasses.asdict(error.method)},
        "seed": error.seed,
        "evidence": dataclasses.asdict(error.evidence),
        "cost": {name: cost.as_json() for name, cost in error.cost.phases.items()},
        "warnings": list(error.warnings),
    }
    return to_jsonable(document)  # type: ignore[no-any-return]
