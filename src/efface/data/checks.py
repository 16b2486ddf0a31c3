"""Checks of a request against its records: every problem is found before any work starts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from efface.data.records import Batch, Records, checksums, content_hashes, tensors_in
from efface.data.splits import MIN_HOLDOUT, positions_of
from efface.errors import RequestError
from efface.runtime.text import shorten
from efface.task import Task
from efface.types import Indices, RecordId

HASH = np.dtype("V16")  # a content hash
Marks = NDArray[Any]  # one checksum or content hash a record

LARGE_SHARE = 0.05
MAX_SHARE = 0.20
MIN_RETAIN = 60


@dataclass
class Findings:
    """What checks found: `problems` refuse the request, `warnings` go into the result and the report.

    `forget_classes` are classes of which the request takes every record; of `left` classes some records stay.
    `taken` is the share of each class that the request takes.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    forget_classes: list[int] = field(default_factory=list)
    left: int = 0
    taken: dict[int, float] = field(default_factory=dict)


def told(error: BaseException) -> str:
    """What an exception of a user's own code says, in one line."""
    text = "; ".join(error.problems) if isinstance(error, RequestError) else str(error).strip()
    return f"{type(error).__name__}: {text}".splitlines()[0]


def check_ids(task: Task, forget: Sequence[RecordId], records: int, found: Findings) -> Indices:
    """Positions of the forget ids, in the order of the request; problems with ids go to `found`."""
    before = len(found.problems)
    known = task.ids is None or _check_known(task.ids, records, found)
    if len(forget) == 0:
        found.problems.append("the forget set is empty: name at least one record id")
    twice = [i for i, n in Counter(forget).items() if n > 1]
    if twice:
        found.problems.append(
            f"the forget set names {shorten(twice)} more than once ({len(twice)} ids): name each once"
        )
    at = positions_of(forget, task.ids, records) if known else {}
    unknown = [i for i in dict.fromkeys(forget) if i not in at]
    if unknown and known:
        theirs = "the ids given" if task.ids is not None else f"indices 0 to {records - 1}"
        found.problems.append(
            f"{len(unknown)} forget ids are not in the training records ({theirs}): {shorten(unknown)}"
        )
    if len(found.problems) == before and len(at) >= records:
        found.problems.append("the forget set holds every training record: nothing is left to keep, train a new model")
    elif len(found.problems) == before:
        share = len(at) / records
        if share > MAX_SHARE:
            found.problems.append(
                f"the forget set is {share:.0%} of the training records; requests above {MAX_SHARE:.0%} are not "
                "supported yet: split the request, or retrain"
            )
        elif share > LARGE_SHARE:
            found.warnings.append(
                f"the forget set is {share:.1%} of the training records; above {LARGE_SHARE:.0%} moves retain records "
                "noticeably too"
            )
        if records - len(at) < MIN_RETAIN:
            found.problems.append(f"{records - len(at)} records would remain; at least {MIN_RETAIN} are needed")
    # ids of a wrong length, refused above, may lead beyond the records
    return np.array([at[i] for i in dict.fromkeys(forget) if i in at and at[i] < records], dtype=np.int64)


def _check_known(ids: Sequence[RecordId], records: int, found: Findings) -> bool:
    """Whether forget ids can be looked up in the ids of the training records; problems go to `found`."""
    ordered = hasattr(ids, "__len__") and hasattr(ids, "__getitem__") and getattr(ids, "ndim", 1) == 1
    if not ordered or isinstance(ids, str | bytes | Mapping):
        found.problems.append(
            f"ids: ids must be a sequence in the order of train, got {type(ids).__name__}: give a list"
        )
        return False
    if len(ids) != records:
        found.problems.append(f"ids: expected one id for each of the {records} training records, got {len(ids)}")
    odd = [i for i in ids if isinstance(i, bool) or not isinstance(i, int | str | np.integer)]
    if odd:
        found.problems.append(f"ids: record ids are integers or strings, got {shorten(odd)}")
        return False
    # only ids of equal hash can be equal, and an array of hashes is a tenth of a dict of ids
    marks = np.sort(np.fromiter(map(hash, ids), np.int64))
    often = set(marks[1:][marks[1:] == marks[:-1]].tolist())
    doubles = [i for i, n in Counter(i for i in ids if hash(i) in often).items() if n > 1] if often else []
    if doubles:
        found.problems.append(f"ids name more than one training record: {shorten(doubles)}; ids must be unique")
    return True


