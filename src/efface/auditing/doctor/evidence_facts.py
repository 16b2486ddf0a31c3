"""Facts about evidence: which levels of audit are possible, and how many records a test would need."""

import math
from collections.abc import Iterator

import numpy as np
from torch import nn

from efface.attacks import ATTACKS
from efface.auditing.audit_test import CONFIDENCE, uninformative_reason
from efface.auditing.config import AUC_MARGIN, Level
from efface.auditing.doctor.examination import Fact
from efface.auditing.references import MIN_REFERENCE_RECORDS
from efface.auditing.verdict import MIN_RECORDS
from efface.data.limits import MAX_SHARE
from efface.data.splits import Splits, make_splits, spread
from efface.metrics.membership import conditional_auc
from efface.models.running import logits_of, unseen_logits
from efface.request import Request
from efface.runtime.cost import Meter
from efface.runtime.printing import how_many_do
from efface.types import Estimate

SIZES = (30, 60, 100, 150, 200, 300, 400, 600, 1000, 1500, 2000, 3000, 5000, 10_000)
MOST = 2000  # training records that stand for a request
# why a test could clear no request of random records
FEW_NEVER_SEEN = "too few never-seen records"
FEW_TRAINING = "too few training records for a request of the size that a test needs"
FEW_BOTH = "too few never-seen records, and too few training records for a request of the size that a test needs"
TOO_LITTLE = "doing nothing shows too little"


def splits_of(request: Request) -> Splits:
    """The parts of a default run of a request."""
    return make_splits(request.forget, len(request.train), len(request.holdout), 0)


def can_train_references(splits: Splits) -> bool:
    """Whether an audit of a run could train reference models, without which only level quick is possible."""
    return len(splits.audit_reference) >= MIN_REFERENCE_RECORDS


def level_facts(request: Request, splits: Splits) -> Iterator[Fact]:
    """Which levels of audit are possible."""
    has_references = can_train_references(splits)
    strong = has_references and request.task.fit is not None
    levels = [Level.QUICK, *[Level.STANDARD] * has_references, *[Level.STRONG] * strong]
    yield Fact("audit", "levels", [str(x) for x in levels], f"possible levels: {', '.join(levels)}")
    never_seen = len(np.setdiff1d(splits.audit, request.shared))
    yield Fact(
        "audit",
        "never_seen_records",
        never_seen,
        f"{how_many_do(never_seen, 'holdout record')} left for the audit alone",
    )


def size_facts(original: nn.Module, request: Request, splits: Splits) -> Iterator[Fact]:
    """How much doing nothing shows on random training records, and how many records a test would need to clear a model.

    Records of a request that was not drawn at random may show more or less. The margin alone is read, at unequal
    difficulty, so that the attacks of an audit mostly show more than this.
    """
    at = spread(len(request.train), MOST)
    never_seen = np.sort(np.setdiff1d(splits.audit, request.shared))
    task, meter = request.task, Meter()
    known = unseen_logits(task, original, request.train, at, len(request.forget), meter)
    unseen = logits_of(task, original, request.holdout, never_seen, meter)
    scores = [
        task.rules.margin(known, request.train.targets(at)),
        task.rules.margin(unseen, request.holdout.targets(never_seen)),
    ]
    effect = conditional_auc(scores[0], scores[1]).effect().estimate(CONFIDENCE)
    shown = f"on random training records doing nothing shows {effect.value:+.3f} of AUC by the margin alone"
    yield Fact("audit", "doing_nothing", [effect.value, effect.low, effect.high], shown)
    most = int(MAX_SHARE * len(request.train))
    least = least_size(effect, len(never_seen), most)
    shortage = "" if least is not None else why_none(effect, len(never_seen), most)
    yield Fact("audit", "no_request_because", shortage)
    if shortage:
        words = (
            f"but a test could clear no request of random records here ({shortage}), and a verdict of 'verified' is "
            "not to be expected; a request of records that the model memorised may show more"
        )
    else:
        words = f"so a test could clear requests from about {least:,} random records"
    yield Fact("audit", "least_request", least, f"{words}; fewer than {MIN_RECORDS} are never verified by themselves")


def least_size(effect: Estimate, nonmembers: float, most: float) -> int | None:
    """The least of SIZES with which a test of this effect could clear a model; None if there is none up to `most`.

    Args:
        effect: What doing nothing shows, as an AUC less 0.5.
        nonmembers: Never-seen records of the audit.
        most: The largest request that is supported.
    """
    tests = sum(a.decides[0] for a in ATTACKS)
    allowed = min(AUC_MARGIN, abs(effect.value) / 2)
    for size in SIZES:
        error = math.sqrt((1 / size + 1 / max(nonmembers, 1)) / 12)
        if size <= most and not uninformative_reason(effect, error, allowed, tests):
            return size
    return None


def why_none(effect: Estimate, nonmembers: int, most: int) -> str:
    """What is to blame where there is no `least_size`: what would mend it if there were any number of it.

    Args:
        effect: What doing nothing shows, as an AUC less 0.5.
        nonmembers: Never-seen records of the audit.
        most: The largest request that is supported.
    """
    if least_size(effect, math.inf, most) is not None:
        return FEW_NEVER_SEEN
    if least_size(effect, nonmembers, math.inf) is not None:
        return FEW_TRAINING
    return TOO_LITTLE if least_size(effect, math.inf, math.inf) is None else FEW_BOTH
