"""A bundle for one request: what was asked, what was done and how it was judged, without the records or their ids."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import select

from efface.auditing.report.html import render
from efface.errors import RequestError
from efface.runtime.provenance import versions
from efface.store import clock
from efface.store.context import StoreContext
from efface.store.database import events, named, notes
from efface.store.errors import DamagedError
from efface.store.files import hash_of
from efface.store.history import History, Request, Run, Stage
from efface.store.keys import shown
from efface.store.requests import asked
from efface.store.tag_rows import tags_of

BUNDLE, REPORT, PAGE = "request.json", "report.json", "report.html"
ABOUT = """This folder says how one erasure request was honoured. It holds no record and no record id.

request.json   the request, the versions of the model that honour it, and the events of the history about it
report.json,   the audit of the run that honoured it, where one was made; records are named by tags, which say nothing
report.html    without the key of the store. What was found of single records of other requests is left out

Each event's hash is an HMAC, by the store's key, of the event and of the hash before it. With the store and its key,
`efface verify` recomputes them all; `head` pins the whole history up to the day of this export.
"""


def export(core: StoreContext, number: int, out: Path) -> list[Path]:
    """Write the bundle of a request into a folder that is absent or empty, and give the files; all of it or nothing."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RequestError(f"{out}: is not an empty folder; choose another (--out)")
    if not out.absolute().parent.is_dir():
        raise RequestError(f"{out}: there is no folder {out.absolute().parent} (--out)")
    document = describe(core, number)
    with named(out):
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.absolute().parent))
        try:
            if document["report"]:
                _write_report(core, document, temporary)
            (temporary / BUNDLE).write_text(json.dumps(document, indent=1), encoding="utf-8")
            (temporary / "README.txt").write_text(ABOUT, encoding="utf-8")
            if out.exists():
                out.rmdir()
            temporary.rename(out)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return sorted(out.iterdir())


def _write_report(core: StoreContext, document: dict[str, Any], folder: Path) -> None:
    """The report of the request's run, with the rows of its own records only."""
    place = core.folder.report(document["run"])
    for name, digest in document["report"].items():
        source = place / Path(name).name
        if source.is_symlink() or not source.is_file() or hash_of(source) != digest:
            raise DamagedError(f"{source.relative_to(core.folder.path)} is not the report that was made")
    report = json.loads((place / REPORT).read_text(encoding="utf-8"))
    with core.database.reading() as connection:
        own = {shown(tag) for tag in tags_of(core, connection, core.refreshed(connection), [document["request"]])}
    rows = [row for row in report["records"] if row["id"] in own]
    if len(rows) < len(report["records"]):
        left_out = len(report["records"]) - len(rows)
        report |= {
            "records": rows,
            "notes": [*report["notes"], f"rows of {left_out} records of other requests in the same run are left out"],
        }
    (folder / REPORT).write_text(json.dumps(report, indent=1), encoding="utf-8")
    (folder / PAGE).write_text(render(report), encoding="utf-8")


def describe(core: StoreContext, number: int) -> dict[str, Any]:
    """Everything that is known of a request, ids left out."""
    with core.database.reading() as connection:
        history = core.refreshed(connection)
        request = asked(history, number)
        note = connection.execute(select(notes.c.text).where(notes.c.request == number)).scalar()
        rows = connection.execute(select(events).order_by(events.c.seq)).all()
    run = next((r for r in history.runs.values() if request.number in r.requests and r.stage is Stage.DONE), None)
    honouring = [v for v in history.versions.values() if request.number in history.honoured_by(v.number)]
    told = [
        {"seq": row.seq, "at": row.at, "kind": row.kind, "body": json.loads(row.body), "hash": row.hash}
        for row in rows
        if _concerns(row.kind, json.loads(row.body), request, run)
    ]
    return {
        "store": history.store,
        "request": request.number,
        "note": note,
        "stage": str(request.stage),
        "records": request.records,
        "added": request.added,
        "due": request.due,
        "honoured": request.honoured,
        "in_time": None if request.due is None or request.honoured is None else request.honoured[:10] <= request.due,
        "run": None if run is None else run.number,
        "versions": [
            {
                "version": v.number,
                "kind": v.kind,
                "made": v.made,
                "weights": v.weights,
                "file": f"sha256:{v.file}",
                "in_service": v.number == history.current,
            }
            for v in honouring
        ],
        "verdict": None if run is None else _verdict(history, run.number),
        "report": {} if run is None or run.audit is None else run.audit["files"],
        "history": told,
        "head": {"event": history.seq, "hash": history.hash},
        "exported": clock.now().isoformat(timespec="seconds"),
        "made_with": versions(),
    }


def _verdict(history: History, run: int) -> dict[str, Any] | None:
    made = next((v for v in history.versions.values() if v.run == run), None)
    if made is None or made.audit is None:
        return None
    return {"status": made.audit["status"], "reasons": made.audit["reasons"]}


def _concerns(kind: str, body: dict[str, Any], request: Request, run: Run | None) -> bool:
    if kind in ("created", "emptied", "retired"):
        return False
    if kind in ("requested", "amended", "already", "cancelled"):
        return bool(body["number"] == request.number)
    if kind in ("unlearned", "audited", "ended"):
        return run is not None and bool(body["number"] == run.number)
    return kind in ("returned", "removed") or request.number in body["requests"]
