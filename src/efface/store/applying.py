"""What each event changes in the history."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from efface.store.entries import (
    CONFIRMED,
    RESET,
    Deferral,
    DeletionRequest,
    Event,
    FingerprintSums,
    Restored,
    RunRecord,
    Stage,
    Version,
    not_after,
)

if TYPE_CHECKING:
    from efface.store.history import History


def _created(history: "History", event: Event, body: dict[str, Any]) -> None:
    history.store, history.created, history.task, history.key = body["store"], event.when, body["task"], body["key"]
    history.settings, history.source = body["settings"], body["source"]


def _version(history: "History", event: Event, body: dict[str, Any]) -> None:
    if history.versions:
        history.versions[history.current] = replace(history.serving, replaced=event.when)
    body = dict(body)
    _fingerprinted(history, event, {"sums": body.pop("fingerprints")})
    version = Version(**{**body, "made": event.when, "requests": tuple(body["requests"])})
    history.versions[version.number] = version
    history.current, history.contents = version.number, version.contents
    history.first_outputs = version.first_outputs  # those of before held records that this version has forgotten
    if version.run is not None:
        _change_run(history, version.run, stage=Stage.DONE)
        history.deleted_at, history.uncleared = event.seq, True
    for number in version.requests:
        _honour(history, number, version.number, event.when)


def _fingerprinted(history: "History", event: Event, body: dict[str, Any]) -> None:
    history.fingerprints = FingerprintSums(**body["sums"])
    if body.get("changed"):
        history.first_outputs = None  # they were of contents that the records do not have any more


def _requested(history: "History", event: Event, body: dict[str, Any]) -> None:
    groups = tuple(body["groups"])
    history.requests[body["number"]] = DeletionRequest(**{**body, "groups": groups}, added=event.when)


def _amended(history: "History", event: Event, body: dict[str, Any]) -> None:
    _change_request(history, body["number"], due=body["due"], note=body["note"])


def _deferred(history: "History", event: Event, body: dict[str, Any]) -> None:
    waiting = {int(number): Deferral(*why) for number, why in body["requests"].items()}
    for request in history.pending:
        _change_request(history, request.number, deferred=waiting.get(request.number))


def _cancelled(history: "History", event: Event, body: dict[str, Any]) -> None:
    _change_request(history, body["number"], stage=Stage.CANCELLED)
    history.deleted_at, history.uncleared = event.seq, True
    if history.retiring:
        history.cancelled_by_retiring += (body["number"],)


def _covered(history: "History", event: Event, body: dict[str, Any]) -> None:
    _honour(history, body["number"], body["version"], event.when, tuple(body["through"]))


def _honour(history: "History", number: int, version: int, at: str, through: tuple[int, ...] = ()) -> None:
    _change_request(history, number, stage=Stage.HONOURED, version=version, honoured=at, through=through, deferred=None)


def _began(history: "History", event: Event, body: dict[str, Any]) -> None:
    number = body["number"]
    history.runs[number] = RunRecord(number, event.when, body["parent"], tuple(body["requests"]), dict(body["plan"]))


def _made(history: "History", event: Event, body: dict[str, Any]) -> None:
    _change_run(history, body["number"], model=body["model"])


def _audited(history: "History", event: Event, body: dict[str, Any]) -> None:
    _change_run(history, body["number"], audit=body["audit"])


def _ended(history: "History", event: Event, body: dict[str, Any]) -> None:
    _change_run(history, body["number"], stage=Stage(body["stage"]), why=body["why"], model=None)


def _cleared(history: "History", event: Event, body: dict[str, Any]) -> None:
    # ids may have been deleted between the truncation and this event
    history.uncleared = history.deleted_at > body["until"]


def _removed(history: "History", event: Event, body: dict[str, Any]) -> None:
    for number in body["versions"]:
        history.versions[number] = replace(history.versions[number], removed=True)


def _rolled_back(history: "History", event: Event, body: dict[str, Any]) -> None:
    before = history.serving
    history.versions[history.current] = replace(before, replaced=event.when)
    history.current = body["version"]
    if history.serving.lineage != before.lineage:
        history.first_outputs = None  # of this lineage they were removed when it ended
    history.versions[history.current] = replace(history.serving, replaced=None)


def _retiring(history: "History", event: Event, body: dict[str, Any]) -> None:
    history.retiring, history.fingerprints, history.first_outputs = event.when, FingerprintSums(), None
    history.deleted_at, history.uncleared = event.seq, True


def _retired(history: "History", event: Event, body: dict[str, Any]) -> None:
    history.retired = event.when


def _clock_confirmed(history: "History", event: Event, body: dict[str, Any]) -> None:
    history.clock_ahead = []


def _clock_reset(history: "History", event: Event, body: dict[str, Any]) -> None:
    """Times that lie in the future of a reset were wrong, and count as the time of the reset."""
    history.clock_resets.append((event.seq, int(body["since"]), event.at))
    history.clock_ahead, history.clock_jumps = [], [jump for jump in history.clock_jumps if jump[0] < body["since"]]
    history.created = min(history.created, event.at)
    history.requests = {number: not_after(request, event.at) for number, request in history.requests.items()}
    history.runs = {number: not_after(run, event.at) for number, run in history.runs.items()}
    history.versions = {number: not_after(version, event.at) for number, version in history.versions.items()}


def _restored(history: "History", event: Event, body: dict[str, Any]) -> None:
    history.restored.append(Restored(event.seq, event.when, body["event"], body["taken"]))


def _change_request(history: "History", number: int, **changes: Any) -> None:
    history.requests[number] = replace(history.requests[number], **changes)


def _change_run(history: "History", number: int, **changes: Any) -> None:
    history.runs[number] = replace(history.runs[number], **changes)


APPLY: dict[str, Callable[["History", Event, dict[str, Any]], None]] = {
    "created": _created,
    "version": _version,
    "fingerprinted": _fingerprinted,
    "requested": _requested,
    "amended": _amended,
    "cancelled": _cancelled,
    "deferred": _deferred,
    "covered": _covered,
    "began": _began,
    "made": _made,
    "audited": _audited,
    "ended": _ended,
    "cleared": _cleared,
    "removed": _removed,
    "rolled_back": _rolled_back,
    "retiring": _retiring,
    "retired": _retired,
    "restored": _restored,
    CONFIRMED: _clock_confirmed,
    RESET: _clock_reset,
}
