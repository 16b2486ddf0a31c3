"""Ids that people take for one another: they differ only in Unicode form, case, blanks, or as a number and as text."""

import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from efface.data.ids import ArrayIds, RecordIds
from efface.data.index import positions_of
from efface.errors import shorten
from efface.runtime.printing import by_number, how_many
from efface.types import RecordId

MAX_DIGITS = 30
MAX_LINE = 10_000  # characters of a line that are searched for ids


def unknown_ids(unknown: Sequence[RecordId], names: RecordIds) -> str:
    """The first few unknown ids, with the ids of records that they resemble, as text for a message."""
    near = similar_ids(unknown, names)
    hints = {i: next(iter(near[i]), None) for i in unknown if near.get(i)}
    comments = any(isinstance(i, str) and i.lstrip().startswith("#") for i in unknown)
    hint = "; what begins with # is an id too: in a file of ids there are no comments" if comments else ""
    return (
        shorten(unknown)
        + hint
        + _not_one_a_line(unknown, names)
        + "".join(
            f"; {_short(other)} is there: it differs {difference(name, other)}"
            for name, other in list(hints.items())[:3]
            if other is not None
        )
    )


def _not_one_a_line(unknown: Sequence[RecordId], names: RecordIds) -> str:
    """What to say of text that looks like JSON, or like several ids in one; else empty."""
    texts = [name.strip() for name in unknown if isinstance(name, str)]
    if any(text[:1] in ("[", "{", '"') and text[-1:] in ("]", "}", '"', ",") for text in texts):
        return "; this looks like JSON: give one id a line, or a .jsonl file with one JSON string or integer a line"
    parts = [part.strip() for text in texts if "," in text for part in text[:MAX_LINE].split(",")]
    known = positions_of([*parts, *(int(p) for p in parts if p.isdecimal() and len(p) <= MAX_DIGITS)], names)
    return "; these are several ids in one text: give one id a line" if known else ""


def similar_ids(asked: Iterable[RecordId], names: RecordIds) -> dict[RecordId, list[RecordId]]:
    """Ids of training records that differ from asked ones only in their Unicode form, case, blanks or type.

    One pass over the ids, where some of them are text; else look-ups alone.

    Args:
        asked: Some ids.
        names: The ids of the training records.

    Returns:
        For each asked id that resembles others, those others.
    """
    wanted: dict[str, list[RecordId]] = {}
    for name in asked:
        wanted.setdefault(_folded(name), []).append(name)
    if isinstance(names, range | ArrayIds):
        numbers = [int(text) for text in wanted if _is_number(text)]
        others: Iterable[RecordId] = positions_of(numbers, names)
    else:
        others = names
    found: dict[RecordId, list[RecordId]] = {}
    for other in others:
        for name in wanted.get(_folded(other), ()):
            if name != other:
                found.setdefault(name, []).append(other)
    return found


def alike(names: RecordIds) -> frozenset[int]:
    """Positions of the records whose ids differ from another's only in their Unicode form, case, blanks or type.

    One pass over the ids, where some of them are text.

    Args:
        names: The ids of all records.
    """
    if isinstance(names, range | ArrayIds):
        return frozenset()
    # only forms of equal hashes can be equal, and an array of hashes takes a tenth of the memory of a dict of texts
    hashes = np.fromiter((hash(_folded(name)) for name in names), np.int64, len(names))
    values, counts = np.unique(hashes, return_counts=True)
    near: dict[str, list[int]] = {}
    for at in np.flatnonzero(np.isin(hashes, values[counts > 1])).tolist():
        near.setdefault(_folded(names[at]), []).append(at)
    return frozenset(at for those in near.values() if len(those) > 1 for at in those)


def difference(one: RecordId, other: RecordId) -> str:
    """How two similar ids differ, as words that follow "it differs"."""
    if type(one) is not type(other):
        return "in type: one is a number, the other text"
    one, other = str(one), str(other)
    if one.strip() == other.strip():
        return "in blanks at its start or end"
    if _form(one.strip()) == _form(other.strip()):
        return "in its Unicode form"
    return "in case" if one.casefold() == other.casefold() else "in case, blanks or Unicode form"


def written_otherwise(name: RecordId) -> list[RecordId]:
    """Other ids that people write for one: another type, without blanks, or in another case or Unicode form."""
    found: list[RecordId] = [str(name)] if isinstance(name, int) else [int(name)] if _is_number(name) else []
    if isinstance(name, str):
        bare = name.strip()
        found += [bare, bare.lower(), bare.upper(), bare.title(), bare.casefold()]
        if not name.isascii():
            found += [unicodedata.normalize(form, bare) for form in ("NFC", "NFD", "NFKC")]
        found += [int(bare)] if _is_number(bare) else []
    return [other for other in dict.fromkeys(found) if other != name]


def similar_warnings(asked: Sequence[RecordId], names: RecordIds) -> dict[str, str]:
    """Warnings of ids that differ from asked ones only in Unicode form, case, blanks or type.

    Args:
        asked: The requested ids, all of which are known.
        names: The ids of the training records.

    Returns:
        Each warning, with what it says without the ids, for reports that hide them.
    """
    chosen, similar = set(asked), similar_ids(asked, names)
    pairs = [(i, other) for i, those in similar.items() for other in those if other not in chosen]
    both = {frozenset((i, other)): (i, other) for i, those in similar.items() for other in those if other in chosen}
    found = {}
    if pairs:
        alike = by_number(
            len(pairs),
            "that stays looks like a requested one, and is not the same",
            "that stay look like requested ones, and are not the same",
        )
        line = f"{how_many(len(pairs), 'id')} {alike}"
        shown = shorten(
            pairs, show=lambda pair: f"{_short(pair[1])} stays, {_short(pair[0])} goes: {difference(*pair)}"
        )
        found[f"{line} ({shown})"] = line
    if both:
        line = f"{len(both)} pairs of requested ids look alike, and both records of each go"
        shown = shorten(
            both.values(), show=lambda pair: f"{_short(pair[0])} and {_short(pair[1])}: {difference(*pair)}"
        )
        found[f"{line} ({shown})"] = line
    return found


def _short(name: RecordId) -> str:
    return ascii(name) if isinstance(name, str) and not name.isascii() else repr(name)


def _form(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def _folded(name: RecordId) -> str:
    if isinstance(name, int):
        return str(name)
    if name.isascii():
        return name.casefold().strip()
    return _form(_form(name).casefold()).strip()


def _is_number(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isdecimal() and digits.isascii() and len(digits) < MAX_DIGITS
