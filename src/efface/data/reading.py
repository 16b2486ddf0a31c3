"""Checks that every data set can be read, always in the same way, and like the training records."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from efface.data.checks import Findings
from efface.data.objects import UncomparableError
from efface.data.records import Records
from efface.data.splits import spread
from efface.errors import RequestError, describe_error, shorten
from efface.runtime.kinds import or_by_integration
from efface.types import Indices

TWICE = 24  # first records of each set that are read twice
SAMPLED = 1000  # records of train, beside those to forget, whose labels are compared with those of eval_records
MAX_COMPARED = 5000  # forget records whose labels are compared


def records_of(where: str) -> str:
    """The records of a set in words, by the name of the set: `training`, `holdout`, `test` or `eval_records`."""
    return where if where == "eval_records" else f"{where} records"


def uncomparable(where: str, error: UncomparableError) -> str:
    """The line of a refusal where inputs hold something whose content cannot be seen."""
    return (
        f"the inputs of {records_of(where)} hold a {error.kind}, which cannot be compared by content, so twins could "
        "not be found: give Task.unpack or Task.collate, so that inputs are made of tensors"
    )


@contextmanager
def gathering(found: Findings) -> Iterator[None]:
    """Refuse with all problems at the end of the block, or with those so far where a record cannot be read in it."""
    try:
        yield
    except UncomparableError as error:
        raise RequestError([*found.problems, uncomparable("some", error)]) from error
    except RequestError as error:
        raise RequestError([*found.problems, *(p for p in error.problems if p not in found.problems)]) from error
    found.refuse()


def check_reading(records: Records, where: str, found: Findings, compare: bool = True) -> bool:
    """Check that records can be read, two at a time and singly.

    Args:
        records: The records.
        where: Name of the set in messages, such as "training".
        found: Problems are added to this.
        compare: Whether it must be possible to compare them by content.

    Returns:
        Whether they can be read.
    """
    if not len(records):
        return True
    try:
        records.read([0, min(1, len(records) - 1)])
    except Exception as error:  # a user's dataset and hooks may raise anything; report it in one line
        mend = or_by_integration("give Task.unpack or Task.collate", records.dataset)
        found.problems.append(f"{records_of(where)} cannot be read ({_cause(error)}): {mend}")
        return False
    try:
        records.read([0])
        if compare:
            records.hashes([0])
    except UncomparableError as error:
        found.problems.append(uncomparable(where, error))
        return False
    except Exception as error:
        found.problems.append(
            f"{records_of(where)} can be read two at a time but not one alone ({_cause(error)}): "
            "Task.collate and Task.unpack must take a batch of one record"
        )
        return False
    return True


def check_rereading(records: Records, where: str, positions: Indices, found: Findings) -> None:
    """Check that records are the same when read twice; a dataset that augments at random cannot be scored.

    The first 24 records are read too, since a few records alone may happen to be augmented the same way twice.

    Args:
        records: The records.
        where: Name of the set in messages.
        positions: Positions of further records, of which the first 8 are read.
        found: Problems are added to this.
    """
    some = np.union1d(positions[:8], np.arange(min(TWICE, len(records)))).astype(np.int64)
    try:
        if not len(some) or records.hashes(some) == records.hashes(some):
            return
    except UncomparableError:  # which is a problem only where records are compared
        return
    mend = {
        "training": "the dataset augments at random: give Task.eval_records, the same records in the same order "
        "without augmentation",
        "eval_records": "they augment at random: give the records of train without augmentation",
    }
    found.problems.append(
        f"{records_of(where)} differ when read twice, so "
        + mend.get(where, "the dataset augments at random: give it without augmentation")
    )


def check_layout(train: Records, others: Mapping[str, Records], found: Findings) -> None:
    """Check that the inputs of other sets have the keys, types and dimensions of the training records' inputs.

    With hooks of the user's own, records may have any length: only the number of dimensions must agree.

    Args:
        train: The training records.
        others: The other sets, by name.
        found: Problems are added to this.
    """
    if not len(train):
        return
    expected = layout_of(train)
    for where, records in others.items():
        got = layout_of(records) if len(records) else expected
        if odd := [place for place in {**expected, **got} if expected.get(place) != got.get(place)]:
            found.problems.append(
                f"{records_of(where)} have other inputs than training records: {odd[0]} is "
                f"{got.get(odd[0], 'missing')} where that of training records is {expected.get(odd[0], 'missing')}"
            )


def layout_of(records: Records) -> dict[str, str]:
    """The type and dimensions of each input of the first record, by its place; without lengths under a user's hooks."""
    return dict(_layout(records.read([0]).inputs, "input", fixed=records.is_sliceable))


def _layout(tree: Any, place: str, fixed: bool) -> list[tuple[str, str]]:
    if isinstance(tree, Mapping):
        return [line for key, value in tree.items() for line in _layout(value, f"{place}[{key!r}]", fixed)]
    if isinstance(tree, list | tuple):
        names = [f"{place}[{i}]" if fixed else f"{place}[...]" for i in range(len(tree))]
        return [line for name, value in zip(names, tree, strict=True) for line in _layout(value, name, fixed)]
    if isinstance(tree, Tensor | np.ndarray):
        dimensions = f"of shape {tuple(tree.shape[1:])}" if fixed else f"of {tree.ndim} dimensions"
        return [(place, f"{str(tree.dtype).removeprefix('torch.')} {dimensions}")]
    return [(place, f"a {type(tree).__name__}")]


def check_eval_labels(train: Records, read: Records, forget: Indices, found: Findings) -> None:
    """Check that eval_records have the labels of train, so that a position means the same record in both.

    All labels are compared if train is made of tensors; otherwise those of the forget records and of a sample that is
    spread over the set.

    Args:
        train: The training records as they were given, which may augment their inputs.
        read: The eval_records.
        forget: Positions of the forget set.
        found: Problems are added to this.
    """
    if train.is_made_of_tensors:
        some = np.arange(len(train), dtype=np.int64)
    else:
        some = np.union1d(forget[:: max(1, len(forget) // MAX_COMPARED)], spread(len(train), SAMPLED))
    try:
        # read alone, since augmented records may be of different lengths, and only Task.fit need make batches of them
        size = 1024 if train.is_made_of_tensors else 1
        labels = torch.cat([train.rules.labels(batch.targets.cpu()) for batch in train.stream(some, size)])
        others = read.targets(some)
        is_other = (
            (labels != others).reshape(len(some), -1).any(1) if labels.shape == others.shape else torch.ones(len(some))
        )
        differ = np.flatnonzero(is_other.numpy())
    except RequestError as error:
        found.problems += error.problems
        return
    if len(differ):
        places = shorten(some[differ].tolist())
        found.problems.append(
            f"eval_records and train have different labels at {len(differ)} of {len(some)} places compared "
            f"({places}): eval_records must hold the records of train in the same order"
        )


def _cause(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, RequestError) and isinstance(error.__cause__, Exception) else error
    return describe_error(cause)
