"""The sentences of a bundle, for people who have never seen efface; its README and its page are made of them."""

from collections.abc import Mapping
from textwrap import wrap
from typing import Any

from efface.store.bundle import FORGOTTEN_BEFORE

# How an honoured request stands, by what the audit of the model that honours it concluded.
HONOURED = {
    "verified": "Honoured, and verified",
    "verified_by_rehearsal": "Honoured, and the process verified",
    "no_trace_found": "Honoured; no trace was there to be found",
    "undecided": "Honoured, but the audit is undecided",
    "not_verified": "Honoured, but not verified",
    "not_audited": "Honoured, but not audited",
    "retrained": "Honoured, by training anew",
}
# What the audit of the model that honours the request concluded.
CONCLUSIONS = {
    "verified": "The audit's conclusion is: verified. On the erased records, the model could not be distinguished from "
    "one that never saw them, within the margins of the audit. Smaller traces are not ruled out.",
    "verified_by_rehearsal": "The audit's conclusion is: verified by rehearsal. So few records show nothing by "
    "themselves. The same process was tried on many other records of the same kind, and the model that came of it "
    "could not be distinguished from one that never saw those; and the erased records do not stand out among them.",
    "no_trace_found": "The audit's conclusion is: no trace found. Even before the erasure, its tests could not tell "
    "records of this kind that the model had learned from ones that it never saw. That shows that none was traceable, "
    "not that they were erased.",
    "undecided": "The audit's conclusion is: undecided. It could neither confirm that the records are forgotten nor "
    "show that they are not. Audits of few records often end so.",
    "not_verified": "The audit's conclusion is: not verified. It found that the erased records can still be "
    "distinguished from ones that the model never saw, or that the model became worse than it may. The model was put "
    "into use all the same.",
    "not_audited": "No audit was made of the model, so nothing here shows how well the records are forgotten.",
    "retrained": "A model that was trained without the records cannot remember them, so its answers were not audited.",
}
SHOWN_ROWS = 50  # on the page
TOGETHER = "Requests may be honoured together; a conclusion is about all records that were erased at the same time."
LEVELS = {
    "quick": "quick: it trained no further models",
    "standard": "standard: it compared with models that never saw the records",
    "strong": "strong: it compared many models with and without the records",
}
# Why a pending request could not be honoured by unlearning; see entries.Deferral.
DEFERRED = {
    "missing": "It could not be honoured so far, since records of it are no longer in the training set, without which "
    "the model cannot be changed to forget them. Training anew honours it.",
    "changed": "It could not be honoured so far, since the content of records of it is no longer what the model was "
    "trained on. Training anew honours it.",
    "moved": "It could not be honoured so far, since the content of records of it is no longer what the model was "
    "trained on, and they are named by their place alone, where others may stand now.",
    "joined": "It could not be honoured so far, since records of it joined the training set after the model was "
    "trained, which therefore has nothing of them to forget. Training anew honours it.",
    "grown": "It could not be honoured so far, since more records of those it is for joined the training set after it "
    "was made, which it does not name: it must be asked for again.",
    "ungrouped": "It could not be honoured so far, since nobody could tell whether more records of those it is for "
    "joined the training set after it was made.",
}
KINDS = {
    "requested": "the request was added",
    "amended": "its date or its note was changed",
    "cancelled": "it was cancelled",
    "covered": "it was found to be honoured already",
    "version": "a model that honours it was put into use",
    "audited": "the audit of that model was noted",
    "ended": "a model that was to honour it was rejected",
}
NOTHING_OF_OTHERS = (
    "It holds nothing about other requests or other people's records. For that reason requests, models and events have "
    "no numbers here, which would tell how many there were."
)
LIMITS = (
    "Changing a model so that it forgets gives evidence, not proof; only training anew without the records is sure to "
    "remove them from it. Nothing here is about copies of the records elsewhere, or about models and answers that were "
    "given away before."
)


def title(bundle: Mapping[str, Any]) -> str:
    """How the request stands, in a few words."""
    if bundle["audit"] is not None:
        return HONOURED[bundle["audit"]["conclusion"]]
    return {"pending": "Waiting", "cancelled": "Cancelled"}.get(bundle["stage"], "Honoured")


def noted(bundle: Mapping[str, Any]) -> str:
    """The notes of the request on one line; empty if it has none."""
    return "; ".join((bundle["note"] or "").split("\n"))


def summary(bundle: Mapping[str, Any]) -> list[str]:
    """What became of the request: one sentence, and further ones with its dates."""
    match bundle["stage"]:
        case "pending":
            return _pending(bundle)
        case "cancelled":
            return [
                f"This request was cancelled on {_day(bundle['cancelled'])}. Nothing was erased on account of it.",
                "The ids of its records, which were kept as long as it was pending, were deleted.",
            ]
        case _:
            return _honoured(bundle)


