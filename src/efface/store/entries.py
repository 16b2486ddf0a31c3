"""Events of the history, and the requests, runs and versions that they describe."""

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from efface.runtime.printing import Brief

# in an event's body: seconds by which the clock was behind the event before, or implausibly far ahead of it
CLOCK_BEHIND, CLOCK_AHEAD = "clock_behind_s", "clock_ahead_s"
RESET, CONFIRMED = "clock_reset", "clock_confirmed"  # kinds of events about the clock
TIMES = ("added", "honoured", "began", "made", "replaced")  # fields of requests, runs and versions


@dataclass(frozen=True)
class Event:
    """One line of the history.

    Args:
        seq: its number, counting from 1.
        at: its time in UTC, never earlier than that of the event before, except where the clock was reset.
        kind: what happened, such as `requested` or `version`.
        body: details, depending on `kind`.
        hash: HMAC of the line and of the hash of the event before.
    """

    seq: int
    at: str
    kind: str
    body: dict[str, Any]
    hash: str

    @property
    def when(self) -> str:
        """The time that the machine's clock showed, which may be earlier than `at` where the clock jumped back."""
        behind = self.body.get(CLOCK_BEHIND)
        if not behind:
            return self.at
        moment = datetime.fromisoformat(self.at) - timedelta(seconds=behind)
        return moment.isoformat(timespec="milliseconds")


class Stage(StrEnum):
    """The state of a request or of a run."""

    PENDING = "pending"  # a request that waits for a run
    HONOURED = "honoured"
    CANCELLED = "cancelled"
    OPEN = "open"  # a run in progress, or one that was interrupted
    DONE = "done"
    REJECTED = "rejected"  # the run's model did not pass its audit
    FAILED = "failed"  # the run stopped because of an error in the records or in training
    ABANDONED = "abandoned"  # ended early: other settings were asked for, a request was cancelled, or the store retired


@dataclass(frozen=True)
class FingerprintSums:
    """How many rows the tables of fingerprints hold and the sums of their HMACs, as the history notes them.

    Adding up HMACs lets rows come and go without reading the others (Clarke et al. 2003, "Incremental multiset hash
    functions", section 5: MSet-Add-Hash).

    Args:
        records: how many training records have a fingerprint.
        sum: the sum for them, in hexadecimal.
        forgotten: how many contents of forgotten records are kept.
        forgotten_sum: the sum for them.
    """

    records: int = 0
    sum: str = "0"
    forgotten: int = 0
    forgotten_sum: str = "0"

    def noted(self) -> dict[str, Any]:
        """The values as an event of the history holds them."""
        return asdict(self)


DEFERRALS = {
    "missing": "{} of its records {are} no longer in the training set, so nothing can be unlearned by {them}: put "
    "{them} back until the run is over, or train anew (RunPlan(retrain=True), or efface run --retrain)",
    "changed": "the content of {} of its records is not what the model was trained on, so something else would be "
    "erased: put the earlier content back until the run is over, or train anew (RunPlan(retrain=True), or efface run "
    "--retrain)",
    "moved": "the content of {} of its records is not what the model was trained on, and they are named by position, "
    "so others would be erased: put the earlier order and content back until the run is over",
    "joined": "{} of its records joined the training set later, so the model in service was not trained on {them} and "
    "there is nothing to unlearn: train anew (RunPlan(retrain=True), or efface run --retrain), or cancel it",
    "grown": "{} training record{s} of its groups joined since it was made, and {are} not part of it: ask for the "
    "groups again (Store.add, or efface request add --groups), which takes all of their records",
    "ungrouped": "the task has no groups now, so nobody can tell whether its {} group{s} {have} records that joined "
    "since: set Task.groups, a key a record",
}


@dataclass(frozen=True)
class Deferral:
    """Why a request waits for another run.

    Args:
        why: `missing` (records are no longer in the training set), `changed` (their content changed), `moved` (it did
            where records are named by position), `joined` (the model was not trained on them), `grown` (its groups
            have other records too by now) or `ungrouped` (the task has no groups, by which that could be seen).
        records: how many records that holds for; how many groups where the task has none.
    """

    why: str
    records: int

    @property
    def text(self) -> str:
        """The reason and what to do, as a sentence."""
        several = self.records > 1
        words = {
            "s": "s" * several,
            "are": "are" if several else "is",
            "have": "have" if several else "has",
            "them": "them" if several else "it",
        }
        return DEFERRALS[self.why].format(self.records, **words)

    @property
    def reason(self) -> str:
        """The part of `text` that says why."""
        return self.text.partition(": ")[0]

    @property
    def advice(self) -> str:
        """The part of `text` that says what to do."""
        return self.text.partition(": ")[2]

    def line(self, number: int) -> str:
        """The sentence about the request with a number."""
        return f"request {number} waits: {self.text}"


