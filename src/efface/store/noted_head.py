"""Heads of a history that were noted outside of the store, by which a store put back to an older copy is found."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from efface.errors import RequestError, collect_errors, kind_of, reason_of

# SQLAlchemy is imported where it is used, so that a note of another form is refused without it
if TYPE_CHECKING:
    from sqlalchemy import Connection

    from efface.store.context import StoreContext
    from efface.store.history import History

FORM = re.compile(r"([1-9][0-9]{0,17}):([0-9a-f]{16,64})")
HASH = re.compile(r"[0-9a-f]{64}")  # as a bundle names the last event, whose number would tell how many there were


@dataclass(frozen=True)
class HeadNote:
    """The last event of a history, to be noted outside of the store; as text it is `SEQ:HASH`.

    Args:
        seq: number of the event; 0 where it is not known, as in a bundle, and the hash is whole.
        hash: its hash in hexadecimal, of which a note may hold the first 16 digits or more.
        at: when it was written, in UTC; None where the note does not say.
    """

    seq: int
    hash: str
    at: str | None = None

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}" if self.seq else self.hash


def read_note(value: object, option: str, bundles: bool = False) -> HeadNote:
    """Read a note of a head.

    Args:
        value: the note, or text such as `12:0f3a...`; what follows after a blank is not read.
        option: the name of the argument, for the message.
        bundles: whether to take the head of a bundle too, a hash without a number.

    Raises:
        RequestError: it is neither.
    """
    if isinstance(value, HeadNote):
        value = str(value)
    if not isinstance(value, str):
        raise RequestError(f"{option}: expected text such as '12:0f3a...', got {kind_of(value)}")
    word = (value.split() or [""])[0]
    if bundles and HASH.fullmatch(word.lower()):
        return HeadNote(0, word.lower())
    found = FORM.fullmatch(word.lower())
    if found is None:
        raise RequestError(
            f"{option}: expected SEQ:HASH as efface head prints it, number and hash of an event, got {word[:80]!r}"
        )
    return HeadNote(int(found[1]), found[2])


def as_notes(value: object, option: str, bundles: bool = False) -> list[HeadNote]:
    """One note or several, each as `read_note` takes it; RequestError with every problem."""
    several = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    problems: list[str] = [] if several else [f"{option}: holds no head"]
    notes = [collect_errors(problems, read_note, one, option, bundles) for one in several]
    if problems:
        raise RequestError(problems)
    return [note for note in notes if note is not None]


def read_notes(text: str, option: str, bundles: bool = False) -> list[HeadNote]:
    """Read notes of heads from the command line.

    Args:
        text: one note, or the path of a file with one a line.
        option: the name of the option, for messages.
        bundles: as in `read_note`.

    Raises:
        RequestError: a note has another form, or the file cannot be read or holds none; with every problem.
    """
    if FORM.fullmatch(text.strip().lower()) or (bundles and HASH.fullmatch(text.strip().lower())):
        return [read_note(text, option, bundles)]
    try:
        lines = Path(text).read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ValueError):  # ValueError: a NUL in the name, or no text in the file
        raise RequestError(f"{option}: expected SEQ:HASH, or a file of such lines, got {text[:80]!r}") from None
    except OSError as error:
        raise RequestError(f"{text}: cannot be read: {reason_of(error)} ({option})") from None
    notes: list[HeadNote] = []
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            notes.append(read_note(line, option, bundles))
        except RequestError as error:
            problems += [f"{text}, line {number}: {problem}" for problem in error.problems]
    if not notes and not problems:
        problems.append(f"{text}: holds no line SEQ:HASH ({option})")
    if problems:
        raise RequestError(problems)
    return notes


def check_notes(context: "StoreContext", notes: Sequence[HeadNote]) -> None:
    """Check that a store's history holds some events; DamagedError with a line for each that it does not."""
    from efface.store.errors import DamagedError

    with context.reading() as snapshot:
        problems = note_problems(snapshot.connection, snapshot.history, notes)
    if problems:
        raise DamagedError(problems)


def note_problems(connection: "Connection", history: "History", notes: Sequence[HeadNote]) -> list[str]:
    """The noted heads that a history does not hold, one line each.

    Args:
        connection: a transaction.
        history: the history as of that transaction.
        notes: what was noted elsewhere.
    """
    from sqlalchemy import select

    from efface.store.database import events
    from efface.store.wording import moment

    problems = []
    for note in notes:
        which = events.c.seq == note.seq if note.seq else events.c.hash == note.hash
        row = connection.execute(select(events.c.hash).where(which)).first()
        if row is None:
            event = f"event {note.seq}" if note.seq else f"the event with the hash {note.hash[:16]}..."
            problems.append(
                f"{event}, which was noted, is not there: the history ends with event {history.seq} of "
                f"{moment(history.latest)}, so the store was put back to an older copy of itself, or is another one"
            )
        elif not str(row.hash).startswith(note.hash):
            problems.append(
                f"event {note.seq} is not the one that was noted: this is another store, or a copy that was put back "
                "and went on separately"
            )
    if problems and history.restored:
        last = history.restored[-1]
        problems.append(
            f"event {last.seq} says that the store was restored on {moment(last.at)} from a backup that ended with "
            f"event {last.event}: heads that were noted between the two are not in it"
        )
    return problems
