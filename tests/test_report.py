"""The report: what its schema takes, what its page shows, and that neither is ever half written."""

import copy
import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import matplotlib
import numpy as np
import pytest

from efface.errors import EffaceError
from efface.report import SCHEMA_VERSION, schema, validate, write
from efface.report.html import duration, number, ratio, render

Document = dict[str, Any]
NASTY = "<script>alert('x')</script>"
NOT_MEASURED = {"state": "not_measured", "estimate": None, "why": "no retrained model was made"}


def estimate(value: float, half: float = 0.04) -> Document:
    return {"value": value, "low": value - half, "high": value + half, "level": 0.95}


def measured(value: float) -> Document:
    return {"state": "measured", "estimate": estimate(value), "why": ""}


def phase(cpu_s: float) -> Document:
    return {"wall_s": cpu_s / 2, "cpu_s": cpu_s, "forward": 12000, "backward": 6000}


def metric(key: str, title: str, group: str, kind: str, values: tuple[float, float, float]) -> Document:
    readings = dict(zip(("original", "unlearned", "retrained"), map(measured, values), strict=True))
    return {"key": key, "title": title, "group": group, "kind": kind, "decisive": kind == "attack", **readings}


@pytest.fixture
def document() -> Document:
    """A small whole report, written by hand."""
    uninformative = {"state": "uninformative", "estimate": estimate(0.51), "why": "the original passes it too"}
    distances = metric("l2", "Distance of weights", "all", "distance", (0.0, 1.73, 9.8))
    return {
        "schema_version": 1,
        "created": "2026-11-24T10:00:00Z",
        "title": "Forget 3 of 5,000 records",
        "versions": {"efface": "0.1.0", "torch": "2.13.0"},
        "git": {"commit": "0123456789abcdef", "dirty": True},
        "device": "cpu",
        "threads": 1,
        "seed": 7,
        "request": {
            "kind": "records",
            "count": 3,
            "ids_digest": "sha256:" + "a" * 64,
            "training_records": 5000,
            "holdout_records": 1000,
            "holdout_used_for": "a third each for calibration, stopping and the audit",
            "groups": {"wrongly labelled": 1, "other": 2},
        },
        "method": {"key": "noisy", "options": {"lr": 0.01, "clip": None}, "source": "built in"},
        "weights": {"original": "sha256:" + "b" * 64, "unlearned": "sha256:" + "c" * 64},
        "cost": {
            "unlearn": {"phases": {"perturb": phase(5.5), "look": phase(2.4)}, "total": phase(7.9)},
            "audit": {"phases": {"scores": phase(3.1)}, "total": phase(3.1)},
            "retrain": {"models": 3, "cpu_s_each": 310.0, "wall_s_each": 170.0},
            "ratio_cpu": 0.0255,
        },
        "evidence": {
            "outcome": "looks_unseen",
            "reason": "the interval 0.49 to 0.53 lies within 0.05 of 0.5",
            "chosen_step": 40,
            "target": 0.5,
            "margin": 0.05,
            "planned_looks": 6,
            "looks": [
                {
                    "step": step,
                    "auc": estimate(auc),
                    "holdout_accuracy": 0.8,
                    "accuracy_change": estimate(0.0),
                    "forget_accuracy": 0.9,
                    "loss": 0.4,
                }
                for step, auc in ((10, 0.8), (20, 0.66), (30, 0.55), (40, 0.51))
            ],
        },
        "metrics": [
            metric("holdout_accuracy", "Held-out accuracy", "all", "utility", (0.83, 0.82, 0.82)),
            metric("auc", "Conditional AUC", "forget: wrongly labelled", "attack", (0.81, 0.51, 0.5)),
            {**metric("shunned", "Off-label margin", "all", "off_label", (0.5, 0.5, 0.5)), "unlearned": uninformative},
            {**distances, "retrained": NOT_MEASURED},
        ],
        "records": [
            {
                "record": f"{index:08x}",
                "group": "other",
                "rank_original": 0.97,
                "rank_unlearned": index / 4,
                "rank_retrained": 0.5,
                "margin_original": 6.1,
                "margin_unlearned": 2.2,
                "margin_retrained": 2.0,
                "gap_original": 3.0,
                "gap_unlearned": None,
            }
            for index in range(3)
        ],
        "distributions": {
            "statistic": "margin",
            "original": {"forget": [5.0, 6.0, 7.5], "holdout": [1.0, 2.0, 3.0, 2.5]},
            "unlearned": {"forget": [1.5, 2.0, 2.5], "holdout": [1.1, 2.1, 3.0, 2.4]},
            "retrained": {"forget": [1.4, 2.2, 2.6], "holdout": [1.0, 2.2, 2.9, 2.5]},
        },
        "verdict": {"status": "verified", "reasons": ["every decisive metric passed"], "smallest_effect": 0.08},
        "notes": ["trained on one core"],
    }


