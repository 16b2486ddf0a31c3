"""`efface.check` makes the checks of `unlearn`, does nothing, and says which records would go."""

import dataclasses
from typing import Any

import pytest
import torch
from torch.utils.data import Subset, TensorDataset

import efface
from efface import ByGroup, ForgetRecord, RequestError, UnlearnOptions
from helpers.tiny import Tiny, bits

KEYS = [f"person {at // 3}" for at in range(300)]
SHORT = {"options": UnlearnOptions(evaluate=False)}


def test_a_plan_names_each_record_that_would_go(tiny: Tiny) -> None:
    before, state = bits(tiny.model), torch.get_rng_state()
    task = tiny.task(ids=[f"u{i}" for i in range(300)], groups=KEYS, describe=lambda r: f"first {r[0][0]:.1f}\nrow")
    plan = efface.check(tiny.model, task=task, forget=["u9", "u4"])
    assert plan.records == (
        ForgetRecord("u9", 9, int(tiny.y[9]), f"first {tiny.x[9][0]:.1f} row", "person 3"),
        ForgetRecord("u4", 4, int(tiny.y[4]), f"first {tiny.x[4][0]:.1f} row", "person 1"),
    )
    assert plan.warnings[0].startswith("4 other records of the 2 groups")
    assert bits(tiny.model) == before and torch.equal(torch.get_rng_state(), state)
    first, *lines = str(plan).splitlines()
    assert first == (
        "2 of 300 training records would go, by steer; ids are the ids given. All checks passed; nothing was done."
    )
    assert lines[0] == f"  'u9', position 9, label {tiny.y[9]}, group 'person 3': first {tiny.x[9][0]:.1f} row"


def test_a_long_plan_fits_on_a_screen(tiny: Tiny) -> None:
    plan = efface.check(tiny.model, task=tiny.task(), forget=range(50))
    shown = str(dataclasses.replace(plan, warnings=("odd",) * 30)).splitlines()
    assert len(shown) <= 32
    assert "  and 30 more" in shown and shown[-1] == "and 22 more warnings"


@pytest.mark.parametrize(
    ("describe", "said"),
    [
        (lambda r: r["name"], "Task.describe fails for record 5 (TypeError: "),
        (lambda r: 7, "Task.describe: expected text for record 5, got int"),
        ("name", "Task.describe: expected a function, called as describe(record), got str"),
    ],
)
def test_a_description_that_fails_is_one_line(tiny: Tiny, describe: Any, said: str) -> None:
    with pytest.raises(RequestError) as refused:
        efface.check(tiny.model, task=tiny.task(describe=describe), forget=[5, 6])
    (problem,) = refused.value.problems
    assert problem.startswith(said)


def test_check_refuses_what_unlearn_refuses(tiny: Tiny) -> None:
    wrong: dict[str, Any] = {"task": tiny.task(ids=[1.0] * 300), "forget": [True], "method": "ster"}
    found = []
    for call in (efface.check, efface.unlearn):
        with pytest.raises(RequestError) as refused:
            call(tiny.model, **wrong)
        found.append(refused.value.problems)
    assert found[0] == found[1] and len(found[0]) >= 2


def halves(tiny: Tiny) -> dict[str, Any]:
    """Training records and holdout as parts of one data set, in which the holdout comes first."""
    both = TensorDataset(torch.cat([tiny.holdout_x, tiny.x]), torch.cat([tiny.holdout_y, tiny.y]))
    order = [*range(len(tiny.holdout_x), len(both)), *range(len(tiny.holdout_x))]
    return {"train": Subset(both, order[:300]), "holdout": Subset(both, order[300:])}


def test_a_result_and_its_audit_keep_the_numbering_of_a_subset(tiny: Tiny) -> None:
    sets, first = halves(tiny), len(tiny.holdout_x)
    at = list(range(105, 165, 5))  # numbers from 305 on, which are no positions among 300 records
    asked = [first + i for i in at]
    result = efface.unlearn(tiny.model, **sets, forget=asked, **SHORT)
    assert [(r.id, r.position) for r in result.records] == list(zip(asked, at, strict=True))
    assert result.task.ids == "base" and result.splits.forget.tolist() == at
    rows = efface.audit(result, level="quick").document["records"]
    assert [(r["id"], r["position"], r["label"]) for r in rows] == [(first + i, i, int(tiny.y[i])) for i in at]
    plain = efface.unlearn(tiny.model, task=tiny.task(), forget=at, **SHORT)
    assert bits(plain.model) == bits(result.model)


def test_a_numbering_may_stand_beside_a_task(tiny: Tiny) -> None:
    shifted = {"train": Subset(TensorDataset(tiny.x, tiny.y), range(1, 300)), "holdout": halves(tiny)["holdout"]}
    with pytest.raises(RequestError, match="say which, by ids='base' or ids='subset'"):
        efface.check(tiny.model, **shifted, forget=[5, 7])
    task = efface.Task(**shifted)
    assert [r.position for r in efface.check(tiny.model, task=task, ids="base", forget=[5, 7]).records] == [4, 6]
    assert [r.position for r in efface.check(tiny.model, task=task, ids="subset", forget=[5, 7]).records] == [5, 7]


def test_a_request_by_group_is_the_request_for_its_records(tiny: Tiny) -> None:
    task = tiny.task(groups=KEYS)
    result = efface.unlearn(tiny.model, task=task, forget=ByGroup(["person 2", "person 40"]), **SHORT)
    assert result.forget == (6, 7, 8, 120, 121, 122)
    assert [r.group for r in result.records] == ["person 2"] * 3 + ["person 40"] * 3
    assert bits(result.model) == bits(efface.unlearn(tiny.model, task=tiny.task(), forget=result.forget, **SHORT).model)
    report = efface.audit_models(
        tiny.model, result.model, task=task, forget=ByGroup(["person 2", "person 40"]), level="quick"
    )
    assert [r["id"] for r in report.document["records"]] == list(result.forget)
    clusters = report.inputs.request.clusters_of(report.inputs.request.forget)
    assert clusters is not None and clusters.tolist() == [0, 0, 0, 1, 1, 1]


def test_reports_hide_what_names_a_record(tiny: Tiny) -> None:
    names = [f"patient {i}" for i in range(300)]
    names[7] = "Patient 6"
    task = tiny.task(ids=names, describe=lambda _: "with a zebra")
    result = efface.unlearn(tiny.model, task=task, forget=["patient 6", "patient 9"], **SHORT)
    assert any("'Patient 6' stays, 'patient 6' goes: in case" in line for line in result.warnings)
    hidden = efface.audit(result, level="quick", options=efface.AuditOptions(show_ids=False)).document
    assert "zebra" not in str(hidden) and "atient" not in str(hidden)
    assert {(r["id"], r["position"], r["description"]) for r in hidden["records"]} == {(None, None, None)}
    assert any("1 id that stays looks like a requested one" in line for line in hidden["notes"])
    shown = efface.audit(result, level="quick").document["records"]
    assert [(r["id"], r["position"], r["description"]) for r in shown] == [
        ("patient 6", 6, "with a zebra"),
        ("patient 9", 9, "with a zebra"),
    ]
