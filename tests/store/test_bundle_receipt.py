"""The receipt of a request of a store: its facts come from the bundle, at every stage."""

import re
from typing import Any

import pytest

from efface.auditing.report.receipt import render_receipt
from efface.store import bundle_text
from efface.store.bundle import CONCLUSIONS
from efface.store.bundle_receipt import NOTHING_ERASED, REJECTED, receipt_of
from helpers.report_page import Page

MODEL = {"file": f"sha256:{'0' * 64}", "weights": f"sha256:{'1' * 64}"}
NAMES = ("deferred", "note", "due", "cancelled", "honoured", "in_time", "how", "method", "audit", "models", "kept_days")


def bundle(stage: str = "pending", **facts: Any) -> dict[str, Any]:
    made = dict.fromkeys((*NAMES, "retired"))
    made |= {
        "reference": "0123456789abcdef",
        "stage": stage,
        "records": 1,
        "overdue": False,
        "rejected": [],
        "events": [],
    }
    made |= {"requested": "2031-05-01T10:00:00.000+00:00", "head": "3" * 64, "exported": "2031-05-06T10:00:00+00:00"}
    rows = [{"record": "tag-of-a-record", "margin": {}, "rank": {}}]
    return made | {"made_with": {"efface": "1"}, "rows": rows, **facts}


def honoured(conclusion: str, **facts: Any) -> dict[str, Any]:
    audit = {"level": "standard", "conclusion": conclusion, "tests": None}
    models = {"honoured_by": MODEL, "in_service": MODEL}
    made = bundle("honoured", how="unlearned", method="steer", audit=audit, models=models, kept_days=30.0)
    return made | {"honoured": "2031-05-04T11:00:00.000+00:00", **facts}


def words(held: dict[str, Any]) -> str:
    page = Page(render_receipt(receipt_of(held)))
    assert "tag-of-a-record" not in page.words
    return re.sub(r"^.*\}", "", page.words)


@pytest.mark.parametrize("conclusion", CONCLUSIONS)
def test_an_honoured_request_has_dates_versions_result_and_limits(conclusion: str) -> None:
    text = words(honoured(conclusion, note="ticket 4711", due="2031-06-01", in_time=True))
    for part in (
        bundle_text.HONOURED[conclusion],
        bundle_text.CONCLUSIONS[conclusion],
        "Records 1 training record",
        "Asked on 2031-05-01",
        "Due by 2031-06-01",
        "Honoured on 2031-05-04",
        MODEL["file"],
        "they may be kept for audits for 30 days",
        bundle_text.LIMITS,
        "nothing about other requests",
    ):
        assert part in text, part
    assert "4711" not in text, "a note is free text, in which anything may stand"


@pytest.mark.parametrize(
    "held", [bundle(), bundle("cancelled", cancelled="2031-05-02T10:00:00.000+00:00")], ids=["pending", "cancelled"]
)
def test_a_request_that_is_not_honoured_has_one_too(held: dict[str, Any]) -> None:
    text = words(held)
    assert bundle_text.title(held) in text and NOTHING_ERASED in text
    assert bundle_text.LIMITS not in text


def test_a_rejected_attempt_is_not_called_untested() -> None:
    text = words(bundle(rejected=["2031-05-03T10:00:00.000+00:00"]))
    assert NOTHING_ERASED not in text and REJECTED in text
    assert "was rejected on 2031-05-03" in text


def test_a_retired_store_says_what_cannot_be_checked() -> None:
    assert "its key destroyed" in words(honoured("verified", retired="2031-05-05T10:00:00.000+00:00"))
