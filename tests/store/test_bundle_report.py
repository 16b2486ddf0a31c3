"""What a bundle takes from the report of a run."""

from typing import Any

from efface.store.bundle_report import decisive_tests, rows_of

ESTIMATE = {"value": 0.123456789, "low": -0.000012, "high": None, "level": 0.95}
TEST = {"title": "loss attack", "unit": "AUC", "original": ESTIMATE, "unlearned": ESTIMATE, "margin": 0.1,
        "outcome": "open", "why": "of 2 records of request 7", "p_value": 0.5}  # fmt: skip


def row(name: str) -> dict[str, Any]:
    values = {f"{what}_{who}": 1.23456789 for what in ("margin", "rank") for who in ("original", "unlearned")}
    others = {"label": 2, "kind": "all", "p_unlearned": 0.5, "flagged": True, "gap_original": 1.5, "record": "0f0f"}
    return {"id": name, "margin_retrained": None, "rank_retrained": None, **values, **others}


def report(*names: str, count: int | None = None) -> dict[str, Any]:
    return {
        "records": [row(name) for name in names],
        "tests": [TEST],
        "request": {"count": len(names) if count is None else count},
    }


def test_a_row_is_what_models_answer_to_an_own_record_and_no_more() -> None:
    (found,) = rows_of(report("a", "b"), {"a"})
    assert found == {
        "record": "a",
        "margin": {"original": 1.2346, "unlearned": 1.2346, "retrained": None},
        "rank": {"original": 1.2, "unlearned": 1.2, "retrained": None},
    }


def test_tests_are_there_where_all_records_of_the_run_are_own() -> None:
    (found,) = decisive_tests(report("a", "b"), {"a", "b", "c"}) or []
    interval = {"value": 0.1235, "low": -0.0, "high": None}
    assert found == {"title": "loss attack", "unit": "AUC", "before": interval, "after": interval, "allowed": 0.1,
                     "outcome": "open"}  # fmt: skip
    assert decisive_tests(report("a", "b"), {"a"}) is None
    assert decisive_tests(report("a"), {"b"}) is None
    assert decisive_tests(report("a", "b", count=3), {"a", "b"}) is None  # somebody has no row
