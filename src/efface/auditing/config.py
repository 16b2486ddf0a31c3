"""The levels, the margin and the default sizes of an audit. Light to import."""

import math
from enum import StrEnum

AUC_MARGIN = 0.10  # an effect on an AUC counts as none only if its whole interval lies within this
TOLERANCE = AUC_MARGIN / 2  # on requests that were not drawn at random; see docs/judge.md
# Raised by hand when ranks beside partners are measured in another way; those of different numbers are not pooled.
RANK_STATISTIC = 1
REFERENCES = 4  # reference models that an audit trains
MAX_HEAD = 2000  # limit of retain records that a last layer is fitted to
MODELS = 32  # models of each ensemble at level strong
MIN_ENSEMBLE = 8  # the fewest for which distances between ensembles are tested
FALSE_DISCOVERY = 1 - 0.95  # expected share of false ones among records that are flagged by id
NO_FIT = "level strong trains models as the original was trained: give Task.fit, or use level standard"


class Status(StrEnum):
    """The conclusion of an audit, as one word."""

    VERIFIED = "verified"
    VERIFIED_BY_REHEARSAL = "verified_by_rehearsal"  # the process that made the model is, on records of the same kind
    NO_TRACE_FOUND = "no_trace_found"  # there was nothing to see, before or after
    NOT_VERIFIED = "not_verified"
    UNDECIDED = "undecided"


class Level(StrEnum):
    """How much an audit spends on evidence."""

    QUICK = "quick"  # no extra models; only requests that look like a random sample
    STANDARD = "standard"  # a few reference models
    STRONG = "strong"  # ensembles of originals, unlearned and retrained models


def least_flagged(records: int, nonmembers: int) -> int:
    """How many forget records must score as high as can be so that any is flagged; 1 if each can be flagged alone.

    It follows from the least p value that a record can have, 1 / (nonmembers + 1), and Benjamini and Hochberg's method.

    Args:
        records: Number of forget records.
        nonmembers: Number of never-seen records that each is compared with.
    """
    return math.ceil(records / (FALSE_DISCOVERY * (nonmembers + 1)))


def level_problem(level: object) -> str | None:
    """Why `level` names no level of audit; None where it names one."""
    known = [str(x) for x in Level]
    return None if level in known else f"level: expected one of {', '.join(known)}, got {level!r}"
