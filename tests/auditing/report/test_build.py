"""What an audit's report holds: rows, kinds, records and notes; its files; and what must never be in it."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from efface import EffaceError, Report, RequestError
from efface.attacks.relearn import MAX_STEPS
from efface.auditing import references
from efface.auditing.report.document import validate
from efface.auditing.report.provenance import ids_digest
from efface.auditing.verdict import Status
from efface.runtime.cost import PhaseCost
from helpers.memorised import FORGET, TRAIN, Memorised, readings

pytestmark = pytest.mark.usefixtures("brief")


def test_without_references_what_needs_them_is_not_measured(known: Memorised, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the task has too few records left to train any on."""
    monkeypatch.setattr(references, "MIN_REFERENCE_RECORDS", TRAIN)
    report = known.audit()
    why = "retain records are left for reference models of the audit"
    for key in ("loss", "rmia", "lira", "spread", "other_classes", "perturbed", "probe"):
        for reading in readings(report, key).values():
            assert (reading.state, reading.estimate) == ("not_measured", None)
            assert why in reading.why
    assert readings(report, "loss_marginal")["original"].state == "measured"
    assert report.verdict.status is Status.UNDECIDED and not report.tests
    (reason,) = (r for r in report.verdict.reasons if r.startswith("no decisive test was measured: only "))
    assert why in reason
    assert report.document["verdict"]["next"] == list(report.verdict.next_steps)
    assert report.verdict.next_steps[0].startswith("erase the records first: efface.unlearn("), "it is the original"
    steered = known.audit(known.steered).verdict
    assert steered.status is Status.UNDECIDED
    assert "references=[...] (efface audit --references FOLDER)" in steered.next_steps[0]
    assert why in report.document["notes"][-1]
    assert {r["p_unlearned"] for r in report.document["records"]} == {None}
    validate(report.document)


def test_every_row_has_three_columns(known: Memorised) -> None:
    bare, full = known.audit(known.steered), known.audit(known.steered, retrained=known.retrained[:3])
    keys = {"accuracy_forget", "accuracy_test", "loss_retain", "loss_marginal", "loss", "rmia", "perturbed", "cka"}
    assert keys <= {m.key for m in bare.metrics}
    for m in bare.metrics:
        assert m.retrained.state == "not_measured"
        assert ("at least 2,000 never-seen" if m.key == "tpr" else "no retrained models") in m.retrained.why
    outcomes = {r.key: r.outcome for r in full.tests}
    for m in full.metrics:
        if m.key == "tpr":  # so few never-seen records give no rate of 1 %
            assert {m.original.state, m.unlearned.state, m.retrained.state} == {"not_measured"}
            continue
        assert {m.original.state, m.retrained.state} == {"measured"}, m.key
        # where no model could pass a decisive test, passing it says nothing
        idle = m.decisive and outcomes[m.key] == "uninformative"
        assert m.unlearned.state == ("uninformative" if idle else "measured"), m.key
    assert {m.key for m in full.metrics} - {m.key for m in bare.metrics} == {"d2_margin", "d2_other_classes", "tow"}
    assert {m.key for m in full.metrics if m.decisive} == set(outcomes)
    x, y = known.task.test.tensors  # type: ignore[union-attr]
    expected = np.mean([float((m(x).argmax(1) == y).double().mean()) for m in known.retrained[:3]])
    assert readings(full, "accuracy_test")["retrained"].estimate.value == pytest.approx(expected)


def test_what_fails_a_model_is_not_called_uninformative(known: Memorised) -> None:
    """50 records are too few for a test to clear any model, but not to fail this one."""
    report = known.audit(known.noop, retrained=known.retrained[:3])
    left = [r for r in report.tests if r.outcome == "left"]
    assert any(r.uninformative_reason for r in left)
    assert {readings(report, r.key)["unlearned"].state for r in left} == {"measured"}


def test_groups_have_rows_of_their_own(known: Memorised) -> None:
    kinds = {"first": FORGET[:20], "other": np.array(FORGET[20:])}
    report = known.audit(retrained=known.retrained[:3], kinds=kinds, forget=tuple(reversed(FORGET)))
    assert report.document["request"]["kinds"] == {"first": 20, "other": 30}
    for key in ("accuracy_forget", "loss", "d2_margin"):
        every = readings(report, key)["original"].estimate.value
        first, other = (readings(report, key, g)["original"].estimate for g in kinds)
        if key != "d2_margin":
            assert every == pytest.approx((20 * first.value + 30 * other.value) / 50)
            assert first.low < first.value < first.high or first.value in (0.0, 1.0)
    assert [r["kind"] for r in report.document["records"]] == ["other"] * 30 + ["first"] * 20
    assert readings(report, "accuracy_forget", "first")["unlearned"].estimate.value == 1.0


