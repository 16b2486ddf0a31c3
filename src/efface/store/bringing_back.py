"""What restoring a backup would bring back: ids, models that know forgotten records, and all that was done since."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from efface.errors import EffaceError, RequestError
from efface.store.context import Snapshot, StoreContext
from efface.store.database import events
from efface.store.entries import Stage
from efface.store.files import Folder
from efface.store.gc import removal_date, superseded
from efface.store.history import History
from efface.store.noted_head import HeadNote, note_problems
from efface.store.wording import moment, numbered

# kinds of events whose effects are listed one by one, and kinds that are no more than steps on the way to them
LISTED = {"requested", "amended", "cancelled", "covered", "version", "removed", "rolled_back", "retiring", "retired"}
WORK = {"began", "made", "audited", "ended", "cleared"}


@dataclass(frozen=True)
class KnownSince:
    """What is known of the time after a backup was made.

    Args:
        against: the store that the backup was made of, or that went on after it; None if it is lost.
        heads: heads of its history that were noted elsewhere.
    """

    against: Path | None = None
    heads: Sequence[HeadNote] = ()


def held(history: History) -> list[str]:
    """What a backup itself shows that it holds of people who asked to be forgotten, one line each."""
    lines = []
    if waiting := [request.number for request in history.pending]:
        lines.append(f"ids of {numbered('request', waiting)}, pending when the backup was made")
    for version in superseded(history):
        day = removal_date(history, version)
        until = f", which the store kept until {day:%Y-%m-%d}" if day else ""
        known = numbered("request", history.known_to(version.number))
        lines.append(f"version {version.number}, which knows the records of {known}, honoured by later versions{until}")
    return lines


def done_since(snapshot: Snapshot, taken: str, known: KnownSince, key_path: Path) -> list[str]:
    """What was done after a backup was made and would be undone, one line each; empty if it is known that nothing was.

    Args:
        snapshot: a view of the backup.
        taken: when it was made.
        known: what is known of the time since.
        key_path: the store's key.

    Raises:
        RequestError: a noted head or the other store is not of the backup's history, or cannot be read.
    """
    history = snapshot.history
    before = [note for note in known.heads if note.seq <= history.seq]
    if problems := note_problems(snapshot.connection, history, before):
        raise RequestError([f"head: {problem}; name the backup that it belongs to" for problem in problems])
    if known.against is not None:
        return _against(history, known.against, known.heads, key_path)
    latest = max((note.seq for note in known.heads), default=0)
    if latest > history.seq:
        later = range(history.seq + 1, latest + 1)
        return [
            f"the state before {numbered('event', later)}, "
            f"which a noted head shows to have come after the backup of {moment(taken)}: {_UNKNOWN}; the old store "
            "lists them (against, or --against FOLDER)"
        ]
    if latest == history.seq:
        return []
    return [
        f"the state of {moment(taken)}, and nobody can tell from a backup what was done after it: {_UNKNOWN}; the head "
        "that was noted last shows whether anything was (head, or --head SEQ:HASH), the old store lists it (against, "
        "or --against FOLDER)"
    ]


_UNKNOWN = (
    "requests that were added since would be lost, those honoured or cancelled since would wait again or be lost, and "
    "models and keys that were removed since would serve again"
)


def _against(then: History, against: Path, heads: Sequence[HeadNote], key_path: Path) -> list[str]:
    """What the other store has done since, exactly."""
    where = f"{against} (against, or --against)"
    try:
        other = StoreContext(Folder(against), key_path)
        with other.reading() as snapshot:
            now = snapshot.history
            same = not note_problems(snapshot.connection, now, [HeadNote(then.seq, then.hash)])
            wrong = note_problems(snapshot.connection, now, heads)
            later = select(events.c.kind).where(events.c.seq > then.seq)
            kinds = set(snapshot.connection.execute(later).scalars())
    except EffaceError as error:
        raise RequestError(
            f"{where}: cannot be read, so it cannot tell what was done since: {'; '.join(str(error).splitlines())}; "
            "leave it out"
        ) from None
    if now.store != then.store:
        raise RequestError(f"{where}: is another store than that of the backup")
    if not same:
        raise RequestError(
            f"{where}: does not hold the backup's last event {then.seq}: it is an older copy, or one that went on "
            "separately, so it cannot tell what was done since; leave it out"
        )
    lines = _differences(then, now)
    if others := sorted(kinds - LISTED - (WORK if lines else set())):
        lines.append(f"the state before events of the kind{'s' * (len(others) > 1)} {', '.join(others)}")
    if wrong:
        lines.append(f"the state before events that a noted head shows and {against} does not hold: {wrong[0]}")
    return lines


def _differences(then: History, now: History) -> list[str]:
    """What a history has more than an earlier state of it, one line each."""
    new = {number for number in now.requests if number not in then.requests}
    honoured, cancelled = now.honoured - then.honoured, _cancelled(now) - _cancelled(then)
    back, lost = numbered("version", [then.current]), "which the backup does not know: ask for their records again"
    lines = []
    if some := honoured - new:
        lines.append(
            f"{numbered('request', some)}, honoured since: pending again, and {back} would serve and knows them"
        )
    if some := honoured & new:
        lines.append(
            f"the records of {numbered('request', some)}, honoured since, {lost}; {back} would serve and knows them"
        )
    if some := cancelled - new:
        lines.append(f"{numbered('request', some)}, cancelled since: pending again, with their ids")
    if some := new - honoured - cancelled:
        lines.append(f"the state before {numbered('request', some)}, {lost}")
    if some := {n for n, r in then.requests.items() if (r.due, r.note) != (now.requests[n].due, now.requests[n].note)}:
        lines.append(f"the date and note that {numbered('request', some)} had before")
    removed = {v.number for v in now.versions.values() if v.removed and v.number in then.versions}
    if some := {number for number in removed if not then.versions[number].removed}:
        lines.append(f"{numbered('version', some)}, whose weights were removed since")
    if some := set(now.versions) - set(then.versions):
        lines.append(f"the state before {numbered('version', some)}: {back} would serve")
    elif now.current != then.current:
        lines.append(f"the state before version {now.current} was put into service: {back} would serve")
    if now.retiring:
        lines.append(f"a store that was retired on {now.retiring[:10]}, whose records nobody was to find any more")
    return lines


def _cancelled(history: History) -> set[int]:
    return {r.number for r in history.requests.values() if r.stage is Stage.CANCELLED}
