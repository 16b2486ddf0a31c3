"""Tests made from distances to retrained models: of the judged model, and of other models by the same method."""

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from efface.auditing.audit_test import CONFIDENCE, EQUIVALENCE, AuditTest, uninformative_reason
from efface.auditing.ensemble_outputs import CELLS, Cell, Statistics
from efface.kinds import Kind
from efface.metrics.distance import chance_error, excess_d2, permutation, residual_distance
from efface.types import Estimate

DISTANCE_MARGIN = 0.25  # largest share of the original's squared distance that counts as none: half of its distance
FAR = 5.0  # standard deviations; see `recipe_mismatch`
UNIT = "share left of doing nothing's excess d2"
DECIDING = tuple(c for c in CELLS if c.decides)

# statistics of originals, unlearned and retrained models, by the key of a cell
Sides = tuple[Mapping[str, Tensor], Mapping[str, Tensor], Mapping[str, Tensor]]


def count_distance_tests(of_method: bool) -> int:
    """The largest number of distance tests; `of_method` says whether there are ensembles by the method."""
    return len(DECIDING) * (2 if of_method else 1)


def distance_tests(statistics: Statistics, test_count: int, mismatch: str, seed: int) -> list[AuditTest]:
    """Make the tests of the judged model and, if there are ensembles by its method, those of the ensembles.

    p values are adjusted within each of the two families.

    Args:
        statistics: The statistics of all models.
        test_count: How many tests a model must pass in all.
        mismatch: Why distances say nothing, from `recipe_mismatch`; empty if they do say something.
        seed: Seed of the permutations.
    """
    original, unlearned = statistics.own
    tests = _family((original, unlearned, statistics.retrained), True, test_count, mismatch, seed, statistics.rules)
    if statistics.of_method:
        sides = statistics.original, statistics.unlearned, statistics.retrained
        tests += _family(sides, False, test_count, mismatch, seed, statistics.rules)
    return tests


def recipe_mismatch(statistics: Statistics) -> str:
    """Why the models trained for the audit are not comparable with the original; empty if they are.

    Margins on test records decide, since forgetting hardly changes them. If the original's distance to the models that
    Task.fit makes is more than FAR standard deviations beyond their distances to each other, it was trained by
    something else, and distances to those models say nothing about forgetting. FAR is large because a false alarm would
    make the strongest tests uninformative.
    """
    alike = (statistics.original if statistics.of_method else statistics.retrained)["test"]
    own = excess_d2(statistics.own[0]["test"], alike)
    each = torch.tensor([excess_d2(alike[i : i + 1], _leave_out(alike, i)) for i in range(len(alike))])
    if not own > float(each.mean() + FAR * each.std()):
        return ""
    return (
        f"the original is not like models trained by Task.fit (excess d2 {own:.2f} on test records, theirs to each "
        f"other at most {float(each.max()):.2f}): distances to models trained so say nothing"
    )


def _leave_out(rows: Tensor, i: int) -> Tensor:
    return torch.cat([rows[:i], rows[i + 1 :]])


def _family(sides: Sides, of_model: bool, test_count: int, mismatch: str, seed: int, rules: Kind) -> list[AuditTest]:
    deciding = [c for c in DECIDING if c.key in sides[2]]
    ps = permutation({c.key: (sides[1][c.key], sides[2][c.key]) for c in deciding}, seed)
    tests = [_distance_test(c, sides, of_model, test_count, mismatch, rules) for c in deciding]
    return [replace(t, p=ps[c.key][0], p_adjusted=ps[c.key][1]) for c, t in zip(deciding, tests, strict=True) if t]


def _distance_test(
    cell: Cell, sides: Sides, of_model: bool, test_count: int, mismatch: str, rules: Kind
) -> AuditTest | None:
    """The test of one cell, with intervals over models; None if the retrained models do not differ: no unit."""
    original, unlearned, retrained = (s[cell.key] for s in sides)
    paired = not of_model  # each unlearned model of the ensemble was made from one of the originals
    wide, narrow = (
        residual_distance(original, unlearned, retrained, level, paired) for level in (CONFIDENCE, EQUIVALENCE)
    )
    unit = wide.original.value
    if not math.isfinite(unit):
        return None
    share, equivalence_interval = wide.share, narrow.share
    if not wide.informative:
        # the original's distance may be zero, so no share of it can be stated: use its upper limit as the unit
        unit = wide.original.high if wide.original.high > 0 else 1.0
        share, equivalence_interval = _scaled(wide.unlearned, unit), _scaled(narrow.unlearned, unit)
    before, control = (_scaled(e, unit) for e in (wide.original, wide.retrained))
    nothing = before if wide.informative else Estimate(0.0, 0.0, 0.0, CONFIDENCE)
    error = chance_error(retrained, len(unlearned)) / unit
    reason = mismatch or uninformative_reason(nothing, error, DISTANCE_MARGIN, test_count, len(retrained) - 1)
    control_failed = bool(mismatch) or control.low > 0
    return AuditTest(
        key=f"d2_{cell.key}" if of_model else f"method_d2_{cell.key}",
        title=f"{'Excess d2' if of_model else 'Method: excess d2'}, {cell.title_for(rules)}",
        kind="distance",
        unit=UNIT,
        original=before,
        unlearned=share,
        equivalence_interval=equivalence_interval,
        margin=DISTANCE_MARGIN,
        p=math.nan,
        retrained=control,
        uninformative_reason=reason or ("held-out retrained models fail this test" if control_failed else ""),
        control_failed=control_failed,
        of_model=of_model,
    )


def _scaled(e: Estimate, unit: float) -> Estimate:
    return Estimate(e.value / unit, e.low / unit, e.high / unit, e.level)
