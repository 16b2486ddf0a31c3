"""Which rows of tags, ids and notes were changed, added or removed, by the key and the history."""

from collections.abc import Collection, Mapping
from itertools import groupby

from sqlalchemy import select

from efface.runtime.printing import how_many_do
from efface.store.context import Snapshot
from efface.store.database import notes, pending_ids, tags
from efface.store.errors import DamagedError
from efface.store.keys import Key, short_tag
from efface.store.tag_rows import digest_of, is_genuine, note_mac, read_names
from efface.types import RecordId

MAX_NAMED = 3  # rows of a request that are named in messages


def row_faults(snapshot: Snapshot) -> list[str]:
    """Problems with the rows of tags, ids and notes, one line for each row that was changed, added or removed."""
    genuine: dict[int, set[bytes]] = {}
    return [*_tag_faults(snapshot, genuine), *_pending_id_faults(snapshot, genuine), *_note_faults(snapshot)]


def id_faults(
    key: Key,
    whose: str,
    names: Mapping[bytes, RecordId],
    known: Collection[bytes],
    forgotten: Collection[bytes],
) -> list[str]:
    """Compare the stored ids of pending requests with the requests' tags.

    Args:
        key: the store's key.
        whose: the name of the requests in messages.
        names: the stored ids, by the tag that is stored with each.
        known: the tags of the requests.
        forgotten: the tags of all forgotten records, whose ids are deleted.

    Returns:
        One line for each kind of difference.
    """
    problems = []
    wrong = [tag for tag, name in names.items() if key.tag(name) != tag]
    if wrong:
        problems.append(
            f"pending_ids: of {whose}, {how_many_do(len(wrong), 'id', 'was', 'were')} changed, such as that of "
            f"{_shown(wrong[0])}"
        )
    if lacking := set(known) - set(names) - set(forgotten):
        example = short_tag(min(lacking))
        problems.append(
            f"pending_ids: of {whose}, {how_many_do(len(lacking), 'id')} missing, such as that of {example}"
        )
    if others := set(names) - set(known) - set(wrong):
        problems.append(
            f"pending_ids: for {whose}, {how_many_do(len(others), 'id', 'stands', 'stand')} there without having been "
            "asked for"
        )
    return problems


def _tag_faults(snapshot: Snapshot, genuine: dict[int, set[bytes]]) -> list[str]:
    """Problems with the rows of tags; those of each request without a problem are added to `genuine`."""
    problems: list[str] = []
    rows = snapshot.connection.execute(select(tags).order_by(tags.c.request, tags.c.place))
    seen = set()
    for number, group in groupby(rows, lambda row: row.request):
        seen.add(number)
        request = snapshot.history.requests.get(number)
        by_place = {row.place: row for row in group}
        if request is None:
            problems.append(f"tags: {len(by_place)} rows of a request {number} that the history lacks")
            continue
        changed = [at for at, row in by_place.items() if not is_genuine(snapshot.key, row)]
        missing = sorted(set(range(request.records)) - set(by_place))
        problems += [f"tags: row {at} of request {number} was changed" for at in changed[:MAX_NAMED]]
        problems += [f"tags: row {at} of request {number} is missing" for at in missing[:MAX_NAMED]]
        if not changed and not missing and len(by_place) == request.records:
            genuine[number] = {row.tag for row in by_place.values()}
        # changed rows may hold values of any type, which need not be sortable
        if not changed and digest_of(snapshot.key, (by_place[at].tag for at in sorted(by_place))) != request.digest:
            problems.append(f"tags: the rows of request {number} are not those that the history was made with")
    lacking = sorted(set(snapshot.history.requests) - seen)
    return problems + [f"tags: all rows of request {number} are missing" for number in lacking]


def _pending_id_faults(snapshot: Snapshot, genuine: Mapping[int, set[bytes]]) -> list[str]:
    """Problems with the stored ids; those of a request whose tags were changed are not compared with them."""
    history, problems = snapshot.history, []
    pending = {r.number for r in history.pending}
    comparable = history.honoured <= genuine.keys()  # else nobody can tell which ids should be deleted
    forgotten: set[bytes] = set().union(*(genuine.get(number, ()) for number in history.honoured))
    rows = snapshot.connection.execute(select(pending_ids).order_by(pending_ids.c.request, pending_ids.c.place))
    stored = set()
    for number, group in groupby(rows, lambda row: row.request):
        stored.add(number)
        if number not in pending:
            stage = history.requests[number].stage if number in history.requests else "not in the history"
            problems.append(f"pending_ids: ids of request {number} stand there, which is {stage}")
            continue
        names: dict[bytes, RecordId] = {}
        try:
            read_names(group, names)
        except DamagedError as error:
            problems += error.problems
        else:
            if comparable and number in genuine:
                problems += id_faults(snapshot.key, f"request {number}", names, genuine[number], forgotten)
    for number in sorted((pending - stored) & genuine.keys()) if comparable else ():
        problems += id_faults(snapshot.key, f"request {number}", {}, genuine[number], forgotten)
    return problems


def _note_faults(snapshot: Snapshot) -> list[str]:
    texts = {row.request: row.text for row in snapshot.connection.execute(select(notes))}
    problems = []
    for request in snapshot.history.requests.values():
        text = texts.pop(request.number, None)
        if note_mac(snapshot.key, request.number, text) != request.note:
            problems.append(f"notes: that of request {request.number} was {'removed' if text is None else 'changed'}")
    return problems + [f"notes: one of a request {number} that the history lacks" for number in texts]


def _shown(tag: object) -> str:
    return short_tag(tag) if isinstance(tag, bytes) else repr(tag)
