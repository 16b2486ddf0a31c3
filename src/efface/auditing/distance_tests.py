"""Rungs of the ladder made of distances to retrained models: of this model, and of others by the same method."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from efface.auditing.ensemble_outputs import CELLS, Cell, Statistics
from efface.auditing.verdict import EQUIVALENCE, LEVEL, AuditTest, uninformative_reason
from efface.metrics.distance import chance_error, excess_d2, permutation, residual_distance
from efface.types import Estimate

MARGIN = 0.25  # share of doing nothing's squared distance that counts as no effect: half of its distance
FAR = 5.0  # standard deviations; see `recipe_mismatch`
UNIT = "share left of doing nothing's excess d2"
DECIDING = tuple(c for c in CELLS if c.decides)

Sides = tuple[Mapping[str, Tensor], Mapping[str, Tensor], Mapping[str, Tensor]]


def distance_tests(seen: Statistics, test_count: int, foreign: str, seed: int) -> list[AuditTest]:
    """Rungs of this model and, where others were made by its method, of those; a model must pass `tests` in all.

    `foreign` says why distances say nothing, if so: see `recipe_mismatch`.
    """
    found = _family((seen.own[0], seen.own[1], seen.retrained), True, test_count, foreign, seed)
    if seen.remade:
        found += _family((seen.original, seen.unlearned, seen.retrained), False, test_count, foreign, seed)
    return found


def recipe_mismatch(seen: Statistics) -> str:
    """Why the models trained for the audit are not like the original, by the margins on test records; empty if so.

    Forgetting hardly moves those. An original whose distance to the models that Task.fit makes is farther than FAR
    standard deviations beyond theirs to each other was trained by something else; distances to such models then say
    nothing of forgetting. Far is far: a false alarm would silence the strongest tests.
    """
    alike = (seen.original if seen.remade else seen.retrained)["test"]
    ours = excess_d2(seen.own[0]["test"], alike)
    theirs = torch.tensor([excess_d2(alike[i : i + 1], _without(alike, i)) for i in range(len(alike))])
    if not ours > float(theirs.mean() + FAR * theirs.std()):
        return ""
    return (
        f"the original is not like models trained by Task.fit (excess d2 {ours:.2f} on test records, theirs to each "
        f"other at most {float(theirs.max()):.2f}): distances to models trained so say nothing"
    )


def _without(rows: Tensor, i: int) -> Tensor:
    return torch.cat([rows[:i], rows[i + 1 :]])


def _family(sides: Sides, of_model: bool, test_count: int, foreign: str, seed: int) -> list[AuditTest]:
    deciding = [c for c in DECIDING if c.key in sides[2]]
    ps = permutation({c.key: (sides[1][c.key], sides[2][c.key]) for c in deciding}, seed)
    return [test for c in deciding if (test := _rung(c, sides, of_model, test_count, foreign, ps[c.key])) is not None]


def _rung(
    cell: Cell, sides: Sides, of_model: bool, test_count: int, foreign: str, p: tuple[float, float]
) -> AuditTest | None:
    """The share left, with intervals over models; None where the retrained models do not differ, so have no unit."""
    original, unlearned, retrained = (s[cell.key] for s in sides)
    paired = not of_model  # the method's models come each from an original of its own
    wide, narrow = (residual_distance(original, unlearned, retrained, level, paired) for level in (LEVEL, EQUIVALENCE))
    whole = wide.original.value
    if not math.isfinite(whole):
        return None
    share, equivalence_interval = wide.share, narrow.share
    if not wide.informative:
        # a share of what may be nothing means nothing: of the most that doing nothing may be, it does
        whole = wide.original.high if wide.original.high > 0 else 1.0
        share, equivalence_interval = _scaled(wide.unlearned, whole), _scaled(narrow.unlearned, whole)
    before, control = (_scaled(e, whole) for e in (wide.original, wide.retrained))
    nothing = before if wide.informative else Estimate(0.0, 0.0, 0.0, LEVEL)
    error = chance_error(retrained, len(unlearned)) / whole
    told = foreign or uninformative_reason(nothing, error, MARGIN, test_count, len(retrained) - 1)
    control_failed = bool(foreign) or control.low > 0
    return AuditTest(
        key=f"d2_{cell.key}" if of_model else f"method_d2_{cell.key}",
        title=f"{'Excess d2' if of_model else 'Method: excess d2'}, {cell.title}",
        kind="distance",
        unit=UNIT,
        original=before,
        unlearned=share,
        equivalence_interval=equivalence_interval,
        margin=MARGIN,
        p=p[0],
        retrained=control,
        uninformative_reason=told or ("held-out retrained models fail this test" if control_failed else ""),
        control_failed=control_failed,
        of_model=of_model,
        p_adjusted=p[1],
    )


def _scaled(e: Estimate, unit: float) -> Estimate:
    return Estimate(e.value / unit, e.low / unit, e.high / unit, e.level)
