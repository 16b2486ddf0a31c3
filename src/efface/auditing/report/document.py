"""The report as a document: its schema, the check against it, and the two files."""

import json
import math
import os
import uuid
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from efface.errors import EffaceError

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped,unused-ignore]

SCHEMA_VERSION = 3
_SHOWN_PROBLEMS = 5
_MAX_MESSAGE = 240


def schema() -> dict[str, Any]:
    """The JSON Schema of a report, as a fresh copy."""
    text = files("efface.auditing.report").joinpath("report.schema.json").read_text(encoding="utf-8")
    return cast(dict[str, Any], json.loads(text))


def validate(document: Mapping[str, Any]) -> None:
    """Raise EffaceError, naming the path of the first few problems, unless `document` is a report as JSON can hold it.

    Only dicts, lists and plain scalars pass, and no number is NaN or infinite: `plain` brings a document to that form.
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


def plain(value: Any) -> Any:
    """A copy made of what JSON can hold: dicts, lists and Python scalars, with None for NaN and infinities."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write(document: Mapping[str, Any], folder: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write report.json and report.html into `folder`, made if missing, and return their paths in that order.

    NaN and infinities become null first; where the schema wants a number, that is a problem like any other. Nothing
    is written unless the document is valid and its page renders, and each file appears whole or not at all.
    """
    from efface.auditing.report.html import render  # jinja2 is needed only here

    checked = plain(document)
    validate(checked)
    # ASCII only: a title with a lone surrogate still gives a readable file
    data = json.dumps(checked, indent=1, allow_nan=False) + "\n"
    page = render(checked)

    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    contents = {
        target / "report.json": data.encode("ascii"),
        target / "report.html": page.encode("utf-8", errors="xmlcharrefreplace"),
    }
    _replace_all(contents)
    return target / "report.json", target / "report.html"


@cache
def _validator() -> "Draft202012Validator":
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schema())


def _schema_problems(document: Mapping[str, Any]) -> list[str]:
    problems = []
    for error in _validator().iter_errors(document):
        message = error.message
        if len(message) > _MAX_MESSAGE:
            # the message begins with the offending value, and says at its end what is wrong with it
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
    """What no JSON Schema can say of the ROC curves of a document that otherwise fits."""
    for name, curve in (document["roc"] or {"models": {}})["models"].items():
        if curve is None:
            continue
        if len(curve["fpr"]) != len(curve["tpr"]):
            yield f"$.roc.models.{name}: {len(curve['fpr'])} fpr but {len(curve['tpr'])} tpr"
        for axis in ("fpr", "tpr"):
            if any(after < before for before, after in pairwise(curve[axis])):
                yield f"$.roc.models.{name}.{axis}: falls"


def _replace_all(contents: Mapping[Path, bytes]) -> None:
    # every file is whole on disk before the first one takes its name, so a full disk leaves the old pair
    staged: dict[Path, Path] = {}
    try:
        for path, data in contents.items():
            temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
            staged[path] = temporary
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for path, temporary in staged.items():
            os.replace(temporary, path)
    finally:
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)
