"""Facts about the records of a task: their number, ids, groups, inputs and labels."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from efface.auditing.doctor.examination import Fact
from efface.data.contents import HASH, Marks, among, marked
from efface.data.groups import read_groups
from efface.data.ids import read_ids
from efface.data.naming import name_records
from efface.data.records import Records
from efface.errors import shorten
from efface.kinds import Kind
from efface.runtime.printing import how_many, how_many_do
from efface.task import Task

SHOWN = 5  # classes whose counts are listed in words


@dataclass(frozen=True)
class Content:
    """All records of a data set in short: a hash of the inputs of each, and its label."""

    marks: Marks
    labels: Tensor


def content_of(records: Records) -> Content:
    """Read all records of a data set once."""
    marks: list[NDArray[Any]] = [np.empty(0, HASH)]
    labels = []
    for batch, of_batch in marked(records, hash_all=True):
        marks.append(of_batch)
        labels.append(records.rules.labels(batch.targets.cpu()))
    return Content(np.concatenate(marks), torch.cat(labels) if labels else torch.empty(0, dtype=torch.int64))


def record_facts(task: Task, records: Records, content: Content) -> Iterator[Fact]:
    """Number of training records, what they are called, their groups and twins."""
    count = len(records)
    yield Fact("records", "training", count, how_many(count, "training record"))
    yield from _id_facts(task, count)
    yield from _group_facts(task, count)
    _, times = np.unique(content.marks, return_counts=True)
    twins = int(times[times > 1].sum())
    words = "no two records have equal inputs"
    if twins:
        words = (
            f"{twins:,} records have twins (equal inputs): a request for one of them must say what becomes of the twin "
            "(--twins)"
        )
    yield Fact("records", "twins", twins, words)


def _id_facts(task: Task, count: int) -> Iterator[Fact]:
    problems: list[str] = []
    if task.ids is None or isinstance(task.ids, str):
        where = name_records(task, count, problems).where
        yield Fact("records", "ids", "positions", f"ids are {where}")
        return
    ids = read_ids(task.ids, "ids", problems)
    if problems:
        return
    kinds = {str: "text", int: "integers"}
    found = sorted({kinds[type(i)] for i in ids})
    repeated = [i for i, n in Counter(ids).items() if n > 1]
    words = f"ids are given: {' and '.join(found)}, such as {shorten(list(ids[:2]))}"
    yield Fact("records", "ids", found, words)
    clause = (
        f"{how_many_do(len(repeated), 'id', 'stands', 'stand')} for several records: {shorten(repeated)}"
        if repeated
        else ""
    )
    yield Fact("records", "repeated_ids", len(repeated), clause)


def _group_facts(task: Task, count: int) -> Iterator[Fact]:
    keys = read_groups(task, count, [])
    if not keys:
        yield Fact("records", "groups", None, "no groups are given: each record counts as a person of its own")
        return
    sizes = Counter(keys)
    least, largest = min(sizes.values()), max(sizes.values())
    words = f"{how_many(len(sizes), 'group')}, such as persons, of {least:,} to {how_many(largest, 'record')}"
    yield Fact("records", "groups", {"count": len(sizes), "largest": largest}, words)


def input_facts(records: Records) -> Iterator[Fact]:
    """What the inputs of one record are, as the model takes them."""
    shapes = describe_inputs(records.read([0]).inputs)
    yield Fact("inputs", "of_one_record", shapes, f"a batch of one record is {shapes}")


def describe_inputs(value: Any) -> str:
    """Inputs in a few words: the shape and dtype of each tensor, within its nesting."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {describe_inputs(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return (
            how_many(len(value), "text")
            if value and isinstance(value[0], str)
            else ("(" + ", ".join(map(describe_inputs, value)) + ")")
        )
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        dtype = str(value.dtype).removeprefix("torch.")
        return f"{dtype} ({', '.join(map(str, value.shape))})"
    return type(value).__name__


def label_facts(content: Content, rules: Kind) -> Iterator[Fact]:
    """What a record's target is; of classes, how many there are, and how many records each has."""
    if not rules.has_classes:
        yield Fact("labels", "kind", rules.key, f"{rules.title}, such as {shorten(rules.named(content.labels[:2]))}")
        return
    labels = content.labels
    if labels.ndim != 1 or labels.is_floating_point() or labels.dtype == torch.bool:
        return
    counts = Counter(labels.tolist())
    most = counts.most_common()
    words = how_many(len(counts), "class", "classes")
    if len(most) <= SHOWN:
        words += ": " + ", ".join(f"{label} ({how_many(n, 'record')})" for label, n in sorted(counts.items()))
    elif most:
        words += f" of {most[-1][1]:,} to {how_many(most[0][1], 'record')}"
    yield Fact("labels", "counts", {str(label): n for label, n in sorted(counts.items())}, words)


def other_set_facts(section: str, content: Content, others: dict[str, Content], used_for: str) -> Iterator[Fact]:
    """Facts about the holdout or the test set.

    Args:
        section: `holdout` or `test`.
        content: Its records.
        others: The data sets that must not share records with it, by name.
        used_for: What else it was used for.
    """
    count = len(content.labels)
    yield Fact(section, "records", count, how_many(count, "record"))
    for name, other in others.items():
        shared = int(among(content.marks, other.marks).sum())
        are, serve = ("is a", "record too and serves") if shared == 1 else ("are", "records too and serve")
        words = f"{shared:,} of them {are} {name} {serve} for nothing" if shared else ""
        yield Fact(section, f"shared_with_{name}", shared, words)
    if used_for != "nothing":
        yield Fact(section, "used_for", used_for, f"it also served for {used_for}")