@dataclass(frozen=True)
class DeletionRequest:
    """A request to forget some records.

    Args:
        number: its number, counting from 1 in the order of adding.
        added: when it was added, in UTC.
        records: how many records it names.
        digest: HMAC of the sorted tags of its records; equal for equal sets of records.
        due: the last day on which honouring it is in time, as YYYY-MM-DD; None without a deadline.
        note: HMAC of the notes, whose text `Store.note` returns; None without a note.
        stage: its state: pending, honoured or cancelled.
        version: the first version that honours it; None while none does.
        honoured: when it was honoured, in UTC.
        through: the earlier requests by which all of its records had been forgotten already; else empty.
        known: how many of its records the store knew when it was added: by a fingerprint, or as forgotten before.
        unknown: how many others it names: they joined the training set later, or their rows had been deleted.
        groups: HMACs of the keys of the groups that it is for, sorted; empty for a request by ids.
        deferred: why the last run left it out; None if it did not.
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
    known: int = 0
    unknown: int = 0
    groups: tuple[str, ...] = ()
    deferred: Deferral | None = None

    @property
    def way(self) -> str:
        """What honours it, or is to be done first, as far as is known, as the end of a sentence."""
        if self.deferred is not None:
            return self.deferred.advice
        return f"efface run{' --retrain' * (self.unknown > 0)} honours it"


@dataclass(frozen=True, repr=False)
class RunRecord(Brief):
    """One run, as the history describes it.

    Args:
        number: its number, counting from 1.
        began: when it began, in UTC.
        parent: the version that it starts from.
        requests: numbers of the requests that it is to honour.
        plan: the fields of its RunPlan.
        stage: its state: open, done, rejected, failed or abandoned.
        model: the new checkpoint, once it is stored: its `file`, `weights`, `reference`, `cpu_s`,
            `record_trainings` (absent in older runs), `warnings`, `first_outputs` as in Version and, if it was trained
            anew, the sum of the fingerprints of its `contents`.
        audit: the audit's `status` and `reasons`, the hashes of the report's `files` and, where records were compared
            at equal difficulty, `ranks` (absent in older runs); None before it.
        why: why it ended without a new version; else None.
    """

    number: int
    began: str
    parent: int
    requests: tuple[int, ...]
    plan: dict[str, Any]
    stage: Stage = Stage.OPEN
    model: dict[str, Any] | None = None
    audit: dict[str, Any] | None = None
    why: str | None = None


@dataclass(frozen=True, repr=False)
class Version(Brief):
    """One model that is or was in service.

    Args:
        number: its number, counting from 1.
        parent: the version that it was made from; None for the first.
        lineage: number of its lineage, counting from 1; each retrained model begins a new one.
        kind: original, unlearned or retrained.
        run: the run that made it; None for the first.
        file: SHA-256 of the checkpoint file.
        weights: digest of the weights, as reports state it.
        made: when it first went into service, in UTC.
        requests: numbers of the requests that its run honoured.
        baseline: SHA-256 of the file with the predictions of the lineage's first model on holdout records.
        answers: SHA-256 of the file with its own predictions on these records.
        contents: number of the training records' contents that its lineage was trained on, counting from 1; lineages
            that were trained on the same records with the same contents share it.
        drift: its distance from that model, as `drift.drift_of` returns it; None for the first model of a lineage.
        first_outputs: SHA-256 of the file with what is left of the first outputs of its lineage; None without them.
        audit: as in RunRecord.
        replaced: when another version replaced it, in UTC; None while it is in service.
        removed: whether its checkpoint was removed.
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
    answers: str
    contents: int
    drift: dict[str, Any] | None = None
    first_outputs: str | None = None
    audit: dict[str, Any] | None = None
    replaced: str | None = None
    removed: bool = False

    @property
    def title(self) -> str:
        """Its name in messages."""
        return f"version {self.number}"


@dataclass(frozen=True)
class Restored:
    """A time that the store was made from a backup.

    Args:
        seq: number of the event that says so.
        at: when, in UTC.
        event: number of the backup's last event; what was done after it elsewhere is not in this history.
        taken: when the backup was made, in UTC.
    """

    seq: int
    at: str
    event: int
    taken: str


Entry = TypeVar("Entry", DeletionRequest, RunRecord, Version)


def not_after(entry: Entry, moment: str) -> Entry:
    """A request, run or version in which times after a moment are that moment; the same one if it has none."""
    late: dict[str, Any] = {name: moment for name in TIMES if (getattr(entry, name, None) or "") > moment}
    return replace(entry, **late) if late else entry