def test_a_kind_of_all_records_has_the_row_of_all(known: Memorised) -> None:
    report = known.audit(retrained=known.retrained[:3], kinds={"every": FORGET})
    for key in ("accuracy_forget", "loss", "d2_margin"):
        for who, reading in readings(report, key).items():
            # as text, since a distance has no interval
            assert str(readings(report, key, "every")[who]) == str(reading)


def stable(report: Report) -> dict[str, Any]:
    """The document without what time and load decide."""
    return {k: v for k, v in report.document.items() if k not in ("created", "cost")}


def test_a_seed_fixes_the_report(known: Memorised) -> None:
    one, repeated, other = (known.audit(known.steered, retrained=known.retrained[:2], seed=s) for s in (4, 4, 5))
    assert stable(one) == stable(repeated) != stable(other)
    assert known.audit(known.steered).seed == known.steered.seed


def test_the_order_of_the_request_does_not_matter(known: Memorised) -> None:
    shuffled = tuple(np.random.default_rng(0).permutation(FORGET).tolist())
    one, other = (known.audit(forget=f, retrained=known.retrained[:3]) for f in (FORGET, shuffled))
    assert one.document["request"] == other.document["request"]
    for a, b in zip(one.metrics, other.metrics, strict=True):
        for first, second in ((a.original, b.original), (a.unlearned, b.unlearned), (a.retrained, b.retrained)):
            assert first.state == second.state
            # a copy that is trained on records in another order differs by rounding, which training enlarges
            near = 1e-3 if a.key == "relearn" else 1e-6
            for e, f in [(first.estimate, second.estimate)] if first.estimate and second.estimate else []:
                assert e.value == pytest.approx(f.value, rel=near), a.key
    rows = [{r["record"]: r for r in report.document["records"]} for report in (one, other)]
    assert rows[0].keys() == rows[1].keys()
    for name, row in rows[0].items():
        assert row["rank_original"] == pytest.approx(rows[1][name]["rank_original"])
        assert row["margin_retrained"] == pytest.approx(rows[1][name]["margin_retrained"])


def test_the_report_is_valid_and_saved(known: Memorised, tmp_path: Path) -> None:
    report = known.audit(
        known.steered, retrained=known.retrained[:3], retrain_cost=PhaseCost(2.0, 4.0), kinds={"a": FORGET[:9]}
    )
    validate(report.document)
    data, page = report.save(tmp_path / "new")
    assert json.loads(data.read_text()) == report.document
    assert page.read_text(encoding="utf-8").lstrip().startswith("<!")
    assert report.document["method"]["key"] == "steer"
    cost = report.document["cost"]
    assert cost["retrain"] == {"models": 3, "cpu_s_each": 4.0, "wall_s_each": 2.0}
    total = cost["unlearn"]["total"]
    assert 0 < total["record_trainings"] == pytest.approx((total["forward"] + 2 * total["backward"]) / 3)
    assert cost["ratio_cpu"] == pytest.approx(known.steered.cost.cpu_s / 4.0)
    phases = cost["audit"]["phases"]
    assert phases["references"]["backward"] > 0
    # all that learns while scoring are copies: original, unlearned and three retrained, each on forget and like records
    assert phases["scoring"]["backward"] == 5 * 2 * len(FORGET) * MAX_STEPS
    validate(known.audit(level="quick", task=replace(known.task, test=None)).document)


def test_one_model_is_not_taken_twice(known: Memorised) -> None:
    same = known.retrained[0]
    cases: list[tuple[dict[str, Any], str]] = [
        ({"retrained": [same, copy.deepcopy(same)]}, "retrained[1] is retrained[0]"),
        ({"unlearned": same, "retrained": [known.original, same]}, "retrained[0] is the original"),
        ({"unlearned": same, "retrained": [known.original, same]}, "retrained[1] is the unlearned model"),
        ({"references": [same, same]}, "references[1] is references[0]"),
    ]
    for others, problem in cases:
        with pytest.raises(RequestError) as refused:
            known.audit(**others)
        assert any(p.startswith(f"{problem}: the audit needs") for p in refused.value.problems)


