"""The pass over all records, which checks values, copies of forget records, and the classes in the request."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from efface.data.checks import Findings
from efface.data.records import Batch, Records, checksums, tensors_in
from efface.errors import shorten
from efface.types import Indices, RecordId

HASH = np.dtype("V16")  # a content hash
Marks = NDArray[Any]  # one checksum or content hash for each record


def has_finite_inputs(batch: Batch) -> bool:
    """Whether no input of a batch is NaN or infinite."""
    floats = (t for t in tensors_in(batch.inputs) if t.is_floating_point())
    # much quicker than testing each value: the sum of finite inputs is finite, unless they are huge
    return all(bool(t.sum().isfinite()) or bool(torch.isfinite(t).all()) for t in floats)


def check_batch(batch: Batch, classes: int | None, where: str, found: Findings) -> None:
    """Check that inputs are finite and targets are classes of the model.

    Args:
        batch: Some records.
        classes: The number of classes of the model; None if it is not known.
        where: Name of the set in messages, such as "training".
        found: Problems are added to this, one line for each kind of problem and set.
    """
    if not has_finite_inputs(batch):
        found.add_problem(f"inputs of {where} records hold NaN or infinite values: clean them first")
    targets = batch.targets
    if targets.ndim != 1 or targets.is_floating_point() or targets.dtype == torch.bool:
        found.add_problem(
            f"targets of {where} records: expected one integer class a record, got {targets.dtype} of {targets.ndim}-D"
        )
    elif classes is not None and len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < classes:
        wrong = targets[(targets < 0) | (targets >= classes)]
        found.add_problem(f"targets of {where} records: the model has classes 0 to {classes - 1}, got {int(wrong[0])}")


def check_contents(
    train: Records,
    holdout: Records,
    forget: Indices,
    ids: Sequence[RecordId],
    classes: int | None,
    found: Findings,
    hash_all: bool = True,
) -> dict[str, Marks]:
    """Check all records for NaN, invalid targets, copies of forget records in retain, and holdout records in training.

    It also notes the classes of the forget records.

    Args:
        train: The training records.
        holdout: The holdout records.
        forget: Positions of the forget set.
        ids: The ids of the training records, for messages.
        classes: The number of classes of the model; None if it is not known.
        found: Problems and the classes are added to this.
        hash_all: Whether to hash every record. If not, only records with equal checksums are hashed, which is much
            quicker.

    Returns:
        With `hash_all`, the content hashes of both sets, for `check_test`; else an empty dict.
    """
    # padding to the longest record of a batch changes a checksum
    hash_all = hash_all or not (train.is_sliceable and holdout.is_sliceable)
    counts: Counter[int] = Counter()
    train_marks: list[Marks] = []
    for batch, marks in _marked(train, hash_all):
        check_batch(batch, classes, "training", found)
        train_marks.append(marks)
        counts.update(batch.targets.flatten().tolist())
    holdout_marks: list[Marks] = []
    for batch, marks in _marked(holdout, hash_all):
        check_batch(batch, classes, "holdout", found)
        holdout_marks.append(marks)
    empty = np.empty(0, HASH if hash_all else np.int64)
    of_train, of_holdout = np.concatenate([empty, *train_marks]), np.concatenate([empty, *holdout_marks])
    stays = np.ones(len(of_train), dtype=bool)
    stays[forget] = False
    copied = np.flatnonzero(_among(of_train, of_train[forget]) & stays)
    shared = np.flatnonzero(_among(of_train, of_holdout))
    # records of equal marks are compared by their hashes
    near_train = np.unique(np.concatenate([forget[_among(of_train[forget], of_train[copied])], copied, shared]))
    near_holdout = np.flatnonzero(_among(of_holdout, of_train[shared]))
    train_hashes = _hashes(train, near_train, of_train, hash_all)
    holdout_hashes = _hashes(holdout, near_holdout, of_holdout, hash_all)
    _check_copies(train_hashes, forget, ids, found)
    _check_shared(train_hashes, holdout_hashes, found)
    _note_classes(counts, train, forget, found)
    return {"training": of_train, "holdout": of_holdout} if hash_all else {}


def _marked(records: Records, hash_all: bool) -> Iterator[tuple[Batch, Marks]]:
    at = np.arange(len(records))
    if hash_all:
        for batch, hashes in records.hashed(at):
            yield batch, np.frombuffer(b"".join(hashes), HASH)
    else:
        for batch in records.stream(at):
            yield batch, checksums(batch)


def _hashes(records: Records, at: Indices, marks: Marks, hash_all: bool) -> dict[int, bytes]:
    """The content hash of each record at some positions; records are read for it only if marks are checksums."""
    hashes = [mark.tobytes() for mark in marks[at]] if hash_all else records.hashes(at)
    return dict(zip(at.tolist(), hashes, strict=True))


def _check_copies(hashes: Mapping[int, bytes], forget: Indices, ids: Sequence[RecordId], found: Findings) -> None:
    """Check that no forget record has an exact copy that stays in training."""
    forgotten = set(forget.tolist())
    by_hash = {hashes[at]: at for at in forget.tolist() if at in hashes}
    copies = {by_hash[h]: at for at, h in hashes.items() if h in by_hash and at not in forgotten}
    if copies:
        pairs = shorten(copies.items(), show=lambda pair: f"{_name(pair[0], ids)} (twin of {_name(pair[1], ids)})")
        found.problems.append(
            f"{len(copies)} forget records have an exact twin that stays in training, which defeats forgetting: "
            f"{pairs}; forget the twins too, or drop the duplicates"
        )


def _check_shared(train: Mapping[int, bytes], holdout: Mapping[int, bytes], found: Findings) -> None:
    """Check that no holdout record is a training record too."""
    trained = set(train.values())
    shared = [at for at, h in holdout.items() if h in trained]
    if shared:
        found.problems.append(
            f"{len(shared)} holdout records are also training records (by content), the first at holdout position "
            f"{shared[0]}: the holdout must hold records that the model never saw"
        )


def check_classes(train: Records, forget: Indices, found: Findings) -> None:
    """Note the classes of the forget records, by a pass over all targets.

    Args:
        train: The training records.
        forget: Positions of the forget set.
        found: The classes are added to this.
    """
    counts: Counter[int] = Counter()
    for batch in train.stream(range(len(train))):
        counts.update(batch.targets.flatten().tolist())
    _note_classes(counts, train, forget, found)


def _note_classes(counts: Counter[int], train: Records, forget: Indices, found: Findings) -> None:
    found.labels = train.targets(forget).flatten().tolist() if forget.size else []
    taken = Counter(found.labels)
    found.forget_classes += sorted(c for c, n in taken.items() if n == counts[c])
    found.class_shares = {c: n / counts[c] for c, n in taken.items()}
    found.classes_left = sum(n > taken[c] for c, n in counts.items())


def check_test(test: Records, others: Mapping[str, Marks], classes: int | None, found: Findings) -> None:
    """Check that there are test records, that their values are valid, and that no other set holds them.

    Args:
        test: The test records.
        others: Content hashes of the other sets, by name of the set; if empty, records are not compared.
        classes: The number of classes of the model; None if it is not known.
        found: Problems and warnings are added to this.
    """
    if not len(test):
        found.problems.append(
            "the test set is empty: leave it out, or give records that are in neither train nor holdout"
        )
    hashes: list[Marks] = [np.empty(0, HASH)]
    if others:
        for batch, marks in _marked(test, hash_all=True):
            check_batch(batch, classes, "test", found)
            hashes.append(marks)
    else:
        for batch in test.stream(np.arange(len(test))):
            check_batch(batch, classes, "test", found)
    for name, marks in others.items():
        shared = np.flatnonzero(_among(np.concatenate(hashes), marks))
        if len(shared):
            found.warnings.append(
                f"{len(shared)} test records are also {name} records (by content), the first at position {shared[0]}"
            )


def _among(values: Marks, those: Marks) -> NDArray[np.bool_]:
    """Which of `values` are among `those`; needs less memory than np.isin."""
    if not len(those):
        return np.zeros(len(values), dtype=bool)
    those = np.sort(those)
    at = np.searchsorted(those, values)
    at[at == len(those)] = 0
    found: NDArray[np.bool_] = those[at] == values
    return found


def _name(at: int, ids: Sequence[RecordId]) -> str:
    return repr(ids[at]) if at < len(ids) else str(at)
