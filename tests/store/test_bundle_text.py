"""What a bundle tells whoever asked, word for word."""

import re
from typing import Any

import pytest

from efface.auditing.verdict import Status
from efface.store import bundle_text
from efface.store.bundle import CONCLUSIONS, KINDS
from efface.store.bundle_page import render_bundle
from efface.store.entries import DEFERRALS
from efface.store.plan import NOT_AUDITED, RETRAINED

MODEL = {"file": f"sha256:{'0' * 64}", "weights": f"sha256:{'1' * 64}"}
TOGETHER = "Requests may be honoured together; a conclusion is about all records that were erased at the same time."
HELD = (
    "Earlier models, which learned from the records, are out of use; they may be kept for audits for 30 days, and the "
    "first run after that removes them.",
    bundle_text.LIMITS,
)
CHANGED = (
    "This request was honoured on 2031-05-04: the model was changed to forget its records.",
    "The method was steer.",
)
STANDARD = "The level of the audit was standard: it compared with models that never saw the records."


def bundle(stage: str = "pending", **facts: Any) -> dict[str, Any]:
    names = (
        "deferred",
        "note",
        "due",
        "cancelled",
        "honoured",
        "in_time",
        "how",
        "method",
        "audit",
        "models",
        "kept_days",
        "retired",
    )
    made = dict.fromkeys(names) | {"format": 1, "store": "a-store", "reference": "0123456789abcdef", "stage": stage}
    made |= {"records": 3, "requested": "2031-05-01T10:00:00.000+00:00", "overdue": False, "rejected": [], "rows": []}
    made |= {
        "events": [{"kind": "requested", "at": "2031-05-01T10:00:00.000+00:00", "hash": "2" * 64}],
        "head": "3" * 64,
    }
    made |= {"exported": "2031-05-06T10:00:00+00:00", "made_with": {"efface": "1"}}
    return made | facts


def honoured(conclusion: str | None, how: str = "unlearned", **facts: Any) -> dict[str, Any]:
    level = "standard" if conclusion in list(Status) and how == "unlearned" else None
    audit = {"level": level, "conclusion": conclusion, "tests": None}
    models = {"honoured_by": MODEL, "in_service": MODEL}
    method = "steer" if how == "unlearned" else None
    made = bundle("honoured", how=how, method=method, audit=audit, models=models, kept_days=30.0)
    return made | {"honoured": "2031-05-04T11:00:00.000+00:00"} | facts


CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "pending": (
        bundle(),
        (
            "This request is waiting. Nothing was erased yet: the model in use may still know the records.",
            "It has no date by which it must be honoured.",
        ),
    ),
    "pending with a date": (
        bundle(due="2031-06-01"),
        (
            "This request is waiting. Nothing was erased yet: the model in use may still know the records.",
            "It is due by 2031-06-01.",
        ),
    ),
    "overdue, and rejected so far": (
        bundle(due="2031-05-02", overdue=True, rejected=["2031-05-02T01:00:00", "2031-05-03T01:00:00"]),
        (
            "This request is waiting. Nothing was erased yet: the model in use may still know the records.",
            "It is due by 2031-05-02, which has passed.",
            "A model that was to honour it was rejected on 2031-05-03, and never put into use.",
        ),
    ),
    "deferred": (
        bundle(deferred={"why": "missing", "records": 1}),
        (
            "This request is waiting. Nothing was erased yet: the model in use may still know the records.",
            "It has no date by which it must be honoured.",
            "It could not be honoured so far, since records of it are no longer in the training set, without which the "
            "model cannot be changed to forget them. Training anew honours it.",
        ),
    ),
    "cancelled": (
        bundle("cancelled", cancelled="2031-05-03T01:00:00.000+00:00"),
        (
            "This request was cancelled on 2031-05-03. Nothing was erased on account of it.",
            "The ids of its records, which were kept as long as it was pending, were deleted.",
        ),
    ),
    "verified": (
        honoured("verified", due="2031-06-01", in_time=True),
        (
            *CHANGED,
            "It was due by 2031-06-01, and was honoured in time.",
            "The audit's conclusion is: verified. On the erased records, the model could not be distinguished from one "
            "that never saw them, within the margins of the audit. Smaller traces are not ruled out.",
            *(STANDARD, TOGETHER, *HELD),
        ),
    ),
    "undecided": (
        honoured("undecided", due="2031-05-01", in_time=False),
        (
            *CHANGED,
            "It was due by 2031-05-01, and was honoured too late.",
            "The audit's conclusion is: undecided. It could neither confirm that the records are forgotten nor show "
            "that they are not. Audits of few records often end so.",
            *(STANDARD, TOGETHER, *HELD),
        ),
    ),
    "not verified": (
        honoured("not_verified"),
        (
            *CHANGED,
            "The audit's conclusion is: not verified. It found that the erased records can still be distinguished from "
            "ones that the model never saw, or that the model became worse than it may. The model was put into use all "
            "the same.",
            *(STANDARD, TOGETHER, *HELD),
        ),
    ),
    "not audited": (
        honoured("not_audited"),
        (
            *CHANGED,
            "No audit was made of the model, so nothing here shows how well the records are forgotten.",
            *HELD,
        ),
    ),
    "retrained": (
        honoured("retrained", how="retrained", kept_days=0),
        (
            "This request was honoured on 2031-05-04: the model was trained anew without its records.",
            "A model that was trained without the records cannot remember them, so its answers were not audited.",
            "Earlier models, which learned from the records, are out of use.",
            bundle_text.LIMITS,
        ),
    ),
    "covered": (
        honoured("undecided", how="forgotten_before"),
        (
            "This request is honoured. The model had been made to forget all of its records already, so nothing more "
            "had to be done.",
            "That was noted on 2031-05-04.",
            "The audit's conclusion is: undecided. It could neither confirm that the records are forgotten nor show "
            "that they are not. Audits of few records often end so.",
            *(TOGETHER, *HELD),
        ),
    ),
    "retired": (
        bundle("cancelled", cancelled="2031-05-05T01:00:00", retired="2031-05-05T01:00:00"),
        (
            "This request was cancelled on 2031-05-05. Nothing was erased on account of it.",
            "The ids of its records, which were kept as long as it was pending, were deleted.",
            "The store that kept this request was retired on 2031-05-05, and its key destroyed. Nobody can match "
            "records to requests any more, so no single records are listed, and the hashes cannot be recomputed.",
        ),
    ),
}


