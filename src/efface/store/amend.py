"""What a repeated request changes in the existing one: its date never becomes later, and no note is lost."""

from sqlalchemy import delete, select

from efface.errors import RequestError
from efface.store.context import Transaction
from efface.store.database import notes
from efface.store.entries import DeletionRequest, Stage
from efface.store.tag_rows import note_mac

MAX_NOTE = 500  # characters of one note
MAX_NOTES = 5_000  # characters of all notes of a request


def amend(
    transaction: Transaction, request: DeletionRequest, note: str | None, due: str | None
) -> tuple[bool, list[str]]:
    """Give an existing request the date and the note of a repeated one, as far as it takes them.

    Args:
        transaction: an open transaction.
        request: the existing request.
        note: one line of text; None for none.
        due: a day as YYYY-MM-DD; None for none.

    Returns:
        Whether anything changed, and what became of the date and of the note, one sentence each.

    Raises:
        RequestError: the request's notes would have more than MAX_NOTES characters together.
    """
    held = transaction.connection.execute(select(notes.c.text).where(notes.c.request == request.number)).scalar()
    if note is not None and held is not None and note in held.split("\n"):
        note = None
    if due == request.due:
        due = None
    if request.stage is not Stage.PENDING:
        given = " and ".join(["the date"] * (due is not None) + ["the note"] * (note is not None))
        return False, [f"It is {request.stage} already: what was given now, {given}, changes nothing."] if given else []
    day, remarks = _earlier(request.due, due)
    text = held
    if note is not None:
        text = _both(request.number, held, note)
        remarks.append("The note is kept." if held is None else "The note is kept beside those that it has.")
    if (day, text) == (request.due, held):
        return False, remarks
    mac = note_mac(transaction.key, request.number, text)
    transaction.append("amended", {"number": request.number, "due": day, "note": mac})
    if text != held:
        transaction.connection.execute(delete(notes).where(notes.c.request == request.number))
        insert_notes(transaction, request.number, text)
    return True, remarks


def insert_notes(transaction: Transaction, number: int, text: str | None) -> None:
    """Store a request's notes, one a line; None stores nothing."""
    if text is not None:
        transaction.connection.execute(notes.insert().values(request=number, text=text))


def _earlier(known: str | None, due: str | None) -> tuple[str | None, list[str]]:
    """The earlier of two days, and what is said of it."""
    if due is None:
        return known, []
    if known is None:
        return due, [f"It is due {due} now; it had no date before."]
    if due < known:
        return due, [f"It is due {due} now, earlier than {known} before."]
    return known, [f"It stays due {known}: a later date changes nothing. To postpone it, cancel it and ask again."]


def _both(number: int, held: str | None, note: str) -> str:
    text = note if held is None else f"{held}\n{note}"
    if len(text) > MAX_NOTES:
        raise RequestError(
            f"note: request {number} has notes of {len(held or ''):,} characters already, and all its notes together "
            f"may have {MAX_NOTES:,}"
        )
    return text
