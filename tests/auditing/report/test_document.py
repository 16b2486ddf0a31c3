"""The document of a report: what its schema takes, and that its two files are never half written."""

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from efface.auditing.report import SCHEMA_VERSION, schema, validate, write
from efface.auditing.report.html import render
from efface.errors import EffaceError
from helpers.report_document import NOT_MEASURED, Document, bare, example, without_retrained

pytestmark = pytest.mark.drawn


@pytest.fixture
def document() -> Document:
    """A small whole report, written by hand."""
    return example()


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


def test_only_the_first_problems_are_listed(document: Document) -> None:
    document["records"] = ["x" * 10_000] * 30
    with pytest.raises(EffaceError, match="and 25 more") as refused:
        validate(document)
    assert len(str(refused.value)) < 2000


def test_write_gives_whole_files_and_names_the_report(document: Document, tmp_path: Any) -> None:
    paths = write(document, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["report.json", "report.html"]
    assert json.loads(paths[0].read_text()) == document
    assert paths[1].read_text(encoding="utf-8") == render(document)
    assert sorted(path.name for path in paths[0].parent.iterdir()) == [
        "receipt.html",
        "receipt.pdf",
        "report.html",
        "report.json",
    ]


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
    assert [evaluation["loss"] for evaluation in written["evidence"]["evaluations"]] == [None, 0.4, 0.4, 0.4]
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
    assert len(list(tmp_path.iterdir())) == 4
