"""What `efface request add` asks for: ids by what the store knows of them, and by the task only where it must."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from efface.cli.ids import IdLines, as_ids, kinds_and_those, possible_ids, typed_ids
from efface.errors import RequestError, shorten

if TYPE_CHECKING:
    from efface.data.ids import ByGroup
    from efface.store import Store
    from efface.types import RecordId

KINDS: dict[str, type] = {"int": int, "str": str}


@dataclass(frozen=True)
class Order:
    """What is to be added to a store.

    Args:
        store: the store, with its task if that was read.
        asked: ids, or keys of groups.
        warnings: ids that look like others and are not the same, one line each.
    """

    store: "Store"
    asked: "list[RecordId] | ByGroup"
    warnings: list[str]


def order_of(store: "Store", lines: IdLines, deleted: bool, with_task: "Callable[[], Store]") -> Order:
    """Find out which ids or groups a file names.

    Args:
        store: the store, without its task.
        lines: the file.
        deleted: whether ids that are not known are those of deleted rows.
        with_task: opens the store with its task; called for groups, and where the store does not know an id.

    Raises:
        RequestError: some lines cannot be ids of the task, or the task has no groups.
    """
    if store.retired:
        raise RequestError(store.retired)
    if lines.by_group:
        return _by_group(with_task(), lines)
    kinds = {KINDS[name] for name in store.history().settings["id_kinds"]}
    found = store.known_ids(possible_ids(lines, kinds))
    if deleted or _all_known(lines, found.known):
        asked = typed_ids(lines, kinds, found.known)
        return Order(store, asked, _alike([name for name in asked if name in found.alike]))

    from efface.data.similar import similar_warnings

    store = with_task()
    names = store.record_ids()
    more, there = kinds_and_those(names, possible_ids(lines))
    asked = typed_ids(lines, kinds | more, there | found.known)
    return Order(store, asked, list(similar_warnings(asked, names)))


def _by_group(store: "Store", lines: IdLines) -> Order:
    from efface.data.groups import NO_GROUPS
    from efface.data.ids import ByGroup
    from efface.data.similar import similar_warnings

    keys = store.record_groups()
    if keys is None:
        raise RequestError(f"{NO_GROUPS} (--groups)")
    asked = as_ids(lines, keys)
    return Order(store, ByGroup(asked), list(similar_warnings(asked, keys)))


def _all_known(lines: IdLines, known: "Collection[RecordId]") -> bool:
    """Whether the store knows each line, as an integer or as text."""
    texts = {str(name) for name in known} if lines.is_text else known
    return all(word in texts for _, word in lines.words)


def _alike(asked: "list[RecordId]") -> list[str]:
    if not asked:
        return []
    one = len(asked) == 1
    return [
        f"{len(asked)} {'id looks' if one else 'ids look'} like that of another record ({shorten(asked)}): ids are "
        f"exact, so check {'it' if one else 'them'}"
    ]
