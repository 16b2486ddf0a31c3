"""Checks of a request against its records: every problem is found before any work starts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from efface.data.records import Batch, Records, content_hashes, tensors_in
from efface.data.splits import SMALLEST_HOLDOUT, positions_of
from efface.task import Task
from efface.types import Indices, RecordId

LARGE_SHARE = 0.05
LARGEST_SHARE = 0.20
SMALLEST_RETAIN = 60


@dataclass
class Findings:
    """What checks found: `problems` refuse the request, `warnings` go into the result and the report."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def few(names: Iterable[Any], most: int = 3) -> str:
    """The first few names and how many more there are."""
    every = list(names)
    shown = ", ".join(text if len(text := repr(n)) <= 60 else f"{text[:57]}..." for n in every[:most])
    return shown + (f" and {len(every) - most} more" if len(every) > most else "")


def check_ids(task: Task, forget: Sequence[RecordId], records: int, found: Findings) -> Indices:
    """Positions of the forget ids, in the order of the request; problems with ids go to `found`."""
    before = len(found.problems)
    if task.ids is not None:
        if len(task.ids) != records:
            found.problems.append(
                f"ids: expected one id for each of the {records} training records, got {len(task.ids)}"
            )
        odd = [i for i in task.ids if not isinstance(i, int | str | np.integer)]
        if odd:
            found.problems.append(f"ids: record ids are integers or strings, got {few(odd)}")
        doubles = [i for i, n in Counter(task.ids).items() if n > 1]
        if doubles:
            found.problems.append(f"ids name more than one training record: {few(doubles)}; ids must be unique")
    if len(forget) == 0:
        found.problems.append("the forget set is empty: name at least one record id")
    twice = [i for i, n in Counter(forget).items() if n > 1]
    if twice:
        found.problems.append(f"the forget set names {few(twice)} more than once ({len(twice)} ids): name each once")
    at = positions_of(forget, task.ids, records)
    unknown = [i for i in dict.fromkeys(forget) if i not in at]
    if unknown:
        known = "the ids given" if task.ids is not None else f"indices 0 to {records - 1}"
        found.problems.append(f"{len(unknown)} forget ids are not in the training records ({known}): {few(unknown)}")
    if len(found.problems) == before and len(at) >= records:
        found.problems.append("the forget set holds every training record: nothing is left to keep, train a new model")
    elif len(found.problems) == before:
        share = len(at) / records
        if share > LARGEST_SHARE:
            found.problems.append(
                f"the forget set is {share:.0%} of the training records; requests above {LARGEST_SHARE:.0%} are not "
                "supported yet: split the request, or retrain"
            )
        elif share > LARGE_SHARE:
            found.warnings.append(
                f"the forget set is {share:.1%} of the training records; above {LARGE_SHARE:.0%} is untried"
            )
        if records - len(at) < SMALLEST_RETAIN:
            found.problems.append(f"{records - len(at)} records would remain; at least {SMALLEST_RETAIN} are needed")
    # ids of a wrong length, refused above, may lead beyond the records
    return np.array([at[i] for i in dict.fromkeys(forget) if i in at and at[i] < records], dtype=np.int64)


def check_holdout(task: Task, records: int, found: Findings) -> None:
    """Whether there are enough records that the model never saw."""
    if records < SMALLEST_HOLDOUT:
        found.problems.append(
            f"the holdout has {records} records; at least {SMALLEST_HOLDOUT} that the model never saw are needed "
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
        batch = records.read([0, min(1, len(records) - 1)])
        content_hashes(batch)
    except Exception as error:  # whatever a user's dataset or hooks raise is the user's to read, in one line
        told = f"{type(error).__name__}: {error}".splitlines()[0]
        found.problems.append(f"{where} records cannot be read ({told}): give Task.unpack or Task.collate")
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


def check_batch(batch: Batch, classes: int | None, where: str, found: Findings) -> None:
    """Whether inputs are finite and targets are classes of the model; one line a kind of problem and place."""
    if any(t.is_floating_point() and not bool(torch.isfinite(t).all()) for t in tensors_in(batch.inputs)):
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
) -> None:
    """The pass over all records: NaN, targets, twins of forget records in retain, holdout records seen in training.

    Also refuses a request that takes every record of a class.
    """
    hashes: list[bytes] = []
    counts: Counter[int] = Counter()
    for batch in train.stream(np.arange(len(train))):
        check_batch(batch, classes, "training", found)
        hashes += content_hashes(batch)
        counts.update(batch.targets.flatten().tolist())
    theirs: list[bytes] = []
    for batch in holdout.stream(np.arange(len(holdout))):
        check_batch(batch, classes, "holdout", found)
        theirs += content_hashes(batch)
    gone = set(forget.tolist())
    named = {hashes[i]: i for i in forget.tolist()}
    twins = {named[h]: i for i, h in enumerate(hashes) if h in named and i not in gone}
    if twins:
        name = _namer(ids)
        pairs = [f"{name(a)} (twin of {name(b)})" for a, b in list(twins.items())[:3]]
        found.problems.append(
            f"{len(twins)} forget records have an exact twin that stays in training, which defeats forgetting: "
            f"{', '.join(pairs)}; forget the twins too, or drop the duplicates"
        )
    known = set(hashes)
    shared = [i for i, h in enumerate(theirs) if h in known]
    if shared:
        found.problems.append(
            f"{len(shared)} holdout records are also training records (by content), the first at holdout position "
            f"{shared[0]}: the holdout must hold records that the model never saw"
        )
    if forget.size:
        taken = Counter(train.targets(forget).flatten().tolist())
        emptied = [c for c, n in taken.items() if n == counts[c] and n > 0]
        if emptied:
            found.problems.append(
                f"the request takes every record of class {few(emptied)}; whole classes are not supported yet"
            )


def check_test(
    test: Records, train: Records, holdout: Records, classes: int | None, full: bool, found: Findings
) -> None:
    """Test records: some, finite, with targets of the model, and with `full` none that also trains or is held out."""
    if not len(test):
        found.problems.append(
            "the test set is empty: leave it out, or give records that are in neither train nor holdout"
        )
    theirs: list[bytes] = []
    for batch in test.stream(np.arange(len(test))):
        check_batch(batch, classes, "test", found)
        theirs += content_hashes(batch) if full else []
    if not full:
        return
    for name, others in (("training", train), ("holdout", holdout)):
        known = set(others.hashes(np.arange(len(others))))
        shared = [i for i, h in enumerate(theirs) if h in known]
        if shared:
            found.warnings.append(
                f"{len(shared)} test records are also {name} records (by content), the first at position {shared[0]}"
            )


def _namer(ids: Sequence[RecordId] | None) -> Any:
    return lambda at: repr(ids[at]) if ids is not None and at < len(ids) else str(at)


def _once(found: Findings, line: str) -> None:
    if line not in found.problems:
        found.problems.append(line)
