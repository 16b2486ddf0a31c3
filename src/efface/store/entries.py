"""What the history consists of: its events, and the requests, runs and versions that they speak of."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

CLOCK_BEHIND = "clock_behind_s"  # in the body of an event that was written by a clock that lay behind the last one's


@dataclass(frozen=True)
class Event:
    """One line of the history.

    Args:
        seq: its number, from 1.
        at: its time in UTC, never before that of the event before it.
        hash: HMAC of the line and of the hash before it.
    """

    seq: int
    at: str
    kind: str
    body: dict[str, Any]
    hash: str

    @property
    def when(self) -> str:
        """What the clock showed at the event, also where it lay behind: `at` never runs back."""
        behind = self.body.get(CLOCK_BEHIND)
        if not behind:
            return self.at
        moment = datetime.fromisoformat(self.at) - timedelta(seconds=behind)
        return moment.isoformat(timespec="milliseconds")


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
class DeletionRequest:
    """A request to forget some records.

    Args:
        number: counts from 1, in the order in which requests came.
        added: when it came, in UTC.
        records: how many records it names.
        digest: HMAC of their tags in order; the same records have the same one.
        due: the last day in time, as YYYY-MM-DD.
        note: HMAC of the note; `Store.note` gives the text.
        version: the first version that honours it.
        honoured: when that was.
        through: the requests that had named its records before, if they had named all of them.
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
class RunRecord:
    """What the history says of one run.

    Args:
        number: counts from 1.
        began: when, in UTC.
        parent: the version that was in service.
        requests: the numbers of those that it is to honour.
        plan: the fields of its RunPlan.
        model: the new checkpoint, once it is stored: its `file`, `weights`, `reference`, `cpu_s` and `warnings`.
        audit: what was concluded: `status`, `reasons`, and the hashes of the report's `files`.
        why: why it ended without a version.
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


@dataclass(frozen=True)
class Version:
    """One model that is or was in service.

    Args:
        number: counts from 1.
        parent: the version that it was made from.
        lineage: counts from 1; a retrained model begins one.
        kind: original, unlearned or retrained.
        run: the run that made it.
        file: SHA-256 of the checkpoint.
        weights: digest of the weights, as reports have it.
        made: when it went into service, in UTC.
        requests: the numbers of those that its run honoured.
        baseline: SHA-256 of the file with what the lineage's first model said of holdout records.
        drift: how far it moved from that model, by `changed`, `accuracy` and `records`, or why it is `missing`.
        audit: see RunRecord.
        replaced: when another version took its place; None in service.
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
    drift: dict[str, Any] | None = None
    audit: dict[str, Any] | None = None
    replaced: str | None = None
    removed: bool = False

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"version {self.number}"
