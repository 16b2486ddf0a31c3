"""The history: the requests, runs and versions that follow from applying its events in order."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from efface.errors import RequestError
from efface.runtime.options import is_integer
from efface.runtime.printing import Brief
from efface.store.applying import APPLY
from efface.store.entries import (
    CLOCK_AHEAD,
    CLOCK_BEHIND,
    DeletionRequest,
    Event,
    FingerprintSums,
    Restored,
    RunRecord,
    Stage,
    Version,
)
from efface.store.errors import DamagedError
from efface.store.wording import moment

FIRST_OUTPUTS = "first outputs of the lineage"  # in messages, what its first model said of some training records
FIRST = "0" * 64  # what the first event is chained to


@dataclass(repr=False)
class History(Brief):
    """The state of a store after all events that were read.

    Args:
        store: id of the store.
        created: when it was made, in UTC.
        task: the task as `module:name`, if it was given so.
        key: fingerprint of the key.
        settings: `grace_days`, `limits`, `notice_returns`, and facts about the training records of the time when the
            store was made.
        source: the file that the first model came from, if it was named.
        requests: all requests, by number.
        runs: all runs, by number.
        versions: all versions of the model, by number.
        current: number of the version in service.
        fingerprints: how many fingerprints of records' contents the store keeps.
        contents: of which contents they are, as `Version.contents` counts them.
        first_outputs: SHA-256 of the file with what is left of the first outputs of the lineage in service; None if
            there are none.
        deleted_at: number of the last event with which ids were deleted.
        uncleared: whether the write-ahead log may still hold deleted ids.
        retiring: when its retirement began, in UTC; None if it did not.
        cancelled_by_retiring: numbers of the requests that the retirement cancelled.
        retired: when the store was retired, in UTC; None if it was not.
        restored: the times that the store was restored from a backup.
        clock_jumps: numbers of the events at which the clock was behind the event before, and by how many seconds.
        clock_ahead: numbers of the events at which the clock was implausibly far ahead of the event before, and by how
            many seconds, as long as nobody has said whether it was right.
        clock_resets: for each reset of the clock the number of its event, the number of the first event whose time was
            wrong, and the time of the reset.
        seq: number of the last event.
        hash: hash of the last event.
        latest: time of the last event.
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
    contents: int = 0
    first_outputs: str | None = None
    deleted_at: int = 0
    uncleared: bool = False
    retiring: str | None = None
    cancelled_by_retiring: tuple[int, ...] = ()
    retired: str | None = None
    restored: list[Restored] = field(default_factory=list)
    clock_jumps: list[tuple[int, float]] = field(default_factory=list)
    clock_ahead: list[tuple[int, float]] = field(default_factory=list)
    clock_resets: list[tuple[int, int, str]] = field(default_factory=list)
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
            restored=list(self.restored),
            clock_jumps=list(self.clock_jumps),
            clock_ahead=list(self.clock_ahead),
            clock_resets=list(self.clock_resets),
        )

    def apply(self, events: Iterable[Event]) -> None:
        """Apply later events in order; DamagedError if one does not fit."""
        for event in events:
            try:
                body = dict(event.body)
                for mark, jumps in ((CLOCK_BEHIND, self.clock_jumps), (CLOCK_AHEAD, self.clock_ahead)):
                    if seconds := body.pop(mark, None):
                        jumps.append((event.seq, float(seconds)))
                APPLY[event.kind](self, event, body)
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

    def time_of(self, event: Event) -> str:
        """When an event happened: at most the time at which the clock was reset after it."""
        return min([event.when, *(at for seq, _, at in self.clock_resets if seq > event.seq)])

    @property
    def serving(self) -> Version:
        """The version in service."""
        return self.versions[self.current]

    @property
    def foreign_contents(self) -> str | None:
        """Why nothing can be unlearned from the version in service, as a sentence, where that is so; else None.

        It went back into service after a later one was trained on other records, whose fingerprints the store keeps.
        """
        serving = self.serving
        if serving.contents == self.contents:
            return None
        others = [v for v in self.versions.values() if v.contents == self.contents]
        back = [v.number for v in others if not v.removed and not self.known_to(v.number)]
        go_back = f"go back to version {back[-1]} (Store.rollback, or efface rollback), or " if back else ""
        return (
            f"{serving.title}, which is in service, was trained on other records or contents than {others[-1].title}, "
            "and the store keeps fingerprints of those alone, so nobody can tell what is to be unlearned: "
            f"{go_back}train anew (RunPlan(retrain=True), or efface run --retrain)"
        )

    @property
    def restore_warnings(self) -> list[str]:
        """A warning for each time that the store was restored from a backup."""
        return [
            f"event {r.seq}: restored from a backup that ended with event {r.event} and was made on {moment(r.taken)}: "
            "what was done elsewhere in between is not in the history"
            for r in self.restored
        ]

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
        needed |= {("baselines", v.answers): answers_title(v) for v in self.versions.values() if not v.removed}
        needed |= {("baselines", v.baseline): baseline_title(v) for v in self.versions.values()}
        if self.first_outputs is not None:
            needed["baselines", self.first_outputs] = FIRST_OUTPUTS
        run = self.open_run
        if run is not None and run.model is not None:
            needed["checkpoints", run.model["file"]] = f"unfinished run {run.number}"
            if file := run.model.get("first_outputs"):
                needed["baselines", file] = f"{FIRST_OUTPUTS}, by unfinished run {run.number}"
        return needed


def baseline_title(version: Version) -> str:
    """The name in messages of the file with the predictions that a version's drift is measured against."""
    return f"holdout answers of lineage {version.lineage}"


def answers_title(version: Version) -> str:
    """The name in messages of the file with a version's own predictions on these records."""
    return f"holdout answers of {version.title}"
