"""Tests of an audit with the effects and errors that a test needs, and some that come to each outcome."""

import dataclasses
from typing import Any

from scipy.stats import norm

from efface.auditing.attack_tests import margin_of
from efface.auditing.audit_test import AuditTest, uninformative_reason
from efface.auditing.distance_tests import DISTANCE_MARGIN
from efface.auditing.verdict import Change
from efface.types import Estimate

HALF = 0.03


def near(value: float, half: float, level: float = 0.95) -> Estimate:
    return Estimate(value, value - half, value + half, level)


def change(estimate: Estimate | None, of: str = "accuracy") -> Change | None:
    """A change of utility, where it was measured."""
    return None if estimate is None else Change(estimate, of)


def error_of(half: float) -> float:
    return half / float(norm.ppf(0.975))


def make_test(
    before: float,
    after: float,
    half: float = HALF,
    title: str = "Loss attack",
    improvement: Estimate | None = None,
    **changes: Any,
) -> AuditTest:
    """An attack whose intervals are `half` wide on either side; that of the equivalence test is a little narrower."""
    original = near(before, half)
    margin = margin_of(original)
    defaults = {
        "key": title,
        "title": title,
        "kind": "attack",
        "unit": "AUC",
        "original": original,
        "unlearned": near(after, half),
        "equivalence_interval": near(after, half * norm.ppf(0.95) / norm.ppf(0.975), 0.9),
        "margin": margin,
        "p": float(2 * norm.sf(abs(after) / error_of(half))),
        "improvement": improvement or near(before - after, half),
        "uninformative_reason": uninformative_reason(original, error_of(half), margin, 1),
    }
    return AuditTest(**{**defaults, **changes})  # type: ignore[arg-type]


def distance(after: float, half: float, p: float, **changes: Any) -> AuditTest:
    """What is left of doing nothing's distance; p is adjusted already, as that of a permutation test over all cells."""
    defaults = {
        "kind": "distance",
        "margin": DISTANCE_MARGIN,
        "p": p,
        "p_adjusted": p,
        "improvement": None,
        "uninformative_reason": "",
    }
    return dataclasses.replace(make_test(1.0, after, half, title="Excess d2"), **{**defaults, **changes})


CLEARED = make_test(0.3, 0.01)
OFF = make_test(0.3, 0.01, title="Gap", kind="off_label")
KNOWN = make_test(0.3, 0.2)
SMALL = make_test(0.01, 0.01)  # nothing to be seen even in the original
WIDE = make_test(0.3, 0.055, half=0.059)
NO_BETTER = make_test(0.3, 0.01, improvement=near(0.29, 0.3))
PROBE = make_test(0.3, 0.2, title="Probe", key="probe", kind="off_label")
FAR, NEAR = distance(0.6, 0.1, 0.001), distance(0.1, 0.1, 0.3)