def check_holdout(task: Task, records: int, found: Findings) -> None:
    """Whether there are enough records that the model never saw."""
    if records < MIN_HOLDOUT:
        found.problems.append(
            f"the holdout has {records} records; at least {MIN_HOLDOUT} that the model never saw are needed "
            "(some 500 for stable targets, as many as the forget set for telling evidence)"
        )
    if task.holdout_used_for != "nothing":
        found.warnings.append(
            f"the holdout also served for {task.holdout_used_for}: it may look slightly like a member"
        )


def check_reading(records: Records, where: str, found: Findings) -> bool:
    """Whether records can be read at all: a batch of two that the task's hooks take apart."""
    if not len(records):
        return True
    try:
        content_hashes(records.read([0, min(1, len(records) - 1)]))
    except Exception as error:  # whatever a user's dataset or hooks raise is the user's to read, in one line
        found.problems.append(f"{where} records cannot be read ({told(error)}): give Task.unpack or Task.collate")
        return False
    try:
        records.hashes([0])
    except Exception as error:
        found.problems.append(
            f"{where} records can be read two at a time but not one alone ({told(error)}): "
            "Task.collate and Task.unpack must take a batch of one record"
        )
        return False
    return True


def check_rereading(records: Records, positions: Indices, found: Findings) -> None:
    """Whether records read twice are the same; a dataset that augments at random cannot be scored.

    Read are some of `positions` and the first of all records, since one alone often draws the same twice.
    """
    some = np.union1d(positions[:8], np.arange(min(24, len(records))))
    if len(some) and content_hashes(records.read(some)) != content_hashes(records.read(some)):
        found.problems.append(
            "training records differ when read twice, so the dataset augments at random: "
            "give Task.eval_records, the same records in the same order without augmentation"
        )


def finite_inputs(batch: Batch) -> bool:
    """Whether no input of a batch is NaN or infinite."""
    floats = (t for t in tensors_in(batch.inputs) if t.is_floating_point())
    # a sum is finite for finite inputs unless they are huge, and much quicker than a look at each
    return all(bool(t.sum().isfinite()) or bool(torch.isfinite(t).all()) for t in floats)


def check_batch(batch: Batch, classes: int | None, where: str, found: Findings) -> None:
    """Whether inputs are finite and targets are classes of the model; one line a kind of problem and place."""
    if not finite_inputs(batch):
        _once(found, f"inputs of {where} records hold NaN or infinite values: clean them first")
    targets = batch.targets
    if targets.ndim != 1 or targets.is_floating_point() or targets.dtype == torch.bool:
        _once(
            found,
            f"targets of {where} records: expected one integer class a record, got {targets.dtype} of {targets.ndim}-D",
        )
    elif classes is not None and len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < classes:
        wrong = targets[(targets < 0) | (targets >= classes)]
        _once(found, f"targets of {where} records: the model has classes 0 to {classes - 1}, got {int(wrong[0])}")


