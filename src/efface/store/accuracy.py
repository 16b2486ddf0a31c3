"""The accuracy gate: whether a new model lost more holdout accuracy than a store allows. Light to import."""

from collections.abc import Mapping, Sequence
from math import comb, fsum
from typing import Any

CHANCE = 0.05  # a loss that balanced changes would exceed this often is put down to chance


Answer = tuple[int, float]  # of one record: the answer as a number, and how good it is, for classes 1 if right, else 0


def drift_values(now: Sequence[Answer], first: Sequence[Answer]) -> dict[str, Any]:
    """Compare two models' answers to the same records, of which there is at least one.

    Args:
        now: the answers of the new model.
        first: those of the first model of the lineage.

    Returns:
        `changed`: share of answers that differ, from 0 to 1. `accuracy`: mean change of how good the answers are, for
        classes from -1 to 1, negative where it fell. `records`: how many records were compared. `lost` and `won`: how
        many answers are worse than before, for classes wrong in place of right, and the reverse. `collapsed`: whether
        all answers are the same where the first model gave several.
    """
    rows = [(n, f, good - was_good) for (n, good), (f, was_good) in zip(now, first, strict=True)]
    lost, won = sum(change < 0 for _, _, change in rows), sum(change > 0 for _, _, change in rows)
    gives_several = len({n for n, _, _ in rows}) > 1 or len({f for _, f, _ in rows}) == 1
    return {
        "changed": sum(n != f for n, f, _ in rows) / len(rows),
        "accuracy": fsum(change for _, _, change in rows) / len(rows),
        "records": len(rows),
        "lost": lost,
        "won": won,
        "collapsed": not gives_several and _tail(lost, 0) <= CHANCE,
    }


def accuracy_problem(drift: Mapping[str, Any], limit: float) -> str | None:
    """Why a model lost too much holdout accuracy to go into service; None if it did not, or nothing was compared.

    As many answers may have become worse as the limit allows. The others must outnumber those that
    became better by more than chance explains, by the exact sign test: a few records of a small holdout refuse no
    model. Where answers may be more or less right, as real values are, the mean must have fallen past the limit too.

    Args:
        drift: what `drift_values` returned.
        limit: the largest loss of accuracy, from 0 to 1; 1 allows any model.
    """
    if "missing" in drift or limit >= 1:
        return None
    allowed = int(limit * drift["records"] + 1e-9)
    excess = drift["lost"] - allowed
    if drift["accuracy"] < -limit and excess > drift["won"] and _tail(excess, drift["won"]) <= CHANCE:
        return (
            f"holdout accuracy fell by {-drift['accuracy']:.3f} against the first model of the lineage, which is past "
            f"the limit of {limit:.3f}"
        )
    # where most records are of one class, accuracy alone does not show it
    if drift["collapsed"]:
        return f"the model answers all {drift['records']:,} holdout records that were compared alike"
    return None


def _tail(worse: int, better: int) -> float:
    """How often at least `worse` of `worse + better` changes are for the worse where both ways are as likely."""
    changes = worse + better
    ways = sum(comb(changes, k) for k in range(worse, changes + 1))
    return ways / (1 << changes)
