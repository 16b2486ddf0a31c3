"""The content of the records that a run forgets, and of those that stay: kept up with each version."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from efface.data.similar import alike
from efface.runtime.printing import Brief
from efface.store.batch import DeletionBatch
from efface.store.context import StoreContext, Transaction
from efface.store.entries import FingerprintSums
from efface.store.fingerprint_rows import PackedFingerprints, forget, replace_all
from efface.store.fingerprints import fingerprints_at, forgotten_macs
from efface.store.tag_rows import requests_of
from efface.store.task_view import ids_of
from efface.task import Task


@dataclass(frozen=True, repr=False)
class ContentUpdate(Brief):
    """What a new version changes in the tables of fingerprints.

    Args:
        tags: the tags of the records that are forgotten.
        kept: HMAC of each one's content with the number of its request; empty where the store does not keep them.
        remade: the fingerprints of all other records, where the model was trained remade; else None.
    """

    tags: tuple[bytes, ...]
    kept: tuple[tuple[bytes, int], ...]
    remade: PackedFingerprints | None

    def apply(self, transaction: Transaction) -> FingerprintSums:
        """Change the rows, and return the sums to note in the history."""
        sums = forget(transaction, self.tags, self.kept)
        return sums if self.remade is None else replace_all(transaction, self.remade, sums)


def content_update(
    context: StoreContext, task: Task, batch: DeletionBatch, requests: Sequence[int], retrain: bool
) -> ContentUpdate:
    """Read what a new version is to change in the tables of fingerprints.

    Args:
        context: the open store.
        task: the task as the user gave it.
        batch: the records of the run; those that are no longer in the training set have no content to read.
        requests: numbers of the run's requests.
        retrain: whether the model was trained remade, on the contents as they are now.
    """
    there = {tag: at for tag, at in batch.tags.items() if at is not None}
    kept: list[tuple[bytes, int]] = []
    if context.history().settings["notice_returns"]:
        with context.reading() as snapshot:
            numbers = requests_of(snapshot, list(there))
        macs = forgotten_macs(task, context.key, list(there.values()))
        own = set(requests)
        kept = [(mac, min(numbers[tag] & own)) for tag, mac in zip(there, macs, strict=True)]
    remade = None
    if retrain:
        staying = np.array([at for at in batch.view.positions if at not in batch.leaving], dtype=np.int64)
        remade = PackedFingerprints(fingerprints_at(task, context.key, staying, alike(ids_of(task)), None))
    return ContentUpdate(tuple(batch.tags), tuple(kept), remade)
