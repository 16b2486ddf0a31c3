"""A bundle for one request: what was asked, what was done and how it was judged, without the records or their ids."""

import json
import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import select

from efface.errors import RequestError
from efface.runtime import versions
from efface.store import clock
from efface.store.asking import asked
from efface.store.core import Core
from efface.store.database import events, named, notes
from efface.store.errors import DamagedError
from efface.store.files import hash_of
from efface.store.history import History, Request, Stage

BUNDLE = "request.json"
ABOUT = """This folder says how one erasure request was honoured. It holds no record and no record id.

request.json   the request, the versions of the model that honour it, and the events of the history about it
report.json,   the audit of the run that honoured it, where one was made; records are named by tags, which
report.html    say nothing without the key of the store

Each event's hash is an HMAC, by the store's key, of the event and of the hash before it. With the store and its key,
`efface verify` recomputes them all; `head` pins the whole history up to the day of this export.
"""


def export(core: Core, number: int, out: Path) -> list[Path]:
    """Write the bundle of a request into a folder that is absent or empty, and give the files; all of it or nothing."""
    history = core.history()
    request = asked(history, number)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RequestError(f"{out}: is not an empty folder; choose another (--out)")
    if not out.absolute().parent.is_dir():
        raise RequestError(f"{out}: there is no folder {out.absolute().parent} (--out)")
    document = describe(core, history, request)
    temporary = out.absolute().with_name(f".{out.name}.new")
    with named(out):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(mode=0o700)
        try:
            for name, digest in document["report"].items():
                source = core.folder.report(document["run"]) / Path(name).name
                if source.is_symlink() or not source.is_file() or hash_of(source) != digest:
                    raise DamagedError(f"{source.relative_to(core.folder.path)} is not the report that was made")
                shutil.copyfile(source, temporary / source.name)
            (temporary / BUNDLE).write_text(json.dumps(document, indent=1), encoding="utf-8")
            (temporary / "README.txt").write_text(ABOUT, encoding="utf-8")
            if out.exists():
                out.rmdir()
            temporary.rename(out)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return sorted(out.iterdir())


def describe(core: Core, history: History, request: Request) -> dict[str, Any]:
    """Everything that is known of a request, ids left out."""
    run = next((r for r in history.runs.values() if request.number in r.requests and r.stage is Stage.DONE), None)
    honouring = [v for v in history.versions.values() if request.number in history.honoured_by(v.number)]
    with core.database.reading() as connection:
        note = connection.execute(select(notes.c.text).where(notes.c.request == request.number)).scalar()
        rows = connection.execute(select(events).order_by(events.c.seq)).all()
    about = {
        "version",
        "already",
        "requested",
        "cancelled",
        "began",
        "unlearned",
        "audited",
        "ended",
        "returned",
        "removed",
    }
    told = [
        {"seq": row.seq, "at": row.at, "kind": row.kind, "body": json.loads(row.body), "hash": row.hash}
        for row in rows
        if row.kind in about and _concerns(row.kind, json.loads(row.body), request, run.number if run else None)
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


def _concerns(kind: str, body: dict[str, Any], request: Request, run: int | None) -> bool:
    if kind in ("requested", "already", "cancelled"):
        return bool(body["number"] == request.number)
    if kind in ("unlearned", "audited", "ended"):
        return bool(body["number"] == run)
    return kind in ("returned", "removed") or request.number in body["requests"]
