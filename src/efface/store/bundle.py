"""What a bundle says of one request: put together from what may be said, never by leaving things out of a report.

Whoever gets a bundle may know the training data, the models and their own records. So it holds nothing that follows
from other requests or from other people's records: no number that counts requests, runs, versions or events, no value
that was computed over records of others, and no text that a run or an audit wrote.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import select

from efface.errors import RequestError
from efface.runtime.provenance import efface_version
from efface.store import clock
from efface.store.bundle_report import decisive_tests, read_report, rows_of
from efface.store.context import Snapshot, StoreContext
from efface.store.database import events, notes
from efface.store.entries import DeletionRequest, Event, RunRecord, Stage, Version
from efface.store.errors import DamagedError
from efface.store.history import History
from efface.store.keys import short_tag
from efface.store.tag_rows import note_mac, tags_of

FORMAT = 1  # of request.json
REFERENCE_DIGITS = 16  # of the hash of the event by which a request was added: its name in the bundle
KINDS = ("requested", "amended", "cancelled", "covered", "version", "audited", "ended")  # of events in a bundle
# The weakest conclusion stands for several audits.
CONCLUSIONS = (
    "not_verified",
    "not_audited",
    "undecided",
    "no_trace_found",
    "verified_by_rehearsal",
    "verified",
    "retrained",
)
FORGOTTEN_BEFORE = "forgotten_before"


def make_bundle(context: StoreContext, number: int) -> dict[str, Any]:
    """Collect what whoever asked may know about a request.

    Args:
        context: the open store.
        number: number of the request.

    Returns:
        Values that JSON can hold; docs/store-reference.md explains them.

    Raises:
        RequestError: there is no such request, or the store's key is missing although the store was not retired.
        DamagedError: a row, or a file of the report, is missing or was changed.
    """
    with context.reading() as snapshot:
        history = snapshot.history
        request = history.request(number)
        if context.retired is not None and history.retiring is None:
            raise RequestError(context.retired)
        own = None if context.retired is not None else {short_tag(tag) for tag in tags_of(snapshot, [request.number])}
        about = _events_about(snapshot, request)
        note = _note_of(snapshot, request)
    return {
        "format": FORMAT,
        "store": history.store,
        "reference": about[0]["hash"][:REFERENCE_DIGITS],
        "note": note,
        "stage": str(request.stage),
        "records": request.records,
        "requested": request.added,
        "due": request.due,
        "overdue": request.stage is Stage.PENDING and clock.is_over(request.due, history.latest),
        "cancelled": next((event["at"] for event in about if event["kind"] == "cancelled"), None),
        "rejected": [event["at"] for event in about if event["kind"] == "ended"],
        "deferred": None if request.deferred is None else asdict(request.deferred),
        **_honoured(context, history, request, own),
        "events": about,
        "head": history.hash,
        "retired": history.retired or history.retiring,
        "exported": clock.now().isoformat(timespec="seconds"),
        "made_with": {"efface": efface_version()},
    }


def in_time(request: DeletionRequest) -> bool | None:
    """Whether a request was honoured by its date; None without a date, or while it is not honoured."""
    return None if request.due is None or request.honoured is None else request.honoured[:10] <= request.due


def _honoured(
    context: StoreContext, history: History, request: DeletionRequest, own: Collection[str] | None
) -> dict[str, Any]:
    """How a request was honoured, and by which models; the same names with no values where it was not."""
    facts: dict[str, Any] = dict.fromkeys(("honoured", "in_time", "how", "method", "audit", "models", "kept_days"))
    facts["rows"] = []
    if request.version is None:
        return facts
    version = history.versions[request.version]
    facts["honoured"], facts["in_time"] = request.honoured, in_time(request)
    facts["models"] = {"honoured_by": _files_of(version), "in_service": _files_of(history.serving)}
    facts["kept_days"] = history.settings["grace_days"]
    if request.through:
        made = {history.requests[n].version or 1 for n in request.through}
        audits = [history.versions[n].audit or {"status": "not_audited"} for n in made]
        conclusion = min((str(audit["status"]) for audit in audits), key=CONCLUSIONS.index)
        return facts | {"how": FORGOTTEN_BEFORE, "audit": {"level": None, "conclusion": conclusion, "tests": None}}
    run = history.runs.get(version.run or 0)
    facts["how"] = version.kind
    if version.audit is None or run is None:
        return facts
    facts["method"] = run.plan["method"] if version.kind == "unlearned" else None
    audit: dict[str, Any] = {"level": None, "conclusion": version.audit["status"], "tests": None}
    if run.audit is not None and run.audit["files"]:
        audit["level"] = run.plan["level"]
        report = read_report(context.folder, run.number, run.audit["files"])
        if own is not None:
            facts["rows"], audit["tests"] = rows_of(report, own), decisive_tests(report, own)
    return facts | {"audit": audit}


def _files_of(version: Version) -> dict[str, str]:
    return {"file": f"sha256:{version.file}", "weights": version.weights}


def _note_of(snapshot: Snapshot, request: DeletionRequest) -> str | None:
    query = select(notes.c.text).where(notes.c.request == request.number)
    text: str | None = snapshot.connection.execute(query).scalar()
    if snapshot.has_key and note_mac(snapshot.key, request.number, text) != request.note:
        raise DamagedError(f"notes: that of request {request.number} was {'removed' if text is None else 'changed'}")
    return text


def _events_about(snapshot: Snapshot, request: DeletionRequest) -> list[dict[str, str]]:
    """What the history notes about a request: kind, time and hash of each event, the first of which added it."""
    history = snapshot.history
    query = select(events).where(events.c.kind.in_(KINDS)).order_by(events.c.seq)
    rows = snapshot.connection.execute(query)
    read = (Event(row.seq, row.at, row.kind, json.loads(row.body), row.hash) for row in rows)
    about = (event for event in read if _is_about(event, request, history.runs))
    return [{"kind": event.kind, "at": history.time_of(event), "hash": event.hash} for event in about]


def _is_about(event: Event, request: DeletionRequest, runs: Mapping[int, RunRecord]) -> bool:
    body = event.body
    match event.kind:
        case "version":
            return request.number in body["requests"]
        case "audited" | "ended":
            run = runs[body["number"]]
            # why other runs ended says something of others: one whose request was cancelled, or too many records
            wanted = Stage.DONE if event.kind == "audited" else Stage.REJECTED
            return request.number in run.requests and run.stage is wanted
        case _:
            return bool(body["number"] == request.number)
