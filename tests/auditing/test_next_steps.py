"""What an audit advises after each conclusion that is no yes, and that each line says how."""

import dataclasses
import re
from typing import Any

import pytest

from efface import RequestError
from efface.auditing.audit_test import AuditTest, adjust_tests
from efface.auditing.config import Level
from efface.auditing.next_steps import Circumstances, next_steps
from efface.auditing.verdict import Forgotten, Status, decide
from efface.methods import SSD, Fisher, Noop, Retrain, Steer, get
from efface.types import Estimate
from helpers.audit_tests import CLEARED, FAR, KNOWN, OFF, SMALL, WIDE, change, make_test, near

LOST = near(-0.2, 0.01)
OVER = make_test(0.3, -0.2)
PLAIN = Circumstances(
    level=Level.STANDARD,
    records=60,
    retrained=0,
    models=32,
    method=Steer(),
    unchanged=False,
    barred=False,
    lost_accuracy=False,
)


def advice(tests: list[AuditTest], utility: Estimate | None = None, **changes: Any) -> tuple[str, ...]:
    at = dataclasses.replace(PLAIN, lost_accuracy=utility is not None, **changes)
    adjusted = adjust_tests(tests)
    verdict = decide(adjusted, change(utility), Forgotten(at.records), "them", "no random sample" if at.barred else "")
    return next_steps(verdict, adjusted, at)


@pytest.mark.parametrize(
    ("tests", "changes", "begins"),
    [
        ([CLEARED, OFF], {}, []),
        ([KNOWN, OFF], {}, ["let the method go farther, for example with spare=0.009", "try another", "train anew"]),
        ([OVER, OFF], {}, ["let the method go less far, for example with spare=0.001", "try another", "train anew"]),
        ([CLEARED, OFF, FAR], {}, ["let the method go farther", "try another", "train anew"]),
        ([KNOWN, OVER], {}, ["try another", "train anew"]),
        ([CLEARED, OFF], {"utility": LOST}, ["let the method go less far", "try another", "train anew"]),
        ([KNOWN, OFF], {"utility": LOST}, ["try another", "train anew"]),
        ([KNOWN, OFF], {"method": None}, ["try another", "train anew"]),
        ([KNOWN, OFF], {"method": Noop()}, ["erase the records first", "train anew"]),
        ([KNOWN, OFF], {"method": Retrain()}, ["let Task.build_model make an untrained network"]),
        ([KNOWN, OFF], {"unchanged": True}, ["erase the records first", "train anew"]),
        ([WIDE, OFF], {}, ["audit at level strong", "give two or more models", "give more records", "train anew"]),
        ([WIDE, OFF], {"retrained": 2}, ["audit at level strong", "give more records", "train anew"]),
        ([WIDE, OFF], {"level": Level.STRONG}, ["make larger ensembles: ", "give more records", "train anew"]),
        ([WIDE, OFF], {"level": Level.QUICK}, ["audit at level standard", "train anew"]),
        ([KNOWN], {"barred": True, "level": Level.QUICK}, ["audit at level standard", "train anew"]),
        ([SMALL], {}, ["audit at level strong", "give two or more", "give more records", "train anew"]),
        ([], {}, ["give reference models", "train anew"]),
        (
            [CLEARED, OFF],
            {"records": 12},
            [
                "try the method that made the model on other records",
                "fewer than 30 records (or persons) sh",
                "train anew",
            ],
        ),
        ([CLEARED, OFF], {"records": 12, "rehearsed": True}, ["fewer than 30 records", "train anew"]),
    ],
)
def test_every_answer_that_is_no_yes_says_what_to_do(
    tests: list[AuditTest], changes: dict[str, Any], begins: list[str]
) -> None:
    steps = advice(tests, **changes)
    assert [step[: len(b)] for step, b in zip(steps, begins, strict=True)] == begins, steps
    for step in steps:
        assert "\n" not in step and len(step) < 300
        assert re.search(r"--\w|=|efface \w+|Task\.\w+", step), "names an option, a keyword or a command"


@pytest.mark.parametrize("tests", [[KNOWN, OFF], [OVER, OFF]])
@pytest.mark.parametrize("method", [Steer(), SSD(), Fisher(), get("influence"), get("perturb"), get("neggrad_plus")])
def test_the_advised_option_can_be_given_and_moves_the_right_way(tests: list[AuditTest], method: Any) -> None:
    first = advice(tests, method=method)[0]
    [(kind, name, word)] = re.findall(r"method=efface\.methods\.(\w+)\((\w+)=([^)]+)\)", first)
    assert re.findall(r"\(--option (\w+=\S+)\)", first) == [f"{name}={word}"] and kind == type(method).__name__
    changed = get(method.key, {name: word})
    farther = getattr(changed, name) > getattr(method, name)
    assert farther == ((tests[0] is KNOWN) != (name == "select")), "fewer weights pass a higher threshold"


@pytest.mark.parametrize("status", [Status.VERIFIED_BY_REHEARSAL, Status.NO_TRACE_FOUND])
def test_after_what_a_rehearsal_settles_there_is_nothing_to_do(status: Status) -> None:
    verdict = decide(adjust_tests([CLEARED, OFF]), None, Forgotten(3), "them")
    assert next_steps(dataclasses.replace(verdict, status=status), [CLEARED, OFF], PLAIN) == ()


def test_no_option_is_advised_beyond_its_range() -> None:
    most = Steer(spare=1e3, beyond=10.0, rounds=100, steps=10_000)
    with pytest.raises(RequestError):
        Steer(steps=20_000)
    assert "beyond=10 " in advice([KNOWN, OFF], method=dataclasses.replace(most, beyond=5.0))[0]
    assert advice([KNOWN, OFF], method=most)[0].startswith("try another")