def bare(document: Document) -> Document:
    """The same report with every nullable part null and every list empty."""
    empty = {"forget": [], "holdout": []}
    audit = document["cost"]["audit"]
    return {
        **document,
        "git": None,
        "method": None,
        "evidence": None,
        "cost": {"unlearn": None, "audit": {**audit, "phases": {}}, "retrain": None, "ratio_cpu": None},
        "metrics": [],
        "records": [],
        "distributions": {"statistic": "margin", "original": empty, "unlearned": empty, "retrained": None},
        "verdict": {"status": "undecided", "reasons": [], "smallest_effect": None},
        "notes": [],
        "versions": {},
    }


def without_retrained(document: Document) -> Document:
    changed = copy.deepcopy(document)
    changed["distributions"]["retrained"] = None
    changed["cost"].update(retrain=None, ratio_cpu=None)
    for item in changed["metrics"]:
        item["retrained"] = NOT_MEASURED
    for record in changed["records"]:
        record.update(rank_retrained=None, margin_retrained=None)
    return changed


class Page(HTMLParser):
    """The tags, addresses and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.ids: list[str] = []
        self.labels: list[str] = []
        self.words = ""
        self.feed(page)
        self.words = " ".join(self.words.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "data", "action"):
                self.addresses.append(value or "")
            elif name.startswith("on"):
                self.handlers.append(name)
            elif name == "id":
                self.ids.append(value or "")
            elif name == "aria-label":
                self.labels.append(value or "")

    def handle_data(self, data: str) -> None:
        self.words += data


def test_schema_is_itself_valid_and_a_fresh_copy() -> None:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(schema())
    assert schema()["properties"]["schema_version"]["const"] == SCHEMA_VERSION
    schema().clear()
    assert schema()


def test_whole_and_bare_documents_are_valid(document: Document) -> None:
    validate(document)
    validate(bare(document))
    validate(without_retrained(document))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda d: d.pop("notes"), "$: 'notes' is a required property"),
        (lambda d: d.update(extra=1), "'extra' was unexpected"),
        (lambda d: d.update(schema_version=2), "$.schema_version"),
        (lambda d: d.update(created="yesterday"), "$.created"),
        (lambda d: d["request"].update(count="3"), "$.request.count: '3' is not of type 'integer'"),
        (lambda d: d["request"].update(ids_digest="a" * 64), "$.request.ids_digest"),
        (lambda d: d["method"]["options"].update(lr=[1]), "$.method.options.lr"),
        (lambda d: d["cost"]["unlearn"]["total"].pop("cpu_s"), "$.cost.unlearn.total: 'cpu_s' is a required"),
        (lambda d: d["evidence"]["looks"][1]["auc"].update(level=1), "$.evidence.looks[1].auc.level"),
        (lambda d: d["evidence"].update(outcome="fine"), "$.evidence.outcome"),
        (lambda d: d["metrics"][0].update(unlearned=NOT_MEASURED | {"state": "measured"}), "$.metrics[0].unlearned"),
        (lambda d: d["metrics"][0].update(unlearned=NOT_MEASURED | {"why": ""}), "$.metrics[0].unlearned.why"),
        (lambda d: d["records"][2].update(rank_original=1.5), "$.records[2].rank_original"),
        (lambda d: d["records"][2].update(margin_original=math.nan), "$.records[2].margin_original: nan"),
        (lambda d: d["distributions"]["original"].update(forget=["high"]), "$.distributions.original.forget[0]"),
        (lambda d: d["verdict"].update(status="proven"), "$.verdict.status"),
    ],
)
def test_changed_documents_are_refused_by_path(
    document: Document, change: Callable[[Document], object], path: str
) -> None:
    change(document)
    with pytest.raises(EffaceError) as refused:
        validate(document)
    assert path in str(refused.value)


def test_only_the_first_few_problems_are_named(document: Document) -> None:
    document["records"] = ["x" * 10_000] * 30
    with pytest.raises(EffaceError, match="and 25 more") as refused:
        validate(document)
    assert len(str(refused.value)) < 2000


def test_write_gives_two_whole_files(document: Document, tmp_path: Any) -> None:
    paths = write(document, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["report.json", "report.html"]
    assert json.loads(paths[0].read_text()) == document
    assert paths[1].read_text(encoding="utf-8") == render(document)
    assert sorted(path.name for path in paths[0].parent.iterdir()) == ["report.html", "report.json"]


def test_nonfinite_and_numpy_values_become_json(document: Document, tmp_path: Any) -> None:
    document["verdict"]["smallest_effect"] = math.nan
    document["evidence"]["looks"][0]["loss"] = np.float64(math.inf)
    document["evidence"]["looks"][1]["auc"].update(low=math.nan, high=np.float32(math.nan))
    document["distributions"]["original"]["forget"] = np.array([5.0, 6.0])
    document["request"]["count"] = np.int64(3)
    document["notes"] = ("one", "two")
    written = json.loads(write(document, tmp_path)[0].read_text(), parse_constant=pytest.fail)
    assert written["verdict"]["smallest_effect"] is None
    assert [look["loss"] for look in written["evidence"]["looks"]] == [None, 0.4, 0.4, 0.4]
    assert written["evidence"]["looks"][1]["auc"]["low"] is None
    assert written["distributions"]["original"]["forget"] == [5.0, 6.0]
    assert (written["request"]["count"], written["notes"]) == (3, ["one", "two"])
    assert math.isnan(document["verdict"]["smallest_effect"])  # the caller's document is left alone


def test_invalid_documents_write_nothing(document: Document, tmp_path: Any) -> None:
    document["records"][0]["margin_original"] = math.nan
    with pytest.raises(EffaceError, match=r"\$\.records\[0\]\.margin_original: None is not of type 'number'"):
        write(document, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_failed_write_keeps_the_old_pair(document: Document, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    old = [path.read_bytes() for path in write(document, tmp_path)]

    def full(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write({**document, "title": "another"}, tmp_path)
    assert [(tmp_path / name).read_bytes() for name in ("report.json", "report.html")] == old
    assert len(list(tmp_path.iterdir())) == 2


def test_outside_strings_are_escaped(document: Document) -> None:
    document.update(title=NASTY, device=NASTY, notes=[NASTY], versions={NASTY: NASTY})
    document["request"].update(holdout_used_for=NASTY, groups={NASTY: 3})
    document["method"] = {"key": NASTY, "options": {NASTY: NASTY}, "source": NASTY}
    document["cost"]["unlearn"]["phases"] = {NASTY: document["cost"]["unlearn"]["total"]}
    document["evidence"]["reason"] = NASTY
    document["verdict"]["reasons"] = [NASTY, '" onload="alert(1)']
    document["metrics"][0].update(title=NASTY, group=NASTY)
    document["metrics"][1]["retrained"] = {"state": "not_measured", "estimate": None, "why": f'" onclick="x" {NASTY}'}
    document["records"][0].update(record=NASTY, group=NASTY)
    document["distributions"]["statistic"] = NASTY
    validate(document)
    html = render(document)
    page = Page(html)
    assert "<script" not in html
    assert "script" not in page.tags
    assert page.handlers == []
    assert page.words.count(NASTY) > 15  # shown as text, not dropped


@pytest.mark.parametrize("shape", [lambda d: d, bare, without_retrained])
def test_page_loads_nothing(document: Document, shape: Callable[[Document], Document]) -> None:
    html = render(shape(document))
    page = Page(html)
    assert all(address.startswith("#") for address in page.addresses)
    assert not re.search(r"url\((?!#)|@import", html)
    assert not {"script", "img", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    addresses = re.findall(r"\w+:\w*=\"https?://[^\"]*|xmlns=\"https?://[^\"]*|https?://\S*", html)
    assert all(address.startswith("xmlns") for address in addresses)


def test_page_says_what_the_document_says(document: Document) -> None:
    page = Page(render(document))
    for words in (
        "3 of 5,000 training records",
        "wrongly labelled (1), other (2)",
        "could not be told from one that never saw these records",
        "The smallest effect that this request would have shown four times in five is 0.080",
        "every decisive metric passed",
        "after 3 of at most 6 looks at the evidence",
        "39.2 times less CPU time than retraining one model (7.9 s against 5.2 min)",
        "not measured",
        "uninformative",
        "no retrained model was made",
        "clip = null",
        "evidence, not proof",
        "with uncommitted changes",
    ):
        assert words in page.words
    assert page.tags.count("svg") == len(page.labels) == 3
    assert "chosen step 40" in page.labels[1]
    assert len(page.ids) == len(set(page.ids))


def test_page_without_optional_parts_says_so(document: Document) -> None:
    page = Page(render(bare(document)))
    for words in (
        "No stop rule was used.",
        "No scores were kept",
        "No model was retrained without these records",
        "Retraining was not timed",
        "The cost of unlearning was not measured",
        "No metrics were measured.",
        "No single records were ranked.",
        "the unlearned weights were made elsewhere",
    ):
        assert words in page.words
    assert "svg" not in page.tags
    assert "No model was retrained" in Page(render(without_retrained(document))).words


@pytest.mark.parametrize("status", ["verified", "not_verified", "undecided"])
@pytest.mark.parametrize("outcome", schema()["properties"]["evidence"]["properties"]["outcome"]["enum"])
def test_every_status_and_outcome_has_words(document: Document, status: str, outcome: str) -> None:
    from efface.types import Outcome, Status

    assert (Status(status), Outcome(outcome)) == (status, outcome)
    document["verdict"]["status"] = status
    document["evidence"].update(outcome=outcome, looks=[])
    assert "It took no looks" in render(document)


def test_long_record_lists_are_cut_best_remembered_first(document: Document) -> None:
    pattern = document["records"][0]
    ranks = [None, *(index / 100 for index in range(73))]
    document["records"] = [{**pattern, "record": f"r{i}", "rank_unlearned": rank} for i, rank in enumerate(ranks)]
    html = render(document)
    assert re.findall(r"<code>(r\d+)</code>", html) == [f"r{i}" for i in range(73, 23, -1)]
    assert "24 more records are in report.json." in html


def test_odd_names_scores_and_looks_render(document: Document, tmp_path: Any) -> None:
    same = {"forget": [1.0], "holdout": [1.0]}
    document["distributions"].update(original=same, unlearned=same, retrained={"forget": [], "holdout": [2.0]})
    document["evidence"]["chosen_step"] = 0
    document["evidence"]["looks"][0]["auc"].update(low=None, high=None)
    document["cost"]["unlearn"]["phases"]["$\\bad$ phase"] = {"wall_s": 0, "cpu_s": 0, "forward": 0, "backward": 0}
    document["cost"]["audit"]["phases"].update({"long " * 200: phase(1.0), "\u5fd8\u5374 \ud800": phase(2.0)})
    document["distributions"]["statistic"] = "two\nlines"
    paths = write({**document, "title": "a lone \ud800"}, tmp_path)
    html = paths[1].read_text(encoding="utf-8")
    assert "$\\bad$ phase" in html
    assert "\u5fd8\u5374 ?" in html
    assert json.loads(paths[0].read_text())["title"] == "a lone \ud800"


def test_the_same_document_gives_the_same_bytes_and_leaves_rcparams_alone(document: Document) -> None:
    first = render(document)
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": "other"}):
        assert render(document) == first
    assert dict(matplotlib.rcParams) == before


def test_numbers_read_well() -> None:
    minus, dash = "\N{MINUS SIGN}", "\N{EN DASH}"
    shown = [number(value) for value in (None, 0.0, 0.51234, -2.5, 12345, 12345.6, 0.00001, True, "x")]
    assert shown == [dash, "0.000", "0.512", f"{minus}2.500", "12,345", "12,346", f"1.00e{minus}05", "True", "x"]
    assert [duration(value) for value in (0.0123, 59.96, 600, 9000)] == ["0.0123 s", "60.0 s", "10.0 min", "2.5 h"]
    assert [ratio(value) for value in (0.0255, 1.5)] == ["39.2 times less CPU time than", "1.5 times the CPU time of"]