def checked(bundle: Mapping[str, Any]) -> list[str]:
    """How it was checked that the records are forgotten; empty where nothing was erased."""
    audit = bundle["audit"]
    if audit is None:
        return []
    said = [CONCLUSIONS[audit["conclusion"]]]
    if audit["level"] is not None:
        said.append(f"The level of the audit was {LEVELS[audit['level']]}.")
    if audit["level"] is not None or bundle["how"] == FORGOTTEN_BEFORE:
        said.append(TOGETHER)
    return said


def kept(bundle: Mapping[str, Any]) -> list[str]:
    """What may still hold the records; empty where nothing was erased."""
    if bundle["stage"] != "honoured":
        return []
    days = bundle["kept_days"]
    old = "Earlier models, which learned from the records, are out of use"
    if days:
        old += f"; they may be kept for audits for {days:g} days, and the first run after that removes them"
    return [f"{old}.", LIMITS]


def shown_rows(bundle: Mapping[str, Any]) -> str:
    """How many rows the page leaves to request.json, as a sentence; empty if it shows all of them."""
    more = len(bundle["rows"]) - SHOWN_ROWS
    return f"{more:,} more {'record is' if more == 1 else 'records are'} in request.json." if more > 0 else ""


def unchecked(bundle: Mapping[str, Any]) -> list[str]:
    """What is missing from the bundle because the store was retired; else empty."""
    if bundle["retired"] is None:
        return []
    return [
        f"The store that kept this request was retired on {_day(bundle['retired'])}, and its key destroyed. Nobody can "
        "match records to requests any more, so no single records are listed, and the hashes cannot be recomputed."
    ]


def readme(bundle: Mapping[str, Any]) -> str:
    """The README of a bundle, as plain text."""
    parts = [*summary(bundle), *checked(bundle), *kept(bundle), *unchecked(bundle)]
    head = f"Erasure request {bundle['reference']}: {title(bundle).lower()}"
    if bundle["note"] is not None:
        parts.insert(0, f"Noted as: {noted(bundle)}")
    lines = [head, "=" * len(head), "", *(line for part in parts for line in (*_wrapped(part), ""))]
    return "\n".join([*lines, FILES]) + (MODELS if bundle["models"] else "") + HASHES


# What stands in a bundle and how it can be checked; `MODELS` stands between where there is a model to name.
FILES = """What is in this folder
----------------------
request.html   the same for reading in a browser, with how models answer to the records of this request, if they
               were audited
request.json   the same for programs
receipt.pdf    one page of it for the file; receipt.html is the same page for a browser

It holds no record, no record id, and nothing about other requests or other people's records. For that reason
requests, models and events have no numbers here, which would tell how many there were.

How it can be checked
---------------------
reference      names this request to whoever keeps the store: `efface request show` says it too
"""
MODELS = """\
models         SHA-256 of the weights: of the model that first honoured the request, and of the one in use on the
               day of this export, which honours it too. Whoever has the file of a model can compare
"""
HASHES = """\
events         what the history of the store notes about this request. Each hash is an HMAC, by the store's key,
               of the event and of the hash of the event before it. It says nothing to anybody without the key
head           the hash of the last event of the whole history on the day of this export. Keep it: as long as
               `efface head --check` finds it in the history, all events up to that day are there as they were. A
               history without it was cut short, or replaced by an older copy
"""


def _pending(bundle: Mapping[str, Any]) -> list[str]:
    due = "It has no date by which it must be honoured."
    if bundle["due"] is not None:
        due = f"It is due by {bundle['due']}{', which has passed' if bundle['overdue'] else ''}."
    said = ["This request is waiting. Nothing was erased yet: the model in use may still know the records.", due]
    if bundle["rejected"]:
        said.append(
            f"A model that was to honour it was rejected on {_day(bundle['rejected'][-1])}, and never put into use."
        )
    if bundle["deferred"] is not None:
        said.append(DEFERRED[bundle["deferred"]["why"]])
    return said


def _honoured(bundle: Mapping[str, Any]) -> list[str]:
    day = _day(bundle["honoured"])
    if bundle["how"] == FORGOTTEN_BEFORE:
        said = [
            "This request is honoured. The model had been made to forget all of its records already, so nothing more "
            "had to be done."
        ]
        said.append(f"That was noted on {day}.")
    elif bundle["how"] == "retrained":
        said = [f"This request was honoured on {day}: the model was trained anew without its records."]
    else:
        said = [
            f"This request was honoured on {day}: the model was changed to forget its records.",
            f"The method was {bundle['method']}.",
        ]
    if bundle["due"] is not None:
        said.append(
            f"It was due by {bundle['due']}, and was honoured {'in time' if bundle['in_time'] else 'too late'}."
        )
    return said


def _day(moment: str) -> str:
    return moment[:10]


def _wrapped(text: str) -> list[str]:
    return wrap(text, 110, break_long_words=False, break_on_hyphens=False)