def check_contents(
    train: Records,
    holdout: Records,
    forget: Indices,
    ids: Sequence[RecordId] | None,
    classes: int | None,
    found: Findings,
    every: bool = True,
) -> dict[str, Marks]:
    """The pass over all records: NaN, targets, twins of forget records in retain, holdout records seen in training.

    Notes the classes that the request takes every record of. With `every` it gives the content hashes of both sets,
    for `check_test`; without, only records whose checksum another one has are hashed, which is much quicker.
    """
    every = every or not (train.plain and holdout.plain)  # padding to the longest of a batch changes a checksum
    counts: Counter[int] = Counter()
    kind = HASH if every else np.dtype(np.int64)
    marks: list[list[Any]] = [[np.empty(0, kind)], [np.empty(0, kind)]]
    for name, data, seen in (("training", train, marks[0]), ("holdout", holdout, marks[1])):
        at = np.arange(len(data))
        read = data.hashed(at) if every else ((b, checksums(b)) for b in data.stream(at))
        for batch, some in read:
            check_batch(batch, classes, name, found)
            seen.append(np.frombuffer(b"".join(some), kind) if every else some)
            if data is train:
                counts.update(batch.targets.flatten().tolist())
    of_train, of_holdout = (np.concatenate(seen) for seen in marks)
    # looked at closely are only records whose mark one of the others has
    stays = np.ones(len(of_train), dtype=bool)
    stays[forget] = False
    twin = np.flatnonzero(_among(of_train, of_train[forget]) & stays)
    both = np.flatnonzero(_among(of_train, of_holdout))
    near = np.unique(np.concatenate([forget[_among(of_train[forget], of_train[twin])], twin, both]))
    ours, theirs = (
        dict(zip(at.tolist(), [h.tobytes() for h in seen[at]] if every else data.hashes(at), strict=True))
        for at, seen, data in (
            (near, of_train, train),
            (np.flatnonzero(_among(of_holdout, of_train[both])), of_holdout, holdout),
        )
    )
    gone = set(forget.tolist())
    named = {ours[i]: i for i in forget.tolist() if i in ours}
    twins = {named[h]: i for i, h in ours.items() if h in named and i not in gone}
    if twins:
        name = _namer(ids)
        pairs = [f"{name(a)} (twin of {name(b)})" for a, b in list(twins.items())[:3]]
        found.problems.append(
            f"{len(twins)} forget records have an exact twin that stays in training, which defeats forgetting: "
            f"{', '.join(pairs)}; forget the twins too, or drop the duplicates"
        )
    known = set(ours.values())
    shared = [i for i, h in theirs.items() if h in known]
    if shared:
        found.problems.append(
            f"{len(shared)} holdout records are also training records (by content), the first at holdout position "
            f"{shared[0]}: the holdout must hold records that the model never saw"
        )
    _note_classes(counts, train, forget, found)
    return {"training": of_train, "holdout": of_holdout} if every else {}


def _among(values: Marks, those: Marks) -> NDArray[np.bool_]:
    """Which of `values` are among `those`, in less memory than np.isin takes."""
    if not len(those):
        return np.zeros(len(values), dtype=bool)
    those = np.sort(those)
    at = np.searchsorted(those, values)
    at[at == len(those)] = 0
    found: NDArray[np.bool_] = those[at] == values
    return found


def check_classes(train: Records, forget: Indices, found: Findings) -> None:
    """Note the classes that the request takes every record of."""
    counts: Counter[int] = Counter()
    for batch in train.stream(range(len(train))):
        counts.update(batch.targets.flatten().tolist())
    _note_classes(counts, train, forget, found)


def _note_classes(counts: Counter[int], train: Records, forget: Indices, found: Findings) -> None:
    taken = Counter(train.targets(forget).flatten().tolist()) if forget.size else Counter()
    found.forget_classes += sorted(c for c, n in taken.items() if n == counts[c])
    found.taken = {c: n / counts[c] for c, n in taken.items()}
    found.left = sum(n > taken[c] for c, n in counts.items())


def check_test(test: Records, others: Mapping[str, Marks], classes: int | None, found: Findings) -> None:
    """Test records: some, finite, with targets of the model, and none whose content hash is one of the `others`."""
    if not len(test):
        found.problems.append(
            "the test set is empty: leave it out, or give records that are in neither train nor holdout"
        )
    at = np.arange(len(test))
    theirs: list[bytes] = []
    for batch, some in test.hashed(at) if others else ((batch, []) for batch in test.stream(at)):
        check_batch(batch, classes, "test", found)
        theirs += some
    for name, known in others.items():
        shared = np.flatnonzero(_among(np.frombuffer(b"".join(theirs), HASH), known))
        if len(shared):
            found.warnings.append(
                f"{len(shared)} test records are also {name} records (by content), the first at position {shared[0]}"
            )


def _namer(ids: Sequence[RecordId] | None) -> Any:
    return lambda at: repr(ids[at]) if ids is not None and at < len(ids) else str(at)


def _once(found: Findings, line: str) -> None:
    if line not in found.problems:
        found.problems.append(line)