TITLES = {
    "verified": "Honoured, and verified",
    "undecided": "Honoured, but the audit is undecided",
    "not verified": "Honoured, but not verified",
    "not audited": "Honoured, but not audited",
    "retrained": "Honoured, by training anew",
    "covered": "Honoured, but the audit is undecided",
    "cancelled": "Cancelled",
    "retired": "Cancelled",
}


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a README between its heading and its list of files, each as one line."""
    body = text[: text.index("What is in this folder")].strip().split("\n\n")
    return [" ".join(part.split()) for part in body[1:]]


@pytest.mark.parametrize("name", CASES)
def test_a_readme_says_what_became_of_the_request(name: str) -> None:
    made, said = CASES[name]
    text = bundle_text.readme(made)
    assert paragraphs(text) == list(said)
    title = TITLES.get(name, "Waiting")
    assert text.splitlines()[0] == f"Erasure request 0123456789abcdef: {title.lower()}"
    assert max(map(len, text.splitlines())) <= 116
    assert ("models         SHA-256" in text) == (made["models"] is not None)


@pytest.mark.parametrize("name", CASES)
def test_the_page_says_the_same(name: str) -> None:
    made, said = CASES[name]
    page = render_bundle(made)
    assert page == render_bundle(made)
    shown = re.sub(r"<[^>]+>", "", page).replace("&#39;", "'")
    assert all(sentence in shown for sentence in (*said, TITLES.get(name, "Waiting")))
    assert not re.search(r"<script|src=|href=|url\(|https?:", page)


def test_notes_stand_first() -> None:
    made = bundle(note="ticket 4711\nby letter")
    assert paragraphs(bundle_text.readme(made)) == ["Noted as: ticket 4711; by letter", *CASES["pending"][1]]
    assert "Noted as: ticket 4711; by letter. Reference" in render_bundle(made)


def test_a_whole_readme() -> None:
    assert bundle_text.readme(bundle()) == WHOLE


def test_a_page_shows_no_more_rows_than_can_be_read() -> None:
    values = dict.fromkeys(("original", "unlearned", "retrained"), 0.5)
    made = honoured("undecided", rows=[{"record": f"{at:016x}", "margin": values, "rank": values} for at in range(51)])
    page = render_bundle(made)
    assert f"{49:016x}" in page and f"{50:016x}" not in page and "1 more record is in request.json." in page


def test_words_of_others_are_escaped_in_a_page() -> None:
    page = render_bundle(bundle(note="<script>alert(1)</script>"))
    assert "<script" not in page and "&lt;script&gt;" in page


def test_every_reason_to_wait_and_every_kind_of_event_has_a_sentence() -> None:
    assert set(bundle_text.DEFERRED) == set(DEFERRALS)
    assert set(bundle_text.KINDS) == set(KINDS)


def test_every_conclusion_has_a_sentence() -> None:
    assert (
        set(CONCLUSIONS)
        == set(bundle_text.CONCLUSIONS)
        == set(bundle_text.HONOURED)
        == {*map(str, Status), NOT_AUDITED, RETRAINED}
    )


WHOLE = """Erasure request 0123456789abcdef: waiting
=========================================

This request is waiting. Nothing was erased yet: the model in use may still know the records.

It has no date by which it must be honoured.

What is in this folder
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
events         what the history of the store notes about this request. Each hash is an HMAC, by the store's key,
               of the event and of the hash of the event before it. It says nothing to anybody without the key
head           the hash of the last event of the whole history on the day of this export. Keep it: as long as
               `efface head --check` finds it in the history, all events up to that day are there as they were. A
               history without it was cut short, or replaced by an older copy
"""
