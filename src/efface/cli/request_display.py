"""Output of the commands of `efface request`, on the terminal."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

from rich.text import Text

from efface.cli.display import cell, make_console, say
from efface.cli.tables import Column, print_table
from efface.runtime.printing import how_many

if TYPE_CHECKING:
    from efface.store import Answer, DeletionRequest


def show_answer(answer: "Answer", warnings: "Sequence[str]", stdout: TextIO) -> None:
    """Print the result of adding a request, and warnings of ids that look like requested ones."""
    from efface.data.limits import MAX_SHARE

    out, request = make_console(stdout), answer.request
    head = f"Request {request.number}" if answer.made else f"Already there as request {request.number}"
    say(out, f"{head}: {_size_text(request.records, len(request.groups))}, {_stage(request)}.")
    for line in warnings:
        say(out, f"  Warning: {line}")
    for line in answer.remarks:
        say(out, f"  {line}")
    if answer.late:
        say(out, "  Its date is over, so it is late.")
    if answer.share > MAX_SHARE:
        say(out, f"  Pending requests hold {answer.share:.0%} of the training records: above {MAX_SHARE:.0%} efface")
        say(out, "  run refuses them, and efface run --retrain honours them.")
    if answer.unknown:
        waits = "waits" if answer.unknown == 1 else "wait"
        say(out, f"  The store knows {answer.known:,} of its records; {answer.unknown:,} {waits} for a retraining.")
    if 0 < answer.forgotten < request.records:
        say(
            out,
            f"  {records_text(answer.forgotten)} of it {'was' if answer.forgotten == 1 else 'were'} forgotten before.",
        )
    if answer.waiting and answer.made:
        say(out, f"  {records_text(answer.waiting)} of it in other pending requests too.")
    if request.stage == "pending":
        say(out, _next_step(request))


def show_requests(noted: "Sequence[tuple[DeletionRequest, str | None]]", stdout: TextIO) -> None:
    """Print a table of requests, each with its note."""
    out = make_console(stdout)
    if not noted:
        say(out, "No requests.")
        return
    names = ("request", "records", "added (UTC)", "due", "state", "note")
    columns = [Column(name, right=name in ("request", "records")) for name in names]
    rows = [
        (str(r.number), _count(r), day_text(r.added), r.due or "", _stage(r), str(cell(note or "", out)))
        for r, note in noted
    ]
    print_table(out, columns, rows)


def show_request(described: dict[str, Any], stdout: TextIO) -> None:
    """Print everything about one request, as `Store.request` returns it."""
    out = make_console(stdout)
    what = _size_text(described["records"], described["groups"])
    head = f"Request {described['request']}: {what}, {described['stage']}"
    say(out, Text(head, style="bold"))
    for name in ("reference", "note", "added", "due", "waits", "honoured"):
        if described[name] is not None:
            for at, line in enumerate(described[name].split("\n")):  # each note stands in a line of its own
                say(out, f"  {'' if at else name:10}{line}")
    if described["in_time"] is not None:
        say(out, f"  {'':10}{'in time' if described['in_time'] else 'too late'}")
    if described["unknown"]:
        other = "it" if described["unknown"] == 1 else "them"
        say(
            out,
            f"  known     {described['known']:,} of its records; {described['unknown']:,} not: efface run --retrain "
            f"honours {other}",
        )
    for version in described["versions"]:
        serving = ", in service" if version["in_service"] else ""
        say(out, f"  version   {version['version']} ({version['kind']}{serving}), {version['file']}")
    if described["verdict"] is not None:
        say(out, f"  audit     {described['verdict']['status']}")
        for reason in described["verdict"]["reasons"]:
            say(out, f"              - {reason}")
    if "ids" in described:
        shown = ", ".join(map(repr, described["ids"])) if described["ids"] else "none is kept any more"
        say(out, f"  ids       {shown}")


def _next_step(request: "DeletionRequest") -> str:
    """The command to call for a pending request."""
    if request.deferred is not None:
        return f"It waits: {request.deferred.text}."
    if request.unknown:
        return "Next: efface run --retrain, which honours it; efface run honours the others alone."
    return "Next: efface run, which honours all pending requests."


def records_text(count: int) -> str:
    """A number of records as text, such as "1 record"."""
    return how_many(count, "record")


def day_text(moment: str) -> str:
    """A moment of the history as day and time of day."""
    return datetime.fromisoformat(moment).strftime("%Y-%m-%d %H:%M")


def _size_text(records: int, groups: int) -> str:
    """What a request names, such as "by group: 1 group, 3 records"."""
    return f"by group: {_groups(groups)}, {records_text(records)}" if groups else records_text(records)


def _groups(count: int) -> str:
    return how_many(count, "group")


def _count(request: "DeletionRequest") -> str:
    """The number of a request's records, with what is to be known of it."""
    more = [_groups(len(request.groups))] * bool(request.groups)
    more += [f"{request.unknown:,} unknown"] * bool(request.unknown)
    return f"{request.records} ({', '.join(more)})" if more else str(request.records)


def _stage(request: "DeletionRequest") -> str:
    by = f" by version {request.version}" if request.version is not None else ""
    waits = ", waits (request show)" if request.deferred is not None and request.stage == "pending" else ""
    return f"{request.stage}{by}{waits}"
