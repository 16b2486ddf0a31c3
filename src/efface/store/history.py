"""What the history says: requests, runs and versions, by going through its events in order."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from efface.store.errors import DamagedError
from efface.store.ledger import BEHIND, FIRST, Event


class Stage(StrEnum):
    """How far a request or a run is."""

    PENDING = "pending"  # a request that waits for a run
    HONOURED = "honoured"
    CANCELLED = "cancelled"
    OPEN = "open"  # a run without an end: at work, or interrupted
    DONE = "done"
    REJECTED = "rejected"  # its audit did not let it pass
    FAILED = "failed"  # the records or the model did not let it work
    ABANDONED = "abandoned"  # given up, for a run with other settings or by a cancelled request


@dataclass(frozen=True)
class Request:
    """Records that are to be forgotten; `digest` is an HMAC of their tags in order, `note` one of the note.

    `version` is the first that honours it, `through` the requests that had named its records before, if all were.
    """

    number: int
    added: str
    records: int
    digest: str
    due: str | None
    note: str | None
    stage: Stage = Stage.PENDING
    version: int | None = None
    honoured: str | None = None
    through: tuple[int, ...] = ()


@dataclass(frozen=True)
class Run:
    """One batch of requests on its way; `kept` is the file with its weights, once there is one."""

    number: int
    began: str
    parent: int
    requests: tuple[int, ...]
    plan: dict[str, Any]
    stage: Stage = Stage.OPEN
    kept: dict[str, Any] | None = None
    audit: dict[str, Any] | None = None
    why: str | None = None


@dataclass(frozen=True)
class Version:
    """One model; `file` is the SHA-256 of its checkpoint, `weights` efface's digest of the weights.

    `kind` is original, unlearned or retrained; a retrained model begins a lineage. `requests` are those that its run
    honoured, and `baseline` the file with what the lineage's first model said of holdout records.
    """

    number: int
    parent: int | None
    lineage: int
    kind: str
    run: int | None
    file: str
    weights: str
    made: str
    requests: tuple[int, ...]
    baseline: str
    drift: dict[str, Any] | None = None
    audit: dict[str, Any] | None = None
    replaced: str | None = None
    removed: bool = False


@dataclass
class History:
    """Everything that the events up to `seq` say.

    `latest` is the latest time that the clock showed, `behind` are events at which it lay behind that, and by how many
    seconds.
    """

    store: str = ""
    created: str = ""
    task: str | None = None
    key: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    source: str | None = None
    requests: dict[int, Request] = field(default_factory=dict)
    runs: dict[int, Run] = field(default_factory=dict)
    versions: dict[int, Version] = field(default_factory=dict)
    current: int = 0
    uncleared: bool = False  # ids were deleted, but may still stand in the write-ahead log
    retired: str | None = None
    behind: list[tuple[int, float]] = field(default_factory=list)
    seq: int = 0
    hash: str = FIRST
    latest: str = ""

    def copy(self) -> "History":
        """One that takes later events without changing this one; what it holds is frozen."""
        return replace(
            self,
            requests=dict(self.requests),
            runs=dict(self.runs),
            versions=dict(self.versions),
            behind=list(self.behind),
        )

    def take(self, events: Iterable[Event]) -> None:
        """Go on with later events; DamagedError for one that cannot be."""
        for event in events:
            try:
                body = {name: value for name, value in event.body.items() if name != BEHIND}
                _TAKE[event.kind](self, event, body)
                if behind := event.body.get(BEHIND):
                    self.behind.append((event.seq, float(behind)))
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                raise DamagedError(f"event {event.seq} ({event.kind}) of the history cannot be read") from error
            self.seq, self.hash, self.latest = event.seq, event.hash, event.at

    @property
    def serving(self) -> Version:
        """The version in service."""
        return self.versions[self.current]

    @property
    def clock(self) -> list[str]:
        """What is to be said of a clock that jumped back."""
        if not self.behind:
            return []
        seq, seconds = self.behind[0]
        more = f", and so for {len(self.behind) - 1} later events" if len(self.behind) > 1 else ""
        return [f"event {seq}: the clock lay {seconds:.0f} s behind the event before it{more}"]

    @property
    def pending(self) -> list[Request]:
        """Requests that wait for a run."""
        return [r for r in self.requests.values() if r.stage is Stage.PENDING]

    @property
    def open_run(self) -> Run | None:
        """The run that is at work or was interrupted."""
        return next((r for r in reversed(self.runs.values()) if r.stage is Stage.OPEN), None)

    def honoured_by(self, number: int) -> set[int]:
        """The requests that a version honours: those of its run and of all versions that it was made from."""
        found: set[int] = set()
        at: int | None = number
        while at is not None:
            found |= set(self.versions[at].requests)
            at = self.versions[at].parent
        return found | {r.number for r in self.requests.values() if r.through and set(r.through) <= found}

    @property
    def honoured(self) -> set[int]:
        """All requests that were ever honoured."""
        return {r.number for r in self.requests.values() if r.stage is Stage.HONOURED}

    def knows(self, number: int) -> set[int]:
        """Honoured requests whose records a version still knows."""
        return self.honoured - self.honoured_by(number)

    def first_of(self, lineage: int) -> Version:
        """The model that a lineage began with."""
        return next(v for v in self.versions.values() if v.lineage == lineage)

    @property
    def reported(self) -> set[int]:
        """The runs that have a report."""
        return {run.number for run in self.runs.values() if run.audit is not None and run.audit["files"]}

    def files(self) -> dict[str, str]:
        """What each file that must be there is, by its hash."""
        held = {v.file: f"version {v.number}" for v in self.versions.values() if not v.removed}
        held |= {v.baseline: f"holdout answers of lineage {v.lineage}" for v in self.versions.values()}
        run = self.open_run
        if run is not None and run.kept is not None:
            held[run.kept["file"]] = f"unfinished run {run.number}"
        return held

    def _created(self, event: Event, body: dict[str, Any]) -> None:
        self.store, self.created, self.task, self.key = body["store"], event.when, body["task"], body["key"]
        self.settings, self.source = body["settings"], body["source"]

    def _version(self, event: Event, body: dict[str, Any]) -> None:
        if self.versions:
            self.versions[self.current] = replace(self.serving, replaced=event.when)
        version = Version(**{**body, "made": event.when, "requests": tuple(body["requests"])})
        self.versions[version.number] = version
        self.current = version.number
        if version.run is not None:
            self.runs[version.run] = replace(self.runs[version.run], stage=Stage.DONE)
            self.uncleared = True
        for number in version.requests:
            self._honour(number, version.number, event.when)

    def _honour(self, number: int, version: int, at: str, through: tuple[int, ...] = ()) -> None:
        request = self.requests[number]
        self.requests[number] = replace(request, stage=Stage.HONOURED, version=version, honoured=at, through=through)

    def _requested(self, event: Event, body: dict[str, Any]) -> None:
        self.requests[body["number"]] = Request(**body, added=event.when)

    def _already(self, event: Event, body: dict[str, Any]) -> None:
        self._honour(body["number"], body["version"], event.when, tuple(body["through"]))

    def _cancelled(self, event: Event, body: dict[str, Any]) -> None:
        self.requests[body["number"]] = replace(self.requests[body["number"]], stage=Stage.CANCELLED)
        self.uncleared = True

    def _began(self, event: Event, body: dict[str, Any]) -> None:
        self.runs[body["number"]] = Run(
            body["number"], event.when, body["parent"], tuple(body["requests"]), dict(body["plan"])
        )

    def _unlearned(self, event: Event, body: dict[str, Any]) -> None:
        self.runs[body["number"]] = replace(self.runs[body["number"]], kept=body["kept"])

    def _audited(self, event: Event, body: dict[str, Any]) -> None:
        self.runs[body["number"]] = replace(self.runs[body["number"]], audit=body["audit"])

    def _ended(self, event: Event, body: dict[str, Any]) -> None:
        self.runs[body["number"]] = replace(
            self.runs[body["number"]], stage=Stage(body["stage"]), why=body["why"], kept=None
        )

    def _emptied(self, event: Event, body: dict[str, Any]) -> None:
        self.uncleared = False

    def _removed(self, event: Event, body: dict[str, Any]) -> None:
        for number in body["versions"]:
            self.versions[number] = replace(self.versions[number], removed=True)

    def _amended(self, event: Event, body: dict[str, Any]) -> None:
        self.requests[body["number"]] = replace(self.requests[body["number"]], due=body["due"], note=body["note"])

    def _retired(self, event: Event, body: dict[str, Any]) -> None:
        self.retired = event.when

    def _returned(self, event: Event, body: dict[str, Any]) -> None:
        self.versions[self.current] = replace(self.serving, replaced=event.when)
        self.current = body["version"]
        self.versions[self.current] = replace(self.serving, replaced=None)


_TAKE = {
    "created": History._created,
    "version": History._version,
    "requested": History._requested,
    "already": History._already,
    "amended": History._amended,
    "cancelled": History._cancelled,
    "began": History._began,
    "unlearned": History._unlearned,
    "audited": History._audited,
    "ended": History._ended,
    "emptied": History._emptied,
    "removed": History._removed,
    "returned": History._returned,
    "retired": History._retired,
}
