"""The pass over all records, which checks values, copies of forget records, and the classes in the request."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from efface.data.checks import Findings
from efface.data.hashing import checksums
from efface.data.objects import dense_parts, values_in
from efface.data.records import Batch, Records
from efface.data.twins import TwinSet
from efface.errors import shorten
from efface.kinds import Kind, kinds_to_state
from efface.types import Indices

HASH = np.dtype("V16")  # a content hash
Marks = NDArray[Any]  # one checksum or content hash for each record


def has_finite_inputs(batch: Batch) -> bool:
    """Whether no input of a batch is NaN or infinite, as far as tensors and arrays within it can be seen."""
    return all(map(_is_finite, values_in(batch.inputs)))


def _is_finite(value: Tensor | NDArray[Any]) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype.kind not in "fc" or bool(np.isfinite(value).all())
    # much quicker than testing each value: the sum of finite inputs is finite, unless they are huge
    return not value.is_floating_point() or all(
        bool(t.sum().isfinite()) or bool(torch.isfinite(t).all()) for t in dense_parts(value)
    )


def check_batch(batch: Batch, rules: Kind, width: int | None, where: str, found: Findings) -> None:
    """Check that inputs are finite and that targets are of the task's kind.

    Args:
        batch: Some records.
        rules: The task's kind.
        width: The width of the model's outputs, such as the number of classes; None if it is not known.
        where: Name of the set in messages, such as "training".
        found: Problems are added to this, one line for each kind of problem and set.
    """
    if not has_finite_inputs(batch):
        found.add_problem(f"inputs of {where} records hold NaN or infinite values: clean them first")
    if (problem := rules.wrong_targets(batch.targets, width)) is None:
        return
    line = f"targets of {where} records: {problem}"
    if width is not None and (others := kinds_to_state(torch.empty(len(batch), width), batch.targets)):
        line += f"; if they are of another kind, state it: {others}"
    if not any(known.startswith(line.partition(" got ")[0]) for known in found.problems):
        found.add_problem(line)


def _classes_of(batch: Batch, rules: Kind) -> list[int]:
    """The classes of some records; empty where the kind has none."""
    classes = rules.classes(rules.labels(batch.targets)) if rules.has_classes else None
    return [] if classes is None else classes.flatten().tolist()


@dataclass(frozen=True)
class Contents:
    """What the pass over all records found.

    Args:
        counts: The number of training records of each class; empty where the task's kind has none.
        marks: A checksum or content hash of the inputs of each record, by name of the set.
        hashed: Whether `marks` are content hashes.
        twin_sets: Forget records with twins.
        shared: Positions of the holdout records whose inputs are those of a training record.
    """

    counts: Counter[int]
    marks: Mapping[str, Marks]
    hashed: bool
    twin_sets: tuple[TwinSet, ...]
    shared: Indices


def check_contents(
    train: Records,
    holdout: Records,
    forget: Indices,
    width: int | None,
    found: Findings,
    hash_all: bool = True,
) -> Contents:
    """Check all records for NaN and invalid targets, and find the twins of forget records and shared holdout records.

    Args:
        train: The training records.
        holdout: The holdout records.
        forget: Positions of the forget set.
        width: The width of the model's outputs; None if it is not known.
        found: Problems are added to this.
        hash_all: Whether to hash every record. If not, only records with equal checksums are hashed, which is much
            quicker.

    Raises:
        RequestError: A record cannot be read.
        UncomparableError: An input is an object whose content cannot be seen.
    """
    # padding to the longest record of a batch changes a checksum
    hash_all = hash_all or not (train.is_sliceable and holdout.is_sliceable)
    counts: Counter[int] = Counter()
    train_marks: list[Marks] = []
    for batch, marks in marked(train, hash_all):
        check_batch(batch, train.rules, width, "training", found)
        train_marks.append(marks)
        counts.update(_classes_of(batch, train.rules))
    holdout_marks: list[Marks] = []
    for batch, marks in marked(holdout, hash_all):
        check_batch(batch, train.rules, width, "holdout", found)
        holdout_marks.append(marks)
    empty = np.empty(0, HASH if hash_all else np.int64)
    of_train, of_holdout = np.concatenate([empty, *train_marks]), np.concatenate([empty, *holdout_marks])
    stays = np.ones(len(of_train), dtype=bool)
    stays[forget] = False
    copied = np.flatnonzero(among(of_train, of_train[forget]) & stays)
    shared = np.flatnonzero(among(of_train, of_holdout))
    # records of equal marks are compared by their hashes
    near_train = np.unique(np.concatenate([forget[among(of_train[forget], of_train[copied])], copied, shared]))
    near_holdout = np.flatnonzero(among(of_holdout, of_train[shared]))
    train_hashes = _hashes(train, near_train, of_train, hash_all)
    holdout_hashes = _hashes(holdout, near_holdout, of_holdout, hash_all)
    trained = set(train_hashes.values())
    return Contents(
        counts,
        {"training": of_train, "holdout": of_holdout},
        hash_all,
        _twin_sets(train_hashes, forget),
        np.array([at for at, h in holdout_hashes.items() if h in trained], dtype=np.int64),
    )


def marked(records: Records, hash_all: bool) -> Iterator[tuple[Batch, Marks]]:
    """Read all records in batches, each with a content hash or a checksum of the inputs of its records."""
    at = np.arange(len(records))
    if hash_all:
        for batch, hashes in records.hashed(at, with_targets=False):
            yield batch, np.frombuffer(b"".join(hashes), HASH)
    else:
        for batch in records.stream(at):
            yield batch, checksums(batch)


def _hashes(records: Records, at: Indices, marks: Marks, hash_all: bool) -> dict[int, bytes]:
    """The hash of each record's inputs at some positions; records are read for it only if marks are checksums."""
    hashes = [mark.tobytes() for mark in marks[at]] if hash_all else records.hashes(at, with_targets=False)
    return dict(zip(at.tolist(), hashes, strict=True))


