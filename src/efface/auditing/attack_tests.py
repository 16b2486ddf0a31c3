"""Tests made from the attacks: effects on an AUC, against retrained models or against 0.5, with their controls."""

import math
from collections.abc import Sequence

import torch

from efface.attacks import ATTACKS, Attack
from efface.auditing.audit_test import (
    ALPHA,
    CONFIDENCE,
    EQUIVALENCE,
    AuditTest,
    uninformative_reason,
)
from efface.auditing.config import AUC_MARGIN, TOLERANCE
from efface.auditing.scores import MIN_TARGETS, Scores
from efface.metrics.membership import AucResult, Effect, mean_auc, prediction_interval
from efface.types import Estimate

MIN_HELD_OUT = 3  # the fewest retrained models for which each is held out and judged against the others
UNIT = "AUC less that of a model that never saw the records"


def attack_tests(scores: Scores, other_tests: int = 0, chosen: bool = False) -> list[AuditTest]:
    """Make a test of each deciding attack that can be measured; p values are not adjusted yet.

    Args:
        scores: The attacks on all models.
        other_tests: How many further tests a model must pass.
        chosen: Whether the request does not look like a random sample. Difficulty is measured with error, so records
            that were chosen because they are difficult seem less known than never-seen records do. Without retrained
            models, a test then fails a model only for an effect beyond TOLERANCE, and the equivalence interval is
            widened by TOLERANCE on both sides.
    """
    measured = [a for a in ATTACKS if scores.decides(a) and scores.auc_result(a, 0) is not None]
    tolerance = TOLERANCE if chosen and not scores.against_retrained else 0.0
    return [_attack_test(scores, a, len(measured) + other_tests, tolerance) for a in measured]


def _attack_test(scores: Scores, attack: Attack, test_count: int, tolerance: float) -> AuditTest:
    results = [r for i in range(len(scores.models)) if (r := scores.auc_result(attack, i)) is not None]
    original, unlearned, retrained = results[0], results[1], results[2:]
    if scores.against_retrained:
        before, after = (_against(r, retrained) for r in (original, unlearned))
    else:
        before, after = original.effect(), unlearned.effect()
    at_original = before.estimate(CONFIDENCE)
    margin, narrow = margin_of(at_original), after.estimate(EQUIVALENCE)
    error, df = _null_error(original, retrained)
    uninformative = uninformative_reason(at_original, error, margin - tolerance, test_count, df)
    if control_failed := _fails(retrained):
        uninformative = "a held-out retrained model fails this test"
    return AuditTest(
        key=attack.key,
        title=attack.title_for(scores.rules),
        kind=attack.kind,
        unit=UNIT,
        original=at_original,
        unlearned=after.estimate(CONFIDENCE),
        equivalence_interval=Estimate(narrow.value, narrow.low - tolerance, narrow.high + tolerance, narrow.level),
        margin=margin,
        p=after.p(tolerance),
        retrained=_held_out(retrained),
        improvement=original.minus(unlearned, CONFIDENCE),
        uninformative_reason=uninformative,
        control_failed=control_failed,
    )


def margin_of(original: Estimate) -> float:
    """The largest effect that counts as none: AUC_MARGIN, or half of the original's effect if that is smaller."""
    return min(AUC_MARGIN, abs(original.value) / 2) if original.excludes(0.0) else AUC_MARGIN


def _against(result: AucResult, retrained: Sequence[AucResult]) -> Effect:
    """Effect against the mean of retrained models; its variance includes the training noise of one new model."""
    return result.less(mean_auc(retrained), _between(retrained), df=len(retrained) - 1)


def _between(retrained: Sequence[AucResult]) -> float:
    """Variance of another retrained model's AUC about the mean of these."""
    values = torch.tensor([r.value for r in retrained], dtype=torch.float64)
    return float(values.var()) * (1 + 1 / len(retrained))


def _left_out(retrained: Sequence[AucResult]) -> list[Effect]:
    """Effect of each retrained model against the others; empty with fewer than MIN_HELD_OUT models."""
    if len(retrained) < MIN_HELD_OUT:
        return []
    return [_against(r, [*retrained[:i], *retrained[i + 1 :]]) for i, r in enumerate(retrained)]


def _null_error(original: AucResult, retrained: Sequence[AucResult]) -> tuple[float, float]:
    """Standard error of the effect of a model that never saw the records, and its degrees of freedom.

    It does not depend on the unlearned model.
    """
    k = len(retrained)
    if k < MIN_TARGETS:
        return original.null_error, original.null().df
    mean, between = mean_auc(retrained), _between(retrained)
    effects = [r.less(mean) for r in retrained]
    # each retrained model is part of the mean, which makes its distance from the mean too small: correct for that
    own = sum(e.variance for e in effects) / k * (k + 1) / (k - 1)
    variance = max(own, between)
    df = (k - 1) * (variance / between) ** 2 if between > 0 else math.inf
    if own > 0:
        df = min(df, min(e.df for e in effects) * (variance / own) ** 2)
    return math.sqrt(variance), df


def _fails(retrained: Sequence[AucResult]) -> bool:
    """Whether some retrained model, judged against the others, fails the test (Bonferroni over the models)."""
    ps = [e.p() for e in _left_out(retrained)]
    return bool(ps) and min(ps) * len(ps) < ALPHA


def _held_out(retrained: Sequence[AucResult]) -> Estimate | None:
    """Mean effect of retrained models, each against the others, with the prediction interval of another one."""
    values = [e.value for e in _left_out(retrained)]
    return prediction_interval(values, CONFIDENCE, -1.0, 1.0) if values else None
