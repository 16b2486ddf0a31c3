"""The output folder: whether it may be used, what is written into it, and the same as JSON."""

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from torch import nn

from efface.auditing.report.build import Report
from efface.auditing.report.provenance import METHODS_REFERENCE
from efface.errors import CheckpointError, EffaceError, RequestError
from efface.methods import Method, get
from efface.models.checkpoint import weights_digest
from efface.unlearning.result import Result

WEIGHTS, REPORT, PAGE = "unlearned.safetensors", "report.json", "report.html"
NOT_AUDITED = "no audit was made, so nothing was verified"


def check_folder(folder: Path, force: bool, sources: Iterable[Path] = ()) -> Path:
    """The folder, if it is absent or empty (or `force` says to write into it anyway); nothing is created here.

    `sources` are checkpoints that the run reads, none of which may be replaced.
    """
    try:
        if not folder.is_dir():
            if os.path.lexists(folder):
                raise RequestError(f"{folder}: is not a folder (--out)")
            parent = next(p for p in folder.absolute().parents if os.path.lexists(p))
            if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
                raise RequestError(f"{folder}: cannot be created in {parent} (--out)")
            return folder
        if not force and any(folder.iterdir()):
            raise RequestError(f"{folder}: is not empty; give --force to write into it anyway (--out)")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"{folder}: cannot be used: {reason} (--out)") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RequestError(f"{folder}: cannot be written to (--out)")
    target = os.path.realpath(folder / WEIGHTS)
    replaced = [s for s in sources if os.path.realpath(s) == target]
    if replaced:
        raise RequestError(f"{replaced[0]}: would be replaced by the unlearned weights; choose another --out")
    return folder


@dataclass(frozen=True)
class Run:
    """What is known of the efface run that made some weights: its seed, method and reference model's digest."""

    seed: int
    method: Method
    reference: str | None


def run_of(weights: Path, model: nn.Module) -> Run | None:
    """The efface run that made these weights, from the report beside them; None where there is none.

    The report must be of these very weights: an audit then leaves out the holdout records that the run used.
    """
    try:
        told = json.loads((weights.parent / REPORT).read_text(encoding="utf-8"))
        if told["weights"]["unlearned"] != weights_digest(model):
            return None
        options = {name: str(value) for name, value in told["method"]["options"].items()}
        references = [m["digest"] for m in told["models"] if m["what"] == METHODS_REFERENCE]
        return Run(int(told["seed"]), get(told["method"]["key"], options), next(iter(references), None))
    except (OSError, ValueError, KeyError, TypeError, RequestError):
        return None


def save(folder: Path, result: Result | None, report: Report | None) -> dict[str, str]:
    """Write weights and report, those that there are, and give their paths by name; each file whole or not at all."""
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


def summary(report: Report | None, files: Mapping[str, str]) -> dict[str, Any]:
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
