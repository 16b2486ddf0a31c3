"""Numbers of methods and judge change only with their version, which committed results name.

Where a test here fails and the change is meant, raise `version` of the method, or JUDGE_VERSION, and make the stored
values again: tests/helpers/store_values.py says how. Another release of torch or numpy may draw other numbers; then
committed results are of other draws too.
"""

import dataclasses
from pathlib import Path

import pytest

from efface.auditing.audit_test import ALPHA
from efface.auditing.verdict import JUDGE_VERSION
from helpers.fixed_audits import audit_case, audits
from helpers.fixed_runs import run_case, small, weights_of
from helpers.method_table import SMALL
from helpers.store_values import update
from helpers.stored import FOLDER, RTOL, Case, deviations, differences, nameless, of_tree, read, write

METHODS, JUDGE = read(FOLDER / "methods.json"), read(FOLDER / "judge.json")
RATES = (
    "lr",
    "travel",
    "scale",
    "alpha",
    "dampen",
)  # the option that a method's step, or its only move, is proportional to
CLEAR = 0.01  # least distance of a decision from its threshold, as a share of it: ten times what may change unseen


def moved(name: str, seed: int = 0, **changes: object) -> float:
    """By how much a change of options or seed moves a method's stored weights."""
    method = dataclasses.replace(small(name), **changes)
    stored = {k: v for k, v in METHODS[name].values.items() if not k.startswith("evaluation.")}
    return max(off for _, off in deviations(stored, weights_of(method, seed=seed)))


def test_every_method_and_audit_is_stored() -> None:
    assert set(METHODS) == set(SMALL)
    assert set(JUDGE) == set(audits())
    assert max(case.size for case in (*METHODS.values(), *JUDGE.values())) <= 2000


@pytest.mark.parametrize("name", SMALL)
def test_a_method_changes_only_with_its_version(name: str) -> None:
    now = run_case(name)
    assert now.version == METHODS[name].version, "make the stored values again"
    assert not differences(METHODS[name], now), "raise the method's version, or find out why its numbers changed"


@pytest.mark.parametrize("name", JUDGE)
def test_the_judge_changes_only_with_its_version(name: str) -> None:
    now = audit_case(audits()[name])
    assert now.version == JUDGE[name].version == JUDGE_VERSION, "make the stored values again"
    assert not differences(JUDGE[name], now), "raise JUDGE_VERSION, or find out why its numbers changed"


@pytest.mark.parametrize("name", [m for m in SMALL if m != "noop"])
def test_stored_values_show_another_seed_and_a_slightly_larger_step(name: str) -> None:
    rate = next(f.name for f in dataclasses.fields(small(name)) if f.name in RATES)
    assert moved(name) <= RTOL
    assert moved(name, seed=1) > 10 * RTOL
    assert moved(name, **{rate: 1.05 * getattr(small(name), rate)}) > 3 * RTOL


def test_audits_come_to_every_verdict_and_none_by_a_hair() -> None:
    reports = audits().values()
    assert {str(r.verdict.status) for r in reports} == {"verified", "not_verified", "undecided"}
    assert {t.outcome for r in reports for t in r.tests} >= {"left", "cleared", "uninformative"}
    for report in reports:
        alike = report.findings.exchangeable
        assert alike is None or abs(alike.p / ALPHA - 1) > CLEAR
        for test in report.tests:
            ends = test.equivalence_interval.high - test.margin, test.equivalence_interval.low + test.margin
            assert min(abs(end) for end in ends) > CLEAR * test.margin, test.key
            assert abs(test.p_adjusted / ALPHA - 1) > CLEAR, test.key


def test_the_stop_rule_decides_nothing_by_a_hair() -> None:
    for name, case in METHODS.items():
        for end in ("low", "high"):
            for seen in case.values.get(f"evaluation.auc.{end}", []):
                assert seen is not None
                assert min(abs(seen - at) for at in (0.45, 0.5, 0.55)) > CLEAR * 0.05, name


def case(version: int = 1, **changes: object) -> Case:
    return of_tree({"rows": [{"key": "a", "p": 0.5}, {"key": "b", "p": 2e-4}], "status": "open", **changes}, version)


def test_a_change_beyond_the_tolerance_is_a_difference() -> None:
    assert case().exact == {"rows.key": ["a", "b"], "status": ["open"]}
    assert case().values == {"rows.p": [0.5, 2e-4]}
    within, beyond = (case(rows=[{"key": "a", "p": 0.5 * f}, {"key": "b", "p": 2e-4}]) for f in (1.0009, 1.0011))
    assert not differences(case(), within) and len(differences(case(), beyond)) == 1
    near_zero, far = (case(rows=[{"key": "a", "p": 0.5}, {"key": "b", "p": p}]) for p in (2.2e-4, 2.3e-4))
    assert not differences(case(), near_zero) and len(differences(case(), far)) == 1
    assert len(differences(case(), case(status="left"))) == 1
    assert len(differences(case(), case(more=0.1))) == len(differences(case(more=0.1), case())) == 1
    assert len(differences(case(), case(rows=[{"key": "a", "p": 0.5}, {"key": "b", "p": None}]))) == 1


def test_files_hold_seven_digits_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    write(path, {"b": case(), "a": case(more=1 / 3)})
    assert list(read(path)) == ["a", "b"]
    assert read(path)["b"] == case()
    assert read(path)["a"].values["more"] == [0.3333333]


def test_changed_values_are_written_only_under_a_raised_version(tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    write(path, {"a": case(), "dropped": case()})
    other = case(status="left")
    assert "status" in update(path, {"a": other}, renamed=False, force=False)[0]
    assert read(path) == {"a": case()}
    assert not update(path, {"a": case(rows=[{"key": "a", "p": 0.5001}, {"key": "b", "p": 2e-4}])}, False, False)
    assert read(path) == {"a": case()}, "what is within the tolerance is no reason to write"
    assert not update(path, {"a": dataclasses.replace(other, version=2), "new": case()}, False, False)
    assert read(path) == {"a": dataclasses.replace(other, version=2), "new": case()}
    assert update(path, {"a": other}, renamed=False, force=False), "a lowered version"
    assert not update(path, {"a": other}, renamed=False, force=True)
    assert read(path)["a"] == other


def test_other_names_of_the_same_numbers_are_accepted_where_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    write(path, {"a": case(more=0.1)})
    renamed, changed = case(extra=0.1), case(extra=0.2)
    assert update(path, {"a": renamed}, renamed=False, force=False)
    assert update(path, {"a": changed}, renamed=True, force=False)
    assert not update(path, {"a": renamed}, renamed=True, force=False)
    assert read(path)["a"] == renamed
    assert not differences(nameless(case(more=0.1)), nameless(renamed))