def _twin_sets(hashes: Mapping[int, bytes], forget: Indices) -> tuple[TwinSet, ...]:
    """The forget records whose inputs equal those of a record that is not in the request."""
    forgotten = set(forget.tolist())
    own: dict[bytes, list[int]] = {}
    others: dict[bytes, list[int]] = {}
    for at, h in sorted(hashes.items()):
        (own if at in forgotten else others).setdefault(h, []).append(at)
    return tuple(TwinSet(tuple(at), tuple(others[h])) for h, at in own.items() if h in others)


def check_classes(train: Records, forget: Indices, found: Findings) -> None:
    """Note the labels and the classes of the forget records; where there are classes, by a pass over all targets.

    Args:
        train: The training records.
        forget: Positions of the forget set.
        found: The labels and classes are added to this.
    """
    counts: Counter[int] = Counter()
    if train.rules.has_classes:
        for batch in train.stream(range(len(train))):
            counts.update(_classes_of(batch, train.rules))
    note_classes(counts, train, forget, forget[:0], found)


def note_classes(counts: Counter[int], train: Records, forget: Indices, kept: Indices, found: Findings) -> None:
    """Note the labels of the forget records, and their classes where the task's kind has classes.

    Args:
        counts: The number of training records of each class.
        train: The training records.
        forget: Positions of the forget set, in the order of the request.
        kept: Positions of other records of the request, which twins keep in training.
        found: The labels and classes are added to this.
    """
    rules = train.rules
    if not forget.size or (found.problems and not rules.has_classes):
        return
    labels = train.targets(forget)
    found.labels = rules.named(labels)
    if (classes := rules.classes(torch.cat([labels, train.targets(kept)]) if kept.size else labels)) is None:
        return
    taken = Counter(classes.flatten().tolist())
    found.forget_classes += sorted(c for c, n in taken.items() if n == counts[c])
    found.class_shares = {c: n / counts[c] for c, n in taken.items()}
    found.classes_left = sum(n > taken[c] for c, n in counts.items())


def check_classes_left(for_audit: bool, found: Findings) -> None:
    """Note classes that are wholly in the request, and refuse a request that leaves a single class.

    Args:
        for_audit: Whether the request is checked for an audit, which any number of classes will do for.
        found: The classes; problems and warnings are added to this.
    """
    if found.forget_classes:
        found.warnings.append(f"the request takes every record of class {shorten(found.forget_classes)}")
        if not for_audit and found.classes_left < 2:
            found.problems.append("the request leaves records of one class alone: there is nothing more to tell apart")


def check_parts(train: Records, holdout: Records, forget: Indices, width: int | None, found: Findings) -> None:
    """Check forget and holdout records only, if the pass over all records is off.

    Args:
        train: The training records.
        holdout: The holdout records.
        forget: Positions of the forget set.
        width: The width of the model's outputs; None if it is not known.
        found: Problems and warnings are added to this.
    """
    for name, records, rows in (("forget", train, forget), ("holdout", holdout, range(len(holdout)))):
        for batch in records.stream(rows):
            check_batch(batch, train.rules, width, name, found)
    check_classes(train, forget, found)
    found.warnings.append(
        "the pass over all records was off: twins, shared records and NaN were not looked for, nor whether the model "
        "knows its records"
    )


def among(values: Marks, those: Marks) -> NDArray[np.bool_]:
    """Which of `values` are among `those`; needs less memory than np.isin."""
    if not len(those):
        return np.zeros(len(values), dtype=bool)
    those = np.sort(those)
    at = np.searchsorted(those, values)
    at[at == len(those)] = 0
    found: NDArray[np.bool_] = those[at] == values
    return found
