"""What is to be done with twins of forget records: the choices, and their checks. Light to import."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from efface.types import RecordId

TWINS = ("refuse", "forget", "keep")


@dataclass(frozen=True)
class TwinPolicy:
    """What is to be done with training records that have the inputs of a forget record and are not in the request.

    Args:
        twins: `refuse` the request, `forget` the twins too, or `keep` them, which leaves the forget records that have
            one out of the request.
        confirmed: With `forget`, the ids of the twins, which the caller has looked at.
    """

    twins: str = "refuse"
    confirmed: Collection["RecordId"] = ()


def policy_problems(twins: object, confirmed: object, checks: bool = True) -> list[str]:
    """What is wrong with a choice about twins, one line each.

    Args:
        twins: One of TWINS.
        confirmed: Ids of twins.
        checks: Whether all records are compared, without which no twin is found.
    """
    if twins not in TWINS:
        return [f"twins: expected one of {', '.join(TWINS)}, got {twins!r}"]
    problems = []
    if isinstance(confirmed, str | bytes) or not (hasattr(confirmed, "__len__") and hasattr(confirmed, "__iter__")):
        problems.append(f"confirmed: expected the ids of twins, got {confirmed!r}")
    elif len(confirmed) and twins != "forget":
        problems.append(f"confirmed: it names twins to forget, which twins={twins!r} does not: leave one of them out")
    if twins != "refuse" and not checks:
        problems.append(f"twins: {twins!r} needs the pass over all records, which finds the twins: leave checks on")
    return problems


@dataclass(frozen=True)
class Twins:
    """What was done with records of equal inputs.

    Args:
        policy: The choice: `refuse`, `forget` or `keep`.
        forgotten: Ids of the twins that were forgotten beside the request.
        kept: Ids of the forget records whose twin stays in training. They were not worked on, and are in no test, since
            a model that is trained without them knows their inputs all the same.
        holdout: How many holdout records equal training records and were left out.
        test: How many test records equal training or holdout records and were left out.
    """

    policy: str = "refuse"
    forgotten: tuple["RecordId", ...] = ()
    kept: tuple["RecordId", ...] = ()
    holdout: int = 0
    test: int = 0
