"""What to do next after an audit that gives no yes, each as one line with the command or the Python call."""

from collections.abc import Sequence
from dataclasses import dataclass

from efface.auditing.audit_test import AuditTest
from efface.auditing.config import Level
from efface.auditing.verdict import MIN_RECORDS, Status, Verdict
from efface.methods.base import Method
from efface.unlearning.next_steps import OTHER_METHOD, RETRAIN, UNCHANGED_BY_RETRAINING, farther, less_far

UNLEARN = "erase the records first: efface.unlearn(model, forget=..., task=...) (efface unlearn)"
STANDARD = "audit at level standard, which compares records of equal difficulty: level='standard' (--level standard)"
STRONG = (
    "audit at level strong, which compares with ensembles of models: level='strong' (--level strong); it needs "
    "Task.fit, which trains a model as the original was trained"
)
RETRAINED = (
    "give two or more models that were trained without the records, so that effects are measured against them: "
    "retrained=[...] (efface audit --retrained FILE --retrained FILE)"
)
REFERENCES = (
    "give reference models, which saw neither forget nor holdout records: references=[...] (efface audit --references "
    "FOLDER)"
)
HOLDOUT = "give more records in Task.holdout: the more of them, the narrower the intervals"
FEW_RECORDS = (
    f"fewer than {MIN_RECORDS} records (or persons) show too little by themselves: collect requests and erase them "
    "together (efface request add, efface run), or look at each record's rank: report.document['records'] (report.html)"
)
REHEARSE = (
    "try the method that made the model on other records of this kind, which takes 2 to 10 more runs of it: "
    "options=efface.AuditOptions(rehearse=True) (--rehearse; where the method is not known, method=..., --method KEY)"
)


@dataclass(frozen=True)
class Circumstances:
    """What an audit was made with, as far as advice depends on it.

    Args:
        level: Level of the audit.
        records: Number of forget records, or of the groups that they belong to.
        retrained: Number of retrained models that were given.
        models: Number of models of each ensemble at level strong.
        method: The method that made the unlearned model; None if it is not known.
        unchanged: Whether the unlearned weights are the original's.
        barred: Whether attacks do not apply to this request at this level.
        lost_accuracy: Whether the model lost more accuracy than unlearning may cost.
        rehearsed: Whether a rehearsal was wanted.
    """

    level: Level
    records: int
    retrained: int
    models: int
    method: Method | None
    unchanged: bool
    barred: bool
    lost_accuracy: bool
    rehearsed: bool = False


def next_steps(verdict: Verdict, tests: Sequence[AuditTest], at: Circumstances) -> tuple[str, ...]:
    """What to do next; empty after a yes.

    Args:
        verdict: The verdict.
        tests: Its tests.
        at: What the audit was made with.
    """
    if verdict.status in (Status.VERIFIED, Status.VERIFIED_BY_REHEARSAL, Status.NO_TRACE_FOUND):
        return ()
    if at.unchanged:
        return (UNLEARN, RETRAIN)
    if verdict.status is Status.NOT_VERIFIED:
        return _after_failure(tests, at)
    return tuple(dict.fromkeys([*_for_more_evidence(tests, at), RETRAIN]))


def _after_failure(tests: Sequence[AuditTest], at: Circumstances) -> tuple[str, ...]:
    if at.method is not None and at.method.is_control:
        return (UNLEARN, RETRAIN) if not at.method.length else UNCHANGED_BY_RETRAINING
    left = [t for t in tests if t.outcome == "left" and not at.barred]
    too_far = at.lost_accuracy or any(t.side == "over_unlearned" for t in left)
    too_near = any(t.side != "over_unlearned" for t in left)
    tune: tuple[str, ...] = ()
    if at.method is not None and too_far != too_near:  # where both are so, no single option mends it
        tune = less_far(at.method) if too_far else farther(at.method)
    return (*tune, OTHER_METHOD, RETRAIN)


def _for_more_evidence(tests: Sequence[AuditTest], at: Circumstances) -> list[str]:
    """How the next audit could tell more."""
    if at.records < MIN_RECORDS:
        return [*([] if at.rehearsed or at.level is Level.QUICK else [REHEARSE]), FEW_RECORDS]
    if at.barred or at.level is Level.QUICK:
        return [STANDARD]
    if not tests:
        return [REFERENCES]
    if at.level is Level.STRONG:
        more = 2 * at.models
        return [f"make larger ensembles: options=efface.AuditOptions(models={more}) (--models {more})", HOLDOUT]
    return [STRONG, *([RETRAINED] if at.retrained < 2 else []), HOLDOUT]
