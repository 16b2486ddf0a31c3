"""Reading record ids from any container, once and by position."""

import math
import sys
from abc import abstractmethod
from collections.abc import Collection, Iterator, KeysView, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeGuard, overload

import numpy as np
from numpy.typing import NDArray

from efface.errors import describe_error, shorten
from efface.types import RecordId

if TYPE_CHECKING:  # the ids of a request are read without torch, which takes seconds to load
    from torch import Tensor

CHUNK = 4096
MAX_SHOWN = 40  # characters of an id that a message repeats
IDS = "record ids"
RecordIds = Sequence[RecordId]


@dataclass(frozen=True)
class ByGroup:
    """A request for all records of some groups, for `forget`, where a task has `Task.groups`.

    Args:
        groups: The keys of the groups, in any container that holds record ids.
    """

    groups: Any


Forget = Collection[RecordId] | ByGroup


class PositionalIds(Sequence[RecordId]):
    """Ids that are made when they are read, by position: they take no memory of their own."""

    @abstractmethod
    def name(self, position: int) -> RecordId:
        """The id at a position, 0 or more."""

    @overload
    def __getitem__(self, at: SupportsIndex) -> RecordId: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[RecordId]: ...
    def __getitem__(self, at: SupportsIndex | slice) -> RecordId | Sequence[RecordId]:
        """The id at a position, or a list of ids."""
        if isinstance(at, slice):
            return [self.name(i) for i in range(*at.indices(len(self)))]
        return self.name(range(len(self))[at])

    def __iter__(self) -> Iterator[RecordId]:
        return map(self.name, range(len(self)))


class ArrayIds(PositionalIds):
    """Integer ids in a one-dimensional array, which is not copied."""

    def __init__(self, values: NDArray[np.integer[Any]]) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def name(self, position: int) -> RecordId:
        """The id at a position, 0 or more."""
        return int(self.values[position])

    def __iter__(self) -> Iterator[RecordId]:
        for start in range(0, len(self.values), CHUNK):
            yield from self.values[start : start + CHUNK].tolist()


def read_ids(ids: Any, what: str, problems: list[str], is_ordered: bool = True) -> RecordIds:
    """Read ids from any container as Python's own integers and strings, once and in its order.

    Lists and tuples of such ids, ranges and arrays of integers are not copied, so they must not change.

    Args:
        ids: A list, tuple, array, tensor, pandas Series or Index, the keys of a dict, or another sized iterable.
        what: What they are in messages: the name of the argument.
        problems: Problems with the container and with single ids are added to this, one line for each kind.
        is_ordered: Whether the order matters, so that a set is refused. If not, a set is sorted.

    Returns:
        The ids by position; empty if there is a problem.
    """
    dimensions = getattr(ids, "ndim", 1)
    if isinstance(ids, str | bytes | Mapping) or not (hasattr(ids, "__len__") and _is_iterable(ids)):
        mend = f"give a list, [{ids!r}]" if isinstance(ids, str | int) and len(str(ids)) <= MAX_SHOWN else "give a list"
        problems.append(f"{what}: expected a sequence of {_noun(what)}, got {type(ids).__name__}: {mend}")
    elif dimensions != 1:
        problems.append(
            f"{what}: expected a one-dimensional sequence of {_noun(what)}, got a {dimensions}-D {type(ids).__name__}"
        )
    elif is_ordered and isinstance(ids, Set) and not isinstance(ids, KeysView):
        problems.append(f"{what}: a {type(ids).__name__} has no order: give a list in the order of the records")
    elif isinstance(ids, PositionalIds | range):
        return ids
    elif _is_array(ids) and (array := _integers(ids)) is not None:
        return ArrayIds(array)
    else:
        return _read_values(ids, what, problems)
    return ()


def read_asked(asked: Any, problems: list[str]) -> list[RecordId]:
    """Convert the ids to forget, or the keys of the groups to forget, to Python integers and strings.

    Args:
        asked: A list or other sequence, an array or tensor, the keys of a dict, or a set, which is sorted; or a
            `ByGroup` of such.
        problems: Problems with the types of `asked` and of its ids are added to this.

    Returns:
        The ids or keys; empty if there is a problem.
    """
    if _holds_records(asked):
        kind = type(asked).__name__
        problems.append(f"forget: expected the ids of records, got records ({kind}): give ids, such as [17, 402]")
        return []
    names = asked.groups if isinstance(asked, ByGroup) else asked
    return list(read_ids(names, "forget", problems, is_ordered=False))


