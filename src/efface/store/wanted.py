"""What a call of `Store.add` asks for: its ids or groups, its note and its date, checked before anything is written."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from efface.data.ids import ByGroup, RecordIds, read_asked
from efface.data.index import RecordIndex
from efface.errors import RequestError, collect_errors
from efface.runtime.printing import Brief
from efface.store.amend import MAX_NOTE
from efface.store.dates import due_day
from efface.store.keys import Key
from efface.types import RecordId

MAX_NUMBER_BITS = 4096  # of an id; Python refuses to write very long numbers as text


@dataclass(frozen=True)
class RecordSource:
    """The training records of a task, which are read only if they are needed.

    Args:
        index: returns the positions of all records, by their ids.
        groups: returns the key of each record's group, by position; None if the task has no groups.
    """

    index: Callable[[], RecordIndex]
    groups: Callable[[], RecordIds | None]


@dataclass(frozen=True)
class Wanted:
    """The arguments of a call of `Store.add`, as they were given."""

    ids: Any
    note: Any = None
    due: Any = None
    deleted: Any = False


@dataclass(frozen=True, repr=False)
class Asked(Brief):
    """What a call asks for, once it is read.

    Args:
        names: the ids of the records, by tag, in the order of the call.
        keys: the keys of the groups, by tag; empty for a request by ids.
        lacking: the tags of the groups that have no training records.
        note: one line; None without one.
        day: the last day on which honouring it is in time; None without one.
        deleted: whether the caller says that the rows of unknown records were deleted.
    """

    names: dict[bytes, RecordId] = field(repr=False)
    keys: dict[str, RecordId] = field(default_factory=dict, repr=False)
    lacking: tuple[str, ...] = ()
    note: str | None = None
    day: str | None = None
    deleted: bool = False

    @cached_property
    def ordered(self) -> list[bytes]:
        """The tags of the records, sorted: the order of the call may reveal whose they are."""
        return sorted(self.names)

    @property
    def groups(self) -> tuple[str, ...]:
        """The tags of the groups, sorted."""
        return tuple(sorted(self.keys))

    @property
    def is_gone(self) -> bool:
        """Whether the request is by group, and none of the groups has training records."""
        return bool(self.keys) and len(self.lacking) == len(self.keys)


def read_wanted(key: Key, records: RecordSource | None, wanted: Wanted) -> Asked:
    """Read a call's arguments.

    Args:
        key: the store's key.
        records: the training records; None without a task.
        wanted: the arguments.

    Returns:
        What the call asks for. A request by group names the records that its groups have now, which may be none.

    Raises:
        RequestError: an argument is invalid, with every problem.
    """
    problems: list[str] = []
    by_group = isinstance(wanted.ids, ByGroup)
    given = list(dict.fromkeys(read_asked(wanted.ids, problems)))
    if not given and not problems:
        problems.append(
            f"the request names no {'group: give at least one key' if by_group else 'record: give at least one id'}"
        )
    if any(isinstance(name, int) and name.bit_length() > MAX_NUMBER_BITS for name in given):
        problems.append(f"the request names numbers of more than {MAX_NUMBER_BITS} bits, which are no record ids")
    day = collect_errors(problems, due_day, wanted.due)
    note = wanted.note
    if note is not None and (not isinstance(note, str) or len(note) > MAX_NOTE or not note.isprintable()):
        problems.append(f"note: expected one line of at most {MAX_NOTE} characters")
    if not isinstance(wanted.deleted, bool):
        problems.append(f"deleted: expected True or False, got {wanted.deleted!r}")
    elif by_group and wanted.deleted:
        problems.append(
            "deleted: a request by group is for the training records that the group has: ask for deleted rows by ids"
        )
    groups = None if problems or not by_group else collect_errors(problems, _groups, records)
    if problems:
        raise RequestError(problems)
    if records is None or groups is None:
        return Asked(_by_tag(key, given), note=note, day=day, deleted=wanted.deleted)
    names, members = records.index().names, set(given)
    there = set(groups)
    keys = {key.group_tag(name): name for name in given}
    return Asked(
        _by_tag(key, (names[at] for at, name in enumerate(groups) if name in members)),
        keys,
        tuple(tag for tag, name in keys.items() if name not in there),
        note,
        day,
    )


def _by_tag(key: Key, names: Iterable[RecordId]) -> dict[bytes, RecordId]:
    return {key.tag(name): name for name in names}


def _groups(records: RecordSource | None) -> RecordIds:
    if records is None:
        raise RequestError("a request by group needs the task, whose groups say which records it is for: give it")
    groups = records.groups()
    if groups is None:
        raise RequestError("the request names groups, but the task has none: set Task.groups, a key a record")
    return groups
