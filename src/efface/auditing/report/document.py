"""The report as a document: its schema, the check against it, and its files."""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from efface.errors import EffaceError
from efface.runtime.files import atomic_write, sync
from efface.runtime.jsonable import to_jsonable

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped,unused-ignore]

SCHEMA_VERSION = 8
_SHOWN_PROBLEMS = 5
_MAX_MESSAGE = 240


def schema() -> dict[str, Any]:
    """A new copy of the JSON Schema of a report."""
    text = files("efface.auditing.report").joinpath("report.schema.json").read_text(encoding="utf-8")
    return cast(dict[str, Any], json.loads(text))


def validate(document: Mapping[str, Any]) -> None:
    """Check a report against its schema.

    Args:
        document: Dicts, lists and Python scalars, as `to_jsonable` makes of other values.

    Raises:
        EffaceError: The document does not fit the schema, or holds NaN or infinite numbers; the message names the
            places of the first problems.
    """
    problems = [*_schema_problems(document), *_nonfinite(document, "$")]
    if not problems:
        problems = list(_broken_curves(document))
    if not problems:
        return
    lines = [f"  - {problem}" for problem in problems[:_SHOWN_PROBLEMS]]
    if len(problems) > _SHOWN_PROBLEMS:
        lines.append(f"  - and {len(problems) - _SHOWN_PROBLEMS} more")
    raise EffaceError("\n".join(["the report does not fit its schema:", *lines]))


def write(document: Mapping[str, Any], folder: str | os.PathLike[str], receipt: bool = True) -> tuple[Path, Path]:
    """Write a report as report.json and report.html, and its receipt as receipt.html and receipt.pdf.

    Each file appears whole or not at all. NaN and infinite numbers become null.

    Args:
        document: The report.
        folder: Where to write; made if it is missing.
        receipt: Whether the receipt is written too; a report of several people's requests has none.

    Returns:
        The paths of report.json and of report.html.

    Raises:
        EffaceError: The report does not fit its schema; nothing is written.
        OSError: A file cannot be written; files from before are unchanged.
    """
    # jinja2, matplotlib and fpdf2 are needed only here
    from efface.auditing.report.html import render
    from efface.auditing.report.receipt import HTML, PDF, render_receipt
    from efface.auditing.report.receipt_facts import receipt_of
    from efface.auditing.report.receipt_pdf import receipt_pdf

    checked = to_jsonable(document)
    validate(checked)
    # ASCII only, so that a title with a lone surrogate still gives a readable file
    data = f"{json.dumps(checked, indent=1, allow_nan=False)}\n".encode("ascii")
    contents = {"report.json": data, "report.html": _encoded(render(checked))}
    if receipt:
        facts = receipt_of(checked, f"sha256:{hashlib.sha256(data).hexdigest()}")
        contents |= {HTML: _encoded(render_receipt(facts)), PDF: receipt_pdf(facts)}

    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        staged = [stack.enter_context(atomic_write(target / name)) for name in contents]
        for temporary, content in zip(staged, contents.values(), strict=True):
            temporary.write_bytes(content)
        # all are written to the disk before any is renamed, so that a full disk leaves the old files
        for temporary in staged:
            sync(temporary)
    return target / "report.json", target / "report.html"


def _encoded(page: str) -> bytes:
    return page.encode("utf-8", errors="xmlcharrefreplace")


@cache
def _validator() -> "Draft202012Validator":
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schema())


def _schema_problems(document: Mapping[str, Any]) -> list[str]:
    problems = []
    for error in _validator().iter_errors(document):
        message = error.message
        if len(message) > _MAX_MESSAGE:
            # the message begins with the invalid value and ends with what is wrong with it
            message = f"{message[:80]} ... {message[-120:]}"
        problems.append(f"{error.json_path}: {message}")
    return sorted(problems)


def _nonfinite(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _nonfinite(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _nonfinite(item, f"{path}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{path}: {value} is not a number that JSON can hold"


def _broken_curves(document: Mapping[str, Any]) -> Iterator[str]:
    """Problems with ROC curves that a JSON Schema cannot express."""
    for name, curve in (document["roc"] or {"models": {}})["models"].items():
        if curve is None:
            continue
        if len(curve["fpr"]) != len(curve["tpr"]):
            yield f"$.roc.models.{name}: {len(curve['fpr'])} fpr but {len(curve['tpr'])} tpr"
        for axis in ("fpr", "tpr"):
            if any(after < before for before, after in pairwise(curve[axis])):
                yield f"$.roc.models.{name}.{axis}: falls"
