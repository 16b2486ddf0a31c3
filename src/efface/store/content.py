"""The content of the records that a run forgets, and of those that stay: kept up with each version."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from efface.data.similar import alike
from efface.errors import RequestError
from efface.runtime.printing import Brief
from efface.store.batch import DeletionBatch
from efface.store.context import StoreContext, Transaction
from efface.store.entries import FingerprintSums
from efface.store.fingerprint_rows import PackedFingerprints, forget, replace_all, sum_of
from efface.store.fingerprints import fingerprints_at, forgotten_macs
from efface.store.intake import compare
from efface.store.tag_rows import requests_of
from efface.store.task_view import ids_of
from efface.task import Task


@dataclass(frozen=True, repr=False)
class TrainedOn(Brief):
    """The records and contents that a model is trained anew on.

    Args:
        rows: their fingerprints.
        sum: the sum of these; the history notes it with the model.
    """

    rows: PackedFingerprints
    sum: str


@dataclass(frozen=True, repr=False)
class ContentUpdate(Brief):
    """What a new version changes in the tables of fingerprints.

    Args:
        tags: the tags of the records that are forgotten.
        kept: HMAC of each one's content with the number of its request; empty where the store does not keep them.
        trained_on: what the model was trained on, if it was trained anew; else None.
    """

    tags: tuple[bytes, ...]
    kept: tuple[tuple[bytes, int], ...]
    trained_on: TrainedOn | None

    def apply(self, transaction: Transaction) -> tuple[FingerprintSums, int]:
        """Change the rows.

        Returns:
            The sums to note in the history, and the number of the contents that the rows are of (`Version.contents`).
        """
        history = transaction.history
        left, same = forget(transaction, self.tags, self.kept), history.contents
        if self.trained_on is None:
            return left, same
        sums = replace_all(transaction, self.trained_on.rows, left)
        return sums, same if sums == left else 1 + max(v.contents for v in history.versions.values())


def read_trained_on(context: StoreContext, task: Task, batch: DeletionBatch, noted: str | None) -> TrainedOn:
    """Read what a model is trained anew on, before it is; or again, where the run was interrupted after that.

    Args:
        context: the open store.
        task: the task as the user gave it.
        batch: the records of the run.
        noted: the sum that was noted with the model; None before it is trained.

    Raises:
        RequestError: the training records changed since the model was trained.
    """
    staying = np.array(batch.staying, dtype=np.int64)
    rows = PackedFingerprints(fingerprints_at(task, context.key, staying, alike(ids_of(task)), None))
    found = TrainedOn(rows, sum_of(context.key, rows))
    if noted is not None and found.sum != noted:
        raise RequestError(
            "the training records changed since the run that was interrupted trained its model, which knows others "
            "than these: the run is given up; call it again, which trains on them"
        )
    return found


def content_update(
    context: StoreContext, task: Task, batch: DeletionBatch, requests: Sequence[int], trained_on: TrainedOn | None
) -> ContentUpdate:
    """Read what a new version is to change in the tables of fingerprints.

    Args:
        context: the open store.
        task: the task as the user gave it.
        batch: the records of the run; those that are no longer in the training set have no content to read.
        requests: numbers of the run's requests.
        trained_on: what the model was trained on, if it was trained anew.

    Raises:
        RequestError: the content of records that were unlearned changed while the run was at work.
    """
    there = {tag: at for tag, at in batch.tags.items() if at is not None}
    if trained_on is None and compare(context, task, np.array(sorted(there.values()), dtype=np.int64)).changed:
        raise RequestError(
            "the content of records to forget changed while the run was at work, so something else may have been "
            "unlearned: the model is not taken; call the run again once the training set stays as it is"
        )
    kept: list[tuple[bytes, int]] = []
    if context.history().settings["notice_returns"]:
        with context.reading() as snapshot:
            numbers = requests_of(snapshot, list(there))
        macs = forgotten_macs(task, context.key, list(there.values()))
        own = set(requests)
        kept = [(mac, min(numbers[tag] & own)) for tag, mac in zip(there, macs, strict=True)]
    return ContentUpdate(tuple(batch.tags), tuple(kept), trained_on)
