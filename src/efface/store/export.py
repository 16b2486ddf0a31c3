"""An export of one request: what was asked, done and found, without the records or their ids."""

import json
from pathlib import Path
from typing import Any

from efface.store.context import StoreContext
from efface.store.describe import describe
from efface.store.errors import DamagedError
from efface.store.files import hash_of
from efface.store.keys import short_tag
from efface.store.outputs import check_output, writing_folder
from efface.store.tag_rows import tags_of

BUNDLE, REPORT, PAGE = "request.json", "report.json", "report.html"
ABOUT = """This folder says how one erasure request was honoured. It holds no record and no record id.

request.json   the request, the versions of the model that honour it, and the events of the history about it
report.json,   the audit of the run that honoured it, where one was made; records are named by tags, which say nothing
report.html    without the key of the store. What was found of single records of other requests is left out

Each event's hash is an HMAC, by the store's key, of the event and of the hash before it. With the store and its key,
`efface verify` recomputes them all; `head` pins the whole history up to the day of this export.
"""


def export(context: StoreContext, number: int, out: Path) -> list[Path]:
    """Write the export of a request, all files of it or none.

    Args:
        context: the open store.
        number: number of the request.
        out: a folder that does not exist or is empty.

    Returns:
        The files that were written.

    Raises:
        RequestError: there is no such request, or `out` cannot be used.
        DamagedError: a file of the report is missing or was changed.
    """
    place = check_output(context.folder.path, out)
    document = describe(context, number)
    with writing_folder(place) as temporary:
        if document["report"]:
            _write_report(context, document, temporary)
        (temporary / BUNDLE).write_text(json.dumps(document, indent=1), encoding="utf-8")
        (temporary / "README.txt").write_text(ABOUT, encoding="utf-8")
    return sorted(out.iterdir())


def _write_report(context: StoreContext, document: dict[str, Any], folder: Path) -> None:
    """The report of the request's run, with the rows of its own records only."""
    from efface.auditing.report.html import render  # needs torch, which a refusal does without

    made = context.folder.report_of(document["run"])
    for name, digest in document["report"].items():
        source = made / Path(name).name
        if source.is_symlink() or not source.is_file() or hash_of(source) != digest:
            raise DamagedError(f"{source.relative_to(context.folder.path)} is not the report that was made")
    report = json.loads((made / REPORT).read_text(encoding="utf-8"))
    with context.reading() as snapshot:
        own = {short_tag(tag) for tag in tags_of(snapshot, [document["request"]])}
    rows = [row for row in report["records"] if row["id"] in own]
    if len(rows) < len(report["records"]):
        left_out = len(report["records"]) - len(rows)
        report |= {
            "records": rows,
            "notes": [*report["notes"], f"rows of {left_out} records of other requests in the same run are left out"],
        }
    (folder / REPORT).write_text(json.dumps(report, indent=1), encoding="utf-8")
    (folder / PAGE).write_text(render(report), encoding="utf-8")
