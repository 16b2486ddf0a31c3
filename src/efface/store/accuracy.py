"""The accuracy gate: whether a new model lost more holdout accuracy than a store allows. Light to import."""

from collections.abc import Mapping, Sequence
from math import comb
from typing import Any

CHANCE = 0.05  # a loss that balanced changes would exceed this often is put down to chance


def drift_values(targets: Sequence[int], now: Sequence[int], first: Sequence[int]) -> dict[str, Any]:
    """Compare two models' answers to the same records, of which there is at least one.

    Args:
        targets: the records' classes.
        now: the classes that the new model predicts.
        first: those that the first model of the lineage predicts.

    Returns:
        `changed`: share of predictions that differ, from 0 to 1. `accuracy`: change of accuracy, from -1 to 1, negative
        where it fell. `records`: how many records were compared. `lost` and `won`: how many answers were right
        before and are wrong now, and the reverse. `collapsed`: whether all answers are one class where the first model
        predicted several.
    """
    rows = list(zip(targets, now, first, strict=True))
    lost = sum(t == f != n for t, n, f in rows)
    won = sum(t == n != f for t, n, f in rows)
    predicts_several = len(set(now)) > 1 or len(set(first)) == 1
    return {
        "changed": sum(n != f for _, n, f in rows) / len(rows),
        "accuracy": (won - lost) / len(rows),
        "records": len(rows),
        "lost": lost,
        "won": won,
        "collapsed": not predicts_several and _tail(lost, 0) <= CHANCE,
    }


def accuracy_problem(drift: Mapping[str, Any], limit: float) -> str | None:
    """Why a model lost too much holdout accuracy to go into service; None if it did not, or nothing was compared.

    As many right answers may have turned wrong as the limit allows. The others must outnumber the wrong answers that
    turned right by more than chance explains, by the exact sign test: a few records of a small holdout refuse no model.

    Args:
        drift: what `drift_values` returned.
        limit: the largest loss of accuracy, from 0 to 1; 1 allows any model.
    """
    if "missing" in drift or limit >= 1:
        return None
    allowed = int(limit * drift["records"] + 1e-9)
    excess = drift["lost"] - allowed
    if excess > drift["won"] and _tail(excess, drift["won"]) <= CHANCE:
        return (
            f"holdout accuracy fell by {-drift['accuracy']:.3f} against the first model of the lineage, which is past "
            f"the limit of {limit:.3f}"
        )
    # where most records are of one class, accuracy alone does not show it
    if drift["collapsed"]:
        return f"the model answers all {drift['records']:,} holdout records that were compared with one class"
    return None


def _tail(worse: int, better: int) -> float:
    """How often at least `worse` of `worse + better` changes are for the worse where both ways are as likely."""
    changes = worse + better
    ways = sum(comb(changes, k) for k in range(worse, changes + 1))
    return ways / (1 << changes)
