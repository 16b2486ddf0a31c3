"""The report: what its schema takes, what its page shows, and that neither is ever half written."""

import base64
import csv
import io
import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import matplotlib
import numpy as np
import pytest

from efface.auditing.report import SCHEMA_VERSION, schema, validate, write
from efface.auditing.report.data import ADDRESS, MAX_SCORES, cell
from efface.auditing.report.html import duration, number, ratio, render
from efface.auditing.report.plots.roc import MAX_POINTS, thinned
from efface.auditing.report.words import chance, percent
from efface.errors import EffaceError
from helpers.report_document import NOT_MEASURED, Document, bare, curve, example, only, phase, record, without_retrained

NASTY = "<script>alert('x')</script>"


@pytest.fixture
def document() -> Document:
    """A small whole report, written by hand."""
    return example()


class Page(HTMLParser):
    """The tags, addresses and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.ids: list[str] = []
        self.labels: list[tuple[str, str]] = []
        self.words = ""
        self.feed(page)
        self.words = " ".join(self.words.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.words += " " if tag in ("td", "th", "dt", "dd", "p", "h2") else ""
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "data", "action"):
                self.addresses.append(value or "")
            elif name.startswith("on"):
                self.handlers.append(name)
            elif name == "id":
                self.ids.append(value or "")
            elif name == "aria-label":
                self.labels.append((tag, value or ""))

    def handle_data(self, data: str) -> None:
        self.words += data


def rows(html: str) -> dict[str, list[list[str]]]:
    """The files that a page hands over."""
    found = re.findall(rf'download="([^"]*)" href="{re.escape(ADDRESS)}([^"]*)"', html)
    return {name: list(csv.reader(io.StringIO(base64.b64decode(data).decode()))) for name, data in found}


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
        (lambda d: d.update(schema_version=1), "$.schema_version"),
        (lambda d: d.update(level="thorough"), "$.level"),
        (lambda d: d.update(created="yesterday"), "$.created"),
        (lambda d: d["request"].update(count="3"), "$.request.count: '3' is not of type 'integer'"),
        (lambda d: d["request"].update(ids_digest="a" * 64), "$.request.ids_digest"),
        (lambda d: d["method"]["options"].update(lr=[1]), "$.method.options.lr"),
        (lambda d: d["cost"]["unlearn"]["total"].pop("cpu_s"), "$.cost.unlearn.total: 'cpu_s' is a required"),
        (lambda d: d["evidence"]["evaluations"][1]["auc"].update(level=1), "$.evidence.evaluations[1].auc.level"),
        (lambda d: d["evidence"].update(outcome="fine"), "$.evidence.outcome"),
        (lambda d: d["metrics"][0].update(unlearned=NOT_MEASURED | {"state": "measured"}), "$.metrics[0].unlearned"),
        (lambda d: d["metrics"][0].update(unlearned=NOT_MEASURED | {"why": ""}), "$.metrics[0].unlearned.why"),
        (lambda d: d["records"][2].update(rank_original=1.5), "$.records[2].rank_original"),
        (lambda d: d["records"][2].update(margin_original=math.nan), "$.records[2].margin_original: nan"),
        (lambda d: d["distributions"]["original"].update(forget=["high"]), "$.distributions.original.forget[0]"),
        (lambda d: d["verdict"].update(status="proven"), "$.verdict.status"),
        (lambda d: d["verdict"].update(sentence=""), "$.verdict.sentence"),
        (lambda d: d["tests"][0].update(outcome="passed"), "$.tests[0].outcome"),
        (lambda d: d["tests"][1].update(original=None), "$.tests[1].original"),
        (lambda d: d["tests"][1].update(p_value=1.2), "$.tests[1].p_value"),
        (lambda d: d["tests"][2].update(margin=-0.1), "$.tests[2].margin"),
        (lambda d: d["roc"].update(negatives=0), "$.roc.negatives"),
        (lambda d: d["roc"]["models"]["original"]["fpr"].pop(), "$.roc.models.original: 7 fpr but 8 tpr"),
        (lambda d: d["roc"]["models"]["unlearned"]["tpr"].reverse(), "$.roc.models.unlearned.tpr: falls"),
        (lambda d: d["records"][0].update(id=1.5), "$.records[0].id"),
        (lambda d: d["records"][1].pop("flagged"), "$.records[1]: 'flagged' is a required"),
        (lambda d: d["uses"][0].update(records=-1), "$.uses[0].records"),
        (lambda d: d["models"][0].pop("trained_on"), "$.models[0]"),
        (lambda d: d["canaries"].update(epsilon_low=-0.1), "$.canaries.epsilon_low"),
        (lambda d: d["ensembles"].update(found=None), "$.ensembles.found"),
        (lambda d: d["exchangeable"].update(p=2), "$.exchangeable.p"),
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
    document.update(tests=[], roc=None)
    document["verdict"]["smallest_effect"] = math.nan
    document["evidence"]["evaluations"][0]["loss"] = np.float64(math.inf)
    document["evidence"]["evaluations"][1]["auc"].update(low=math.nan, high=np.float32(math.nan))
    document["distributions"]["original"]["forget"] = np.array([5.0, 6.0])
    document["request"]["count"] = np.int64(3)
    document["notes"] = ("one", "two")
    written = json.loads(write(document, tmp_path)[0].read_text(), parse_constant=pytest.fail)
    assert written["verdict"]["smallest_effect"] is None
    assert [look["loss"] for look in written["evidence"]["evaluations"]] == [None, 0.4, 0.4, 0.4]
    assert written["evidence"]["evaluations"][1]["auc"]["low"] is None
    assert written["distributions"]["original"]["forget"] == [5.0, 6.0]
    assert (written["request"]["count"], written["notes"]) == (3, ["one", "two"])
    assert math.isnan(document["verdict"]["smallest_effect"])  # the caller's document is left alone


def test_invalid_documents_write_nothing(document: Document, tmp_path: Any) -> None:
    document["records"][0]["margin_original"] = math.nan
    with pytest.raises(EffaceError, match=r"\$\.records\[0\]\.margin_original: None is not of type 'number'"):
        write(document, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_failed_write_keeps_the_old_pair(document: Document, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    document = bare(document)
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
    document["records"][1].update(id=NASTY)
    document["verdict"]["sentence"] = document["correction"] = NASTY
    document["tests"][0].update(title=NASTY, unit=NASTY, why=NASTY)
    document["tests"][1]["key"] = NASTY
    document["roc"]["statistic"] = document["exchangeable"]["tests"][0]["title"] = NASTY
    document["uses"][0].update(who=NASTY, what=NASTY, digest=NASTY)
    document["models"][0].update(what=NASTY, trained_on=NASTY, digest=NASTY)
    document["distributions"]["statistic"] = NASTY
    validate(document)
    html = render(document)
    page = Page(html)
    assert "<script" not in html
    assert "script" not in page.tags
    assert page.handlers == []
    assert page.words.count(NASTY) > 35  # shown as text, not dropped


@pytest.mark.parametrize("shape", [lambda d: d, bare, without_retrained])
def test_page_loads_nothing(document: Document, shape: Callable[[Document], Document]) -> None:
    html = render(shape(document))
    page = Page(html)
    assert all(address.startswith(("#", ADDRESS)) for address in page.addresses)
    assert not re.search(r"url\((?!#)|@import", html)
    assert not {"script", "img", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    addresses = re.findall(r"\w+:\w*=\"https?://[^\"]*|xmlns=\"https?://[^\"]*|https?://\S*", html)
    assert all(address.startswith("xmlns") for address in addresses)


def test_page_says_what_the_document_says(document: Document) -> None:
    page = Page(render(document))
    for words in (
        "3 of 5,000 training records",
        "wrongly labelled (1), other (2)",
        "Not verified By one of four informative tests, the offline RMIA attack",
        "The smallest effect that this request would have shown four times in five is 0.080",
        "RMIA, offline: 0.140 is left, more than the margin of 0.100",
        "Tests cleared 2 of 4",
        "Records flagged 1 of 3",
        "Cost of unlearning 39.2 times",
        "adjusted by Holm's method",
        "attack: AUC less that of a model that never saw it",
        "the detection interval excludes 0",
        "0.0006 0.0024 \N{BALLOT X} left",
        "one of 4 never-seen records",
        "looks like a random sample of the training set (least adjusted p: 0.42)",
        "before unlearning 29 of 30 96.7% 1.920",
        "made on 8 other models, unlearned by steer from as many originals trained for the audit, and 8 retrained ones",
        "16 of the models came from the cache",
        "00000002 other flagged 0.0012",
        "method: reference model training records 2,000 sha256:dddd",
        "audit: reference model 1 2,000 retain records not recorded",
        "not applicable",
        "after 3 of at most 6 evaluations of the evidence",
        "39.2 times less CPU time than retraining one model (7.9 s against 5.2 min)",
        "not measured",
        "uninformative",
        "no retrained model was made",
        "clip = null",
        "evidence, not proof",
        "with uncommitted changes",
    ):
        assert words in page.words
    drawn = [label for tag, label in page.labels if tag == "svg"]
    assert page.tags.count("svg") == len(drawn) == 5
    assert "RMIA, offline: original 0.36, unlearned 0.14, margin 0.1, left" in drawn[1]
    assert "chosen step 40" in drawn[3]
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
        "No test decided the verdict.",
        "No ROC curves were made.",
        "Who used which records was not recorded.",
    ):
        assert words in page.words
    assert "svg" not in page.tags
    for words in ("Exchangeability", "Canaries", "nsembles"):
        assert words not in page.words
    assert "No model was retrained" in Page(render(without_retrained(document))).words


@pytest.mark.parametrize("status", ["verified", "not_verified", "undecided"])
@pytest.mark.parametrize("outcome", schema()["properties"]["evidence"]["properties"]["outcome"]["enum"])
def test_every_status_and_outcome_has_words(document: Document, status: str, outcome: str) -> None:
    from efface.auditing.verdict import Status
    from efface.unlearning.evidence import Outcome

    assert (Status(status), Outcome(outcome)) == (status, outcome)
    document = only(document, "evidence")
    document["verdict"]["status"] = status
    document["evidence"].update(outcome=outcome, evaluations=[])
    assert "It evaluated nothing" in render(document)


def test_long_record_lists_are_cut_worst_first(document: Document) -> None:
    document = only(document, "records")
    ranks = [None, *(index / 100 for index in range(73))]
    document["records"] = [record(i, record=f"r{i}", rank_unlearned=rank) for i, rank in enumerate(ranks)]
    document["records"][5].update(p_unlearned=0.01)
    document["records"][6].update(p_unlearned=0.9, flagged=True)
    document["records"][7].update(p_unlearned=None)
    html = render(document)
    assert re.findall(r"<code>(r\d+)</code>", html) == ["r6", "r5", *(f"r{i}" for i in range(73, 25, -1))]
    assert "24 more records are in report.json." in html
    assert len(rows(html)["records.csv"]) == 75  # the file holds them all


def test_records_are_named_by_their_id_where_it_is_told(document: Document) -> None:
    document = only(document)
    document["records"] = [record(0, id="anna@example.org"), record(1, id=0), record(2)]
    html = render(document)
    assert '<th scope="row">anna@example.org</th>' in html
    assert '<th scope="row">0</th>' in html
    assert '<th scope="row"><code>00000002</code></th>' in html
    assert "00000000" not in Page(html).words


def test_cells_of_files_are_no_formulas(document: Document) -> None:
    nasty = ["=1+1", "+cmd", "-cmd", "@SUM(A1)", "\t=1", " =1", "\N{FULLWIDTH EQUALS SIGN}1"]
    assert [cell(text) for text in nasty] == [f"'{text}" for text in nasty]
    plain = ["-5", "+1e3", "a=b", "customer-1", "", '"', "two\nlines"]
    assert [cell(text) for text in plain] == plain
    assert [cell(value) for value in (None, True, False, -2.5, 1 / 3, 7)] == [
        "",
        "yes",
        "no",
        "-2.5",
        "0.333333333",
        "7",
    ]
    document = only(document)
    document["records"] = [record(i, id=text, group='a "b", c') for i, text in enumerate(nasty)]
    got = rows(render(document))["records.csv"]
    assert sorted(row[0] for row in got[1:]) == sorted(f"'{text}" for text in nasty)
    assert {row[2] for row in got[1:]} == {'a "b", c'}


def test_very_many_scores_are_handed_over_as_bins(document: Document) -> None:
    document = only(document, "distributions")
    document["distributions"]["original"]["holdout"] = [float(i) for i in range(MAX_SCORES)]
    got = rows(render(document))["scores.csv"]
    assert got[0] == ["model", "group", "from", "to", "records"]
    held = [int(row[4]) for row in got[1:] if row[:2] == ["original", "holdout"]]
    assert sum(held) == MAX_SCORES


def test_long_curves_are_thinned_and_keep_their_ends_and_shape() -> None:
    rng = np.random.default_rng(3)
    whole = curve(rng.normal(1, 1, 2000), rng.normal(0, 1, 3000))
    fpr, tpr = thinned({"negatives": 3000, "positives": 2000, "models": {"original": whole}}, "original")
    assert 200 < fpr.size <= MAX_POINTS
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert set(zip(fpr, tpr, strict=True)) <= set(zip(whole["fpr"], whole["tpr"], strict=True))
    # read as steps, hardly anything is lost
    kept = tpr[np.searchsorted(fpr, whole["fpr"], side="right") - 1]
    assert np.max(np.abs(kept - whole["tpr"])) < 0.03


@pytest.mark.parametrize("kind", ["attack", "off_label", "distance"])
def test_ladders_of_one_test_draw(document: Document, kind: str) -> None:
    document = only(document, "tests")
    test = document["tests"][0]
    nothing = {"value": 0.0, "low": None, "high": None, "level": 0.95}
    test.update(kind=kind, title="long " * 40, unit="", margin=0, p_value=None, p_adjusted=None, retrained=None)
    test.update(original=nothing, unlearned=nothing, equivalence_interval=nothing)
    document["tests"] = [test]
    validate(document)
    assert "Tests cleared 1 of 1" in Page(render(document)).words


def test_records_that_no_test_judged_are_not_called_clear(document: Document) -> None:
    document = only(document)
    document["request"]["kind"] = "class"
    document["records"] = [record(i, p_unlearned=None) for i in range(3)]
    validate(document)
    page = Page(render(document))
    assert "Records flagged" not in page.words
    assert "00000001 other \N{EN DASH} \N{EN DASH} 0.970" in page.words


def test_extreme_curves_draw(document: Document) -> None:
    document = only(document, "roc")
    document["roc"].update(negatives=1, positives=1)
    document["roc"]["models"] = {
        "original": {"fpr": [0.0], "tpr": [1.0]},
        "unlearned": {"fpr": [1.0], "tpr": [0.0]},
        "retrained": None,
    }
    validate(document)
    assert "dotted: retrained" not in Page(render(document)).words


def test_odd_names_scores_and_looks_render(document: Document, tmp_path: Any) -> None:
    same = {"forget": [1.0], "holdout": [1.0]}
    document["distributions"].update(original=same, unlearned=same, retrained={"forget": [], "holdout": [2.0]})
    document["evidence"]["chosen_step"] = 0
    document["evidence"]["evaluations"][0]["auc"].update(low=None, high=None)
    document["cost"]["unlearn"]["phases"]["$\\bad$ phase"] = {"wall_s": 0, "cpu_s": 0, "forward": 0, "backward": 0}
    document["cost"]["audit"]["phases"].update({"long " * 200: phase(1.0), "\u5fd8\u5374 \ud800": phase(2.0)})
    document["distributions"]["statistic"] = "two\nlines"
    document["tests"][0].update(title="$\\bad$ \u5fd8\u5374 \ud800", unit="a\nb \ud800")
    document["records"][0]["id"] = "\ud800"
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
    assert [chance(value) for value in (None, 0.5, 0.0123, 0.00123, 0.0)] == [
        dash,
        "0.50",
        "0.012",
        "0.0012",
        "< 0.0001",
    ]
    assert [percent(value) for value in (0.0006, 0.02, 1.0)] == ["0.06%", "2%", "100%"]
    assert [ratio(value) for value in (0.0255, 1.5)] == ["39.2 times less CPU time than", "1.5 times the CPU time of"]
