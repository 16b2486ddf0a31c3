"""Content keys: what makes two trained models the same, as one hash.

A key covers the content of the records and their order, the recipe and the task's hooks or `Task.fit`, the untrained
network (code, structure and weights), the seed, the versions of efface and torch, and the kind of device. What it
cannot see: random augmentation in `Task.train` beside `Task.eval_records`, and what `efface.ensembles.identity` leaves
out, above all code that `Task.fit` calls in other modules. Delete the cache after changing such code.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from efface.data.records import Records
from efface.ensembles.identity import told_function, told_network
from efface.ensembles.members import Member, Work, records_of
from efface.models.checkpoint import weights_digest
from efface.models.running import device_of
from efface.runtime.provenance import versions
from efface.runtime.seeds import seeded
from efface.types import Indices


def content_keys(work: Work, fresh: Sequence[nn.Module], together: bool) -> Work:
    """The same work with each member's key and the digest of its untrained network; reads each dataset once."""
    if not work.members:
        return work
    shared = {
        "training": _training(work),
        "network": told_network(fresh[0]),  # the others differ in their weights alone
        **{name: versions()[name] for name in ("efface", "torch")},
        "device": device_of(work.original).type,
        "dtypes": sorted({str(p.dtype) for p in work.original.parameters()}),
        "together": together,
    }
    digests = _data_digests(work)
    members = []
    for member, model, data in zip(work.members, fresh, digests, strict=True):
        start = weights_digest(model)
        text = json.dumps({**shared, "data": data, "start": start, "seed": member.seed}, sort_keys=True)
        members.append(replace(member, start=start, key=hashlib.sha256(text.encode()).hexdigest()))
    return replace(work, members=tuple(members))


def _training(work: Work) -> list[str]:
    task = work.tasks[0]
    if task.fit is not None and not work.by_recipe:
        return ["fit", told_function(task.fit)]
    return ["recipe", repr(work.recipe), *map(told_function, (task.unpack, task.forward, task.collate))]


def _data_digests(work: Work) -> list[str]:
    hashes = [
        _Hashes(records_of(work, of[0]), np.unique(np.concatenate([m.positions for m in of])))
        for of in ([m for m in work.members if m.task == number] for number in range(len(work.tasks)))
    ]
    return [hashes[member.task].digest(member) for member in work.members]


class _Hashes:
    """Content hashes of some records of a dataset, read once."""

    def __init__(self, records: Records, positions: Indices) -> None:
        self._positions = positions
        with seeded(0):  # a dataset may draw at random as it is read
            found = b"".join(records.hashes(positions))
        self._rows: NDArray[np.uint8] = np.frombuffer(found, dtype=np.uint8).reshape(len(positions), -1)

    def digest(self, member: Member) -> str:
        at = np.searchsorted(self._positions, member.positions)
        return hashlib.sha256(self._rows[at].tobytes()).hexdigest()