def test_identical_weights_are_noted(known: Memorised) -> None:
    said = "bit for bit the original's: nothing was unlearned"
    for report in (known.audit(known.noop), known.audit(), known.audit(unlearned=copy.deepcopy(known.original))):
        assert any(said in n for n in report.document["notes"])
        assert said in report.verdict.reasons[0] and said not in "".join(report.verdict.reasons[1:])
    assert not any("bit for bit" in n for n in known.audit(unlearned=known.retrained[0]).document["notes"])


def test_ids_are_kept_out_of_the_report_where_asked(known: Memorised, tmp_path: Path) -> None:
    names = [f"patient-{i}" for i in range(TRAIN)]
    asked = tuple(names[i] for i in FORGET)
    ask = {"task": replace(known.task, ids=names), "forget": asked, "kinds": {"some": asked[:9]}}
    hidden, shown = known.audit(**ask, show_ids=False), known.audit(**ask)
    for path in hidden.save(tmp_path / "hidden"):
        assert "patient" not in path.read_text(encoding="utf-8")
    rows = hidden.document["records"]
    assert len({r["record"] for r in rows}) == len(FORGET) and {r["id"] for r in rows} == {None}
    assert [r["id"] for r in shown.document["records"]] == list(asked)
    assert [r["record"] for r in shown.document["records"]] == [r["record"] for r in rows]
    assert all("patient-3" in path.read_text(encoding="utf-8") for path in shown.save(tmp_path / "shown"))


def test_a_report_says_who_used_which_records(known: Memorised) -> None:
    result = known.steered
    splits = result.splits
    uses = {u["who"]: u for u in known.audit(result).document["uses"]}
    expected = {
        "method: its reference model": splits.reference,
        "method: retain records that its reference never saw": splits.heldout_retain,
        "method: calibration of its targets": splits.calibration,
        "stop rule": splits.stopping,
        "audit: never-seen records to compare with": splits.audit,
        "audit: its reference models": splits.audit_reference,
    }
    for who, at in expected.items():
        assert (uses[who]["records"], uses[who]["digest"]) == (len(at), ids_digest(at.tolist())), who
    assert uses.keys() - expected.keys() == {"audit: accuracy on retain"}
    others = [u["who"] for u in known.audit(unlearned=result.model).document["uses"]]
    assert all(who.startswith("audit: ") for who in others), "of an unknown run nothing is claimed"


def test_a_report_names_every_model_that_had_a_part(known: Memorised) -> None:
    document = known.audit(known.steered, retrained=known.retrained[:2], references=3).document
    models = {m["what"]: m["digest"] for m in document["models"]}
    assert list(models) == [
        "original",
        "unlearned",
        "reference of the method and the stop rule",
        *(f"reference {i} of the audit" for i in range(3)),
        *(f"retrained {i}, handed in" for i in range(2)),
    ]
    assert (models["original"], models["unlearned"]) == tuple(document["weights"][k] for k in ("original", "unlearned"))
    digests = [d for d in models.values() if d is not None]
    assert len(set(digests)) == len(digests) == 6


def test_a_report_that_cannot_be_saved_says_where_and_why(known: Memorised, tmp_path: Path) -> None:
    report = known.audit(known.steered, level="quick")
    (tmp_path / "file").write_text("mine")
    for place, said in (
        (tmp_path / "file", "is not a folder"),
        (tmp_path / "file" / "below", f"cannot be made in {tmp_path / 'file'}"),
    ):
        with pytest.raises(EffaceError, match=f"{place}: the report cannot be saved there: {said}"):
            report.save(place)
    (tmp_path / "taken" / "report.json").mkdir(parents=True)
    with pytest.raises(EffaceError, match="the report cannot be saved there: Is a directory"):
        report.save(tmp_path / "taken")
    for wrong in (None, 3, "a\0b"):
        with pytest.raises(RequestError, match="folder: "):
            report.save(wrong)  # type: ignore[arg-type]
        with pytest.raises(RequestError, match="path: "):
            known.steered.save(wrong)  # type: ignore[arg-type]
    assert (tmp_path / "file").read_text() == "mine"
    assert len(report.save(tmp_path / "new" / "below")) == 2
