"""What an audit's report holds: rows, groups, records and notes; its files; and what must never be in it."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memorised import FORGET, TRAIN, Memorised, readings

from efface import Report
from efface.report.build import ids_digest
from efface.report.document import validate
from efface.types import PhaseCost, Status


def test_without_references_what_needs_them_is_not_measured(known: Memorised) -> None:
    report = known.audit(references=0)
    for key in ("loss", "rmia", "other_classes", "perturbed"):
        for reading in readings(report, key).values():
            assert (reading.state, reading.estimate) == ("not_measured", None)
            assert "no reference models" in reading.why
    assert readings(report, "loss_marginal")["original"].state == "measured"
    assert report.verdict.status is Status.UNDECIDED
    assert "no decisive statistic" in report.verdict.reasons[0]
    assert "no reference models were asked for" in report.document["notes"]


def test_every_row_has_three_columns(known: Memorised) -> None:
    bare, full = known.audit(known.steered), known.audit(known.steered, retrained=known.again[:3])
    keys = {"accuracy_forget", "accuracy_test", "loss_retain", "loss_marginal", "loss", "rmia", "perturbed"}
    assert keys <= {m.key for m in bare.metrics}
    for m in bare.metrics:
        assert m.retrained.state == "not_measured" and "no retrained models" in m.retrained.why
    for m in full.metrics:
        assert {m.original.state, m.retrained.state} == {"measured"}, m.key
        # where doing nothing passes a decisive test too, passing it says nothing
        passed = m.decisive and not {e.title: e for e in full.table.effects()}[m.title.split(", AUC")[0]].informative
        assert m.unlearned.state == ("uninformative" if passed else "measured"), m.key
    assert {m.key for m in full.metrics} - {m.key for m in bare.metrics} == {"d2_margin", "d2_other_classes"}
    x, y = known.task.test.tensors  # type: ignore[union-attr]
    expected = np.mean([float((m(x).argmax(1) == y).double().mean()) for m in known.again[:3]])
    assert readings(full, "accuracy_test")["retrained"].estimate.value == pytest.approx(expected)


def test_groups_have_rows_of_their_own(known: Memorised) -> None:
    groups = {"first": FORGET[:20], "other": np.array(FORGET[20:])}
    report = known.audit(retrained=known.again[:3], groups=groups, forget=tuple(reversed(FORGET)))
    assert report.document["request"]["groups"] == {"first": 20, "other": 30}
    for key in ("accuracy_forget", "loss", "d2_margin"):
        whole = readings(report, key)["original"].estimate.value
        first, other = (readings(report, key, g)["original"].estimate for g in groups)
        if key != "d2_margin":
            assert whole == pytest.approx((20 * first.value + 30 * other.value) / 50)
            assert first.low < first.value < first.high or first.value in (0.0, 1.0)
    assert [r["group"] for r in report.document["records"]] == ["other"] * 30 + ["first"] * 20
    assert readings(report, "accuracy_forget", "first")["unlearned"].estimate.value == 1.0


def test_a_group_of_all_records_has_the_row_of_all(known: Memorised) -> None:
    report = known.audit(retrained=known.again[:3], groups={"every": FORGET})
    for key in ("accuracy_forget", "loss", "d2_margin"):
        for who, reading in readings(report, key).items():
            # as text, since a distance has no interval
            assert str(readings(report, key, "every")[who]) == str(reading)


def stable(report: Report) -> dict[str, Any]:
    """The document without what time and load decide."""
    return {k: v for k, v in report.document.items() if k not in ("created", "cost")}


def test_a_seed_fixes_the_report(known: Memorised) -> None:
    one, again, other = (known.audit(known.steered, retrained=known.again[:2], seed=s) for s in (4, 4, 5))
    assert stable(one) == stable(again) != stable(other)
    assert known.audit(known.steered).seed == known.steered.seed


def test_the_order_of_the_request_does_not_matter(known: Memorised) -> None:
    shuffled = tuple(np.random.default_rng(0).permutation(FORGET).tolist())
    one, other = (known.audit(forget=f, retrained=known.again[:3]) for f in (FORGET, shuffled))
    assert one.document["request"] == other.document["request"]
    for a, b in zip(one.metrics, other.metrics, strict=True):
        for mine, theirs in ((a.original, b.original), (a.unlearned, b.unlearned), (a.retrained, b.retrained)):
            assert mine.estimate is not None and theirs.estimate is not None
            assert mine.estimate.value == pytest.approx(theirs.estimate.value), a.key
    rows = [{r["record"]: r for r in report.document["records"]} for report in (one, other)]
    assert rows[0].keys() == rows[1].keys()
    for name, row in rows[0].items():
        assert row["rank_original"] == pytest.approx(rows[1][name]["rank_original"])
        assert row["margin_retrained"] == pytest.approx(rows[1][name]["margin_retrained"])


def test_the_report_is_valid_and_saved(known: Memorised, tmp_path: Path) -> None:
    report = known.audit(
        known.steered, retrained=known.again[:3], retrain_cost=PhaseCost(2.0, 4.0), groups={"a": FORGET[:9]}
    )
    validate(report.document)
    data, page = report.save(tmp_path / "new")
    assert json.loads(data.read_text()) == report.document
    assert page.read_text(encoding="utf-8").lstrip().startswith("<!")
    assert report.document["method"]["key"] == "steer"
    cost = report.document["cost"]
    assert cost["retrain"] == {"models": 3, "cpu_s_each": 4.0, "wall_s_each": 2.0}
    assert cost["ratio_cpu"] == pytest.approx(known.steered.cost.cpu_s / 4.0)
    phases = cost["audit"]["phases"]
    assert phases["references"]["backward"] > 0 == phases["scoring"]["backward"]
    validate(known.audit(references=0, task=replace(known.task, test=None)).document)


def test_retrained_models_that_are_one_are_noted(known: Memorised) -> None:
    same = known.again[0]
    report = known.audit(retrained=[same, copy.deepcopy(same), same])
    assert any("retrained[1] are bit for bit those of retrained[0]" in note for note in report.notes)
    assert "the same of every record" in readings(report, "d2_margin")["original"].why
    validate(report.document)
    assert any(
        "retrained[0] are bit for bit those of the original" in n
        for n in known.audit(unlearned=same, retrained=[known.original]).notes
    )


def test_identical_weights_are_noted(known: Memorised) -> None:
    said = "bit for bit the original's: nothing was unlearned"
    assert any(said in n for n in known.audit(known.noop).document["notes"])
    assert not any("bit for bit" in n for n in known.audit(unlearned=known.again[0]).document["notes"])


def test_ids_are_kept_out_of_the_report(known: Memorised, tmp_path: Path) -> None:
    names = [f"patient-{i}" for i in range(TRAIN)]
    asked = tuple(names[i] for i in FORGET)
    report = known.audit(task=replace(known.task, ids=names), forget=asked, groups={"some": asked[:9]})
    for path in report.save(tmp_path):
        assert "patient" not in path.read_text(encoding="utf-8")
    assert len({r["record"] for r in report.document["records"]}) == len(FORGET)


def test_digests_of_ids() -> None:
    assert ids_digest([1, 2]) == ids_digest([2, 1]) != ids_digest(["1", "2"])
    assert ids_digest(["a", "b"]) != ids_digest(["a", "c"])
    assert ids_digest([12]) != ids_digest([1, 2])
