"""The history: the requests, runs and versions that follow from applying its events in order."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from efface.errors import RequestError
from efface.options import is_integer
from efface.runtime.printing import Brief
from efface.store.entries import (
    CLOCK_BEHIND,
    Deferral,
    DeletionRequest,
    Event,
    FingerprintSums,
    RunRecord,
    Stage,
    Version,
)
from efface.store.errors import DamagedError

FIRST = "0" * 64  # what the first event is chained to


@dataclass(repr=False)
class History(Brief):
    """The state of a store after all events that were read.

    Args:
        store: id of the store.
        created: when it was made, in UTC.
        task: the task as `module:name`, if it was given so.
        key: fingerprint of the key.
        settings: `grace_days`, `limits`, and facts about the training records when the store was made.
        source: the file that the first model came from, if it was named.
        requests, runs, versions: all of them, by number.
        current: number of the version in service.
        fingerprints: how many fingerprints of records' contents the store keeps.
        uncleared: whether the write-ahead log may still hold deleted ids.
        retired: when the store was retired, in UTC; None if it was not.
        clock_jumps: numbers of the events at which the clock was behind the event before, and by how many seconds.
        seq, hash, latest: number, hash and time of the last event.
    """

    store: str = ""
    created: str = ""
    task: str | None = None
    key: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    source: str | None = None
    requests: dict[int, DeletionRequest] = field(default_factory=dict)
    runs: dict[int, RunRecord] = field(default_factory=dict)
    versions: dict[int, Version] = field(default_factory=dict)
    current: int = 0
    fingerprints: FingerprintSums = field(default_factory=FingerprintSums)
    uncleared: bool = False
    retired: str | None = None
    clock_jumps: list[tuple[int, float]] = field(default_factory=list)
    seq: int = 0
    hash: str = FIRST
    latest: str = ""

    def copy(self) -> "History":
        """A copy that later events can be applied to without changing this history."""
        return replace(
            self,
            requests=dict(self.requests),
            runs=dict(self.runs),
            versions=dict(self.versions),
            clock_jumps=list(self.clock_jumps),
        )

    def apply(self, events: Iterable[Event]) -> None:
        """Apply later events in order; DamagedError if one does not fit."""
        for event in events:
            try:
                body = {name: value for name, value in event.body.items() if name != CLOCK_BEHIND}
                _APPLY[event.kind](self, event, body)
                if behind := event.body.get(CLOCK_BEHIND):
                    self.clock_jumps.append((event.seq, float(behind)))
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                raise DamagedError(f"event {event.seq} ({event.kind}) of the history cannot be read") from error
            self.seq, self.hash, self.latest = event.seq, event.hash, event.at

    def request(self, number: int) -> DeletionRequest:
        """A request by its number; RequestError if there is none."""
        if not is_integer(number) or number not in self.requests:
            there = f"1 to {len(self.requests)}" if self.requests else "none yet"
            raise RequestError(f"there is no request {number!r} (there are: {there})")
        return self.requests[number]

    def version(self, number: int) -> Version:
        """A version by its number; RequestError if there is none."""
        if not is_integer(number) or number not in self.versions:
            raise RequestError(f"there is no version {number!r} (there are: 1 to {len(self.versions)})")
        return self.versions[number]

    @property
    def serving(self) -> Version:
        """The version in service."""
        return self.versions[self.current]

    @property
    def clock_warnings(self) -> list[str]:
        """A warning if the clock jumped back at some event; else empty."""
        if not self.clock_jumps:
            return []
        seq, seconds = self.clock_jumps[0]
        more = f", and so for {len(self.clock_jumps) - 1} later events" if len(self.clock_jumps) > 1 else ""
        return [f"event {seq}: the clock lay {seconds:.0f} s behind the event before it{more}"]

    @property
    def pending(self) -> list[DeletionRequest]:
        """Requests that wait for a run."""
        return [r for r in self.requests.values() if r.stage is Stage.PENDING]

    @property
    def open_run(self) -> RunRecord | None:
        """The run that is in progress or was interrupted; None if there is none."""
        return next((r for r in reversed(self.runs.values()) if r.stage is Stage.OPEN), None)

    @property
    def honoured(self) -> set[int]:
        """All requests that were ever honoured."""
        return {r.number for r in self.requests.values() if r.stage is Stage.HONOURED}

    def honoured_by(self, number: int) -> set[int]:
        """Numbers of the requests that a version honours: those of its run and of all versions it was made from."""
        found: set[int] = set()
        at: int | None = number
        while at is not None:
            found |= set(self.versions[at].requests)
            at = self.versions[at].parent
        return found | {r.number for r in self.requests.values() if r.through and set(r.through) <= found}

    def known_to(self, number: int) -> set[int]:
        """Numbers of the honoured requests whose records a version was trained on and has not forgotten."""
        return self.honoured - self.honoured_by(number)

    def first_of(self, lineage: int) -> Version:
        """The first version of a lineage."""
        return next(v for v in self.versions.values() if v.lineage == lineage)

    @property
    def unlearned_in_lineage(self) -> set[int]:
        """Numbers of the requests that were honoured since the lineage in service began."""
        return self.honoured_by(self.current) - self.honoured_by(self.first_of(self.serving.lineage).number)

    @property
    def reported_runs(self) -> set[int]:
        """The runs that have a report."""
        return {run.number for run in self.runs.values() if run.audit is not None and run.audit["files"]}

    def needed_files(self) -> dict[tuple[str, str], str]:
        """The files that the store must hold: a name for messages, by kind and hash of each file."""
        needed = {("checkpoints", v.file): v.title for v in self.versions.values() if not v.removed}
        needed |= {("baselines", v.baseline): baseline_title(v) for v in self.versions.values()}
        run = self.open_run
        if run is not None and run.model is not None:
            needed["checkpoints", run.model["file"]] = f"unfinished run {run.number}"
        return needed

    def _created(self, event: Event, body: dict[str, Any]) -> None:
        self.store, self.created, self.task, self.key = body["store"], event.when, body["task"], body["key"]
        self.settings, self.source = body["settings"], body["source"]

    def _version(self, event: Event, body: dict[str, Any]) -> None:
        if self.versions:
            self.versions[self.current] = replace(self.serving, replaced=event.when)
        body = dict(body)
        self._fingerprinted(event, {"sums": body.pop("fingerprints")})
        version = Version(**{**body, "made": event.when, "requests": tuple(body["requests"])})
        self.versions[version.number] = version
        self.current = version.number
        if version.run is not None:
            self._change_run(version.run, stage=Stage.DONE)
            self.uncleared = True
        for number in version.requests:
            self._honour(number, version.number, event.when)

    def _fingerprinted(self, event: Event, body: dict[str, Any]) -> None:
        self.fingerprints = FingerprintSums(**body["sums"])

    def _requested(self, event: Event, body: dict[str, Any]) -> None:
        request = DeletionRequest(**{**body, "groups": tuple(body["groups"])}, added=event.when)
        self.requests[request.number] = request

    def _amended(self, event: Event, body: dict[str, Any]) -> None:
        self._change_request(body["number"], due=body["due"], note=body["note"])

    def _deferred(self, event: Event, body: dict[str, Any]) -> None:
        waiting = {int(number): Deferral(*why) for number, why in body["requests"].items()}
        for request in self.pending:
            self._change_request(request.number, deferred=waiting.get(request.number))

    def _cancelled(self, event: Event, body: dict[str, Any]) -> None:
        self._change_request(body["number"], stage=Stage.CANCELLED)
        self.uncleared = True

    def _covered(self, event: Event, body: dict[str, Any]) -> None:
        self._honour(body["number"], body["version"], event.when, tuple(body["through"]))

    def _honour(self, number: int, version: int, at: str, through: tuple[int, ...] = ()) -> None:
        self._change_request(number, stage=Stage.HONOURED, version=version, honoured=at, through=through, deferred=None)

    def _began(self, event: Event, body: dict[str, Any]) -> None:
        number = body["number"]
        self.runs[number] = RunRecord(number, event.when, body["parent"], tuple(body["requests"]), dict(body["plan"]))

    def _made(self, event: Event, body: dict[str, Any]) -> None:
        self._change_run(body["number"], model=body["model"])

    def _audited(self, event: Event, body: dict[str, Any]) -> None:
        self._change_run(body["number"], audit=body["audit"])

    def _ended(self, event: Event, body: dict[str, Any]) -> None:
        self._change_run(body["number"], stage=Stage(body["stage"]), why=body["why"], model=None)

    def _cleared(self, event: Event, body: dict[str, Any]) -> None:
        self.uncleared = False

    def _removed(self, event: Event, body: dict[str, Any]) -> None:
        for number in body["versions"]:
            self.versions[number] = replace(self.versions[number], removed=True)

    def _rolled_back(self, event: Event, body: dict[str, Any]) -> None:
        self.versions[self.current] = replace(self.serving, replaced=event.when)
        self.current = body["version"]
        self.versions[self.current] = replace(self.serving, replaced=None)

    def _retired(self, event: Event, body: dict[str, Any]) -> None:
        self.retired = event.when

    def _change_request(self, number: int, **changes: Any) -> None:
        self.requests[number] = replace(self.requests[number], **changes)

    def _change_run(self, number: int, **changes: Any) -> None:
        self.runs[number] = replace(self.runs[number], **changes)


def baseline_title(version: Version) -> str:
    """The name in messages of the file with the predictions that a version's drift is measured against."""
    return f"holdout answers of lineage {version.lineage}"


_APPLY: dict[str, Callable[[History, Event, dict[str, Any]], None]] = {
    "created": History._created,
    "version": History._version,
    "fingerprinted": History._fingerprinted,
    "requested": History._requested,
    "amended": History._amended,
    "cancelled": History._cancelled,
    "deferred": History._deferred,
    "covered": History._covered,
    "began": History._began,
    "made": History._made,
    "audited": History._audited,
    "ended": History._ended,
    "cleared": History._cleared,
    "removed": History._removed,
    "rolled_back": History._rolled_back,
    "retired": History._retired,
}
