"""Everything that is known about one request, for whoever keeps the store; what others may know is in `bundle`."""

import json
from typing import Any

from sqlalchemy import Row, select

from efface.store import clock
from efface.store.bundle import REFERENCE_DIGITS, in_time
from efface.store.context import StoreContext
from efface.store.database import events, notes
from efface.store.entries import CONFIRMED, RESET, DeletionRequest, RunRecord, Stage
from efface.store.history import History


def describe(context: StoreContext, number: int) -> dict[str, Any]:
    """Collect what is known about a request for `Store.request`.

    Args:
        context: the open store.
        number: number of the request.

    Returns:
        Values that JSON can hold: the request, its run, verdict, versions and events.

    Raises:
        RequestError: there is no such request.
    """
    with context.reading() as snapshot:
        history = snapshot.history
        request = history.request(number)
        number = request.number  # of Python's kind, which the database takes
        from efface.runtime.provenance import versions  # needs torch, which a refusal does without

        note = snapshot.connection.execute(select(notes.c.text).where(notes.c.request == number)).scalar()
        rows = snapshot.connection.execute(select(events).order_by(events.c.seq)).all()
    run = next((r for r in history.runs.values() if number in r.requests and r.stage is Stage.DONE), None)
    return {
        "store": history.store,
        "request": number,
        "reference": next(row.hash for row in rows if _adds(row, number))[:REFERENCE_DIGITS],
        "note": note,
        "stage": str(request.stage),
        "records": request.records,
        "known": request.known,
        "unknown": request.unknown,
        "groups": len(request.groups),
        "added": request.added,
        "due": request.due,
        "waits": None if request.deferred is None else request.deferred.text,
        "honoured": request.honoured,
        "in_time": in_time(request),
        "run": None if run is None else run.number,
        "versions": _versions(history, number),
        "verdict": None if run is None else _verdict(history, run.number),
        "report": {} if run is None or run.audit is None else run.audit["files"],
        "history": [
            {"seq": row.seq, "at": row.at, "kind": row.kind, "body": body, "hash": row.hash}
            for row in rows
            if _concerns(row.kind, body := json.loads(row.body), request, run)
        ],
        "head": {"event": history.seq, "hash": history.hash},
        "exported": clock.now().isoformat(timespec="seconds"),
        "made_with": versions(),
    }


def _adds(row: Row[Any], number: int) -> bool:
    return row.kind == "requested" and bool(json.loads(row.body)["number"] == number)


def _versions(history: History, number: int) -> list[dict[str, Any]]:
    """The versions that honour a request."""
    return [
        {
            "version": v.number,
            "kind": v.kind,
            "made": v.made,
            "weights": v.weights,
            "file": f"sha256:{v.file}",
            "in_service": v.number == history.current,
        }
        for v in history.versions.values()
        if number in history.honoured_by(v.number)
    ]


def _verdict(history: History, run: int) -> dict[str, Any] | None:
    made = next((v for v in history.versions.values() if v.run == run), None)
    if made is None or made.audit is None:
        return None
    return {"status": made.audit["status"], "reasons": made.audit["reasons"]}


def _concerns(kind: str, body: dict[str, Any], request: DeletionRequest, run: RunRecord | None) -> bool:
    """Whether an event is about a request or its run."""
    if kind in ("created", "cleared", "retiring", "retired", CONFIRMED):
        return False
    if kind in ("requested", "amended", "covered", "cancelled"):
        return bool(body["number"] == request.number)
    if kind in ("made", "audited", "ended"):
        return run is not None and bool(body["number"] == run.number)
    # a reset changes which of the times in these events count
    return kind in ("rolled_back", "removed", "restored", RESET) or request.number in body["requests"]