def as_record_id(value: Any) -> RecordId | None:
    """A value as Python's own integer or string; None if it is not an integer or a string."""
    kind = type(value)
    if kind is int or kind is str:
        return value  # type: ignore[no-any-return]
    if _is_array(value) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool | np.bool_):
        return None
    if isinstance(value, str):
        return str.__str__(value)
    return int(value) if isinstance(value, int | np.integer) else None


def _is_iterable(ids: Any) -> bool:
    return hasattr(ids, "__iter__") or hasattr(ids, "__getitem__")


def _is_tensor(value: Any) -> "TypeGuard[Tensor]":
    kind = getattr(sys.modules.get("torch"), "Tensor", None)  # no value is a tensor before torch is loaded
    return kind is not None and isinstance(value, kind)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or _is_tensor(value)


def _holds_records(value: Any) -> bool:
    data = sys.modules.get("torch.utils.data")
    return data is not None and isinstance(value, data.Dataset | data.DataLoader)


def _integers(ids: Any) -> NDArray[np.integer[Any]] | None:
    """An array or tensor of integers as an array; None for other kinds of values."""
    if _is_tensor(ids):
        if ids.is_floating_point() or ids.is_complex() or ids.is_quantized:
            return None
        ids = ids.detach().cpu().numpy()
    return ids if isinstance(ids, np.ndarray) and ids.dtype.kind in "iu" else None


def _read_values(ids: Any, what: str, problems: list[str]) -> RecordIds:
    try:
        values = ids if type(ids) in (list, tuple) else _listed(ids)
    except Exception as error:  # a user's container may raise anything
        problems.append(f"{what}: cannot be read ({describe_error(error)}): give a list")
        return ()
    kinds = set(map(type, values))
    if not kinds <= {int, str}:
        read = [as_record_id(v) for v in values]
        odd = [v for v, name in zip(values, read, strict=True) if name is None]
        if odd:
            problems += _kind_problems(odd, len(values), what)
            return ()
        values = read
    if isinstance(ids, Set) and not isinstance(ids, KeysView):
        # the order of a set of strings changes from one process to the next
        return sorted(values, key=lambda v: (isinstance(v, str), v))
    return values


def _listed(ids: Any) -> list[Any]:
    if _is_array(ids):
        return list(ids.tolist())
    count = len(ids)
    # one more than its length, since an iterable without an end must not be read for ever
    return list(islice(iter(ids), count + 1))


def _kind_problems(odd: Sequence[Any], count: int, what: str) -> list[str]:
    """One line for each kind of value that is no id."""
    noun = _noun(what)
    kinds: dict[str, list[Any]] = {}
    for value in odd:
        kinds.setdefault(_kind(value), []).append(value)
    lines = []
    for kind, values in kinds.items():
        if kind == "mask" and len(values) == count and noun == IDS:
            lines.append(
                f"{what}: a boolean mask: give ids, e.g. mask.nonzero()[0] in NumPy or [:, 0] in torch for positions"
            )
        elif kind == "mask":
            lines.append(f"{what}: {len(values)} values are True or False: {noun} are integers or strings")
        elif kind == "missing":
            lines.append(f"{what}: {len(values)} {noun} are missing ({shorten(values)}): give each record one")
        elif kind == "float":
            lines.append(
                f"{what}: {noun} are integers or strings, got {shorten(values)}: convert them, e.g. by "
                ".astype('int64'); pandas makes integers into such numbers where one is missing"
            )
        else:
            lines.append(f"{what}: {noun} are integers or strings, got {shorten(values)}: convert them, e.g. by str")
    return lines


def _noun(what: str) -> str:
    return "keys of groups" if what.endswith("groups") else IDS


def _kind(value: Any) -> str:
    if _is_array(value) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool | np.bool_):
        return "mask"
    if isinstance(value, float | np.floating):
        return "missing" if math.isnan(value) else "float"
    return "missing" if value is None or type(value).__name__ in ("NAType", "NaTType") else "other"
