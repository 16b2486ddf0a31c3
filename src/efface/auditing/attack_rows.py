"""Rows for the attacks: the AUC of each, also by kind of forget records, and the TPR of one at 1 % FPR."""

from collections.abc import Sequence

from torch import Tensor

from efface.attacks import ATTACKS, Attack, by_key
from efface.attacks.outputs import ModelOutputs
from efface.auditing.audit_test import CONFIDENCE, AuditTest
from efface.auditing.readings import Metric, Reading, measured_row, one_more, row_of_one_reading
from efface.auditing.scores import Scores
from efface.metrics.membership import AucResult, conditional_auc
from efface.metrics.roc import MIN_NEGATIVES, tpr_at
from efface.types import Estimate

FPR = 0.01
MISLEADING = "the request does not look like a random sample, so never-seen records of all difficulties mislead"


def attack_rows(scores: Scores, tests: Sequence[AuditTest], barred: bool) -> list[Metric]:
    """Make a row for each attack, further rows for kinds of forget records, and a row of the TPR at 1 % FPR.

    Args:
        scores: The attacks on all models.
        tests: The tests made from the attacks; the row of an uninformative test is marked so.
        barred: Whether attacks do not apply to this request at this level.
    """
    marginal = [conditional_auc(*scored(scores, ATTACKS[0], m), clusters=scores.clusters) for m in scores.models]
    rows = [measured_row("loss_marginal", "Loss attack AUC, all nonmembers alike", "all", "attack", _auc(marginal))]
    by_attack = {t.key: t for t in tests}
    for attack in ATTACKS:
        rows += _rows_of(scores, attack, by_attack.get(attack.key), barred)
    return [*rows, _low_false_alarms(scores)]


def unmeasured(scores: Scores) -> tuple[str, ...]:
    """Why attacks that would decide cannot be measured, each reason once; empty if all can."""
    missing = [a for a in ATTACKS if scores.decides(a) and scores.auc_result(a, 0) is None]
    return tuple(dict.fromkeys(_why_missing(scores, attack) for attack in missing))


def strongest(scores: Scores) -> Attack:
    """The attack whose ROC curve and rates are shown: LiRA if there are references, else the loss attack."""
    return by_key("lira" if scores.references else "loss")


def scored(scores: Scores, attack: Attack, model: ModelOutputs) -> tuple[Tensor, Tensor]:
    """Scores of the forget records, (n,), and of the nonmembers, (m,), by an attack on a model.

    Args:
        scores: The attacks on all models.
        attack: The attack.
        model: Outputs of one of the models.

    Raises:
        ValueError: The attack has no score here, for example because it needs reference models.
    """
    found = scores.scored(attack, model)
    if found is None:
        raise ValueError(f"{attack.key} has no score here")
    return found


def _rows_of(scores: Scores, attack: Attack, test: AuditTest | None, barred: bool) -> list[Metric]:
    title = f"{attack.title_for(scores.rules)}, AUC{'' if scores.marginal else ' at equal difficulty'}"
    decides = scores.decides(attack)
    results = [r for i in range(len(scores.models)) if (r := scores.auc_result(attack, i)) is not None]
    if not results and attack.is_special:
        return []
    if not results:
        missing = Reading.missing(_why_missing(scores, attack))
        return [row_of_one_reading(attack.key, title, attack.kind, missing, decides)]
    if barred:
        misleading = Reading("not_applicable", None, MISLEADING)
        return [row_of_one_reading(attack.key, title, attack.kind, misleading, decides)]
    row = measured_row(attack.key, title, "all", attack.kind, _auc(results), decides)
    if test is not None and test.outcome == "uninformative":
        unlearned = Reading("uninformative", row.unlearned.estimate, test.uninformative_reason)
        row = Metric(attack.key, title, "all", attack.kind, decides, row.original, unlearned, row.retrained)
    kinds = scores.kinds.items() if attack is ATTACKS[0] else ()
    by_kind = [
        measured_row(attack.key, title, kind, attack.kind, _auc(scores.of_kind(attack, mask))) for kind, mask in kinds
    ]
    return [row, *by_kind]


def _why_missing(scores: Scores, attack: Attack) -> str:
    if not (scores.references or scores.marginal):
        return scores.missing_reason
    return f"needs {'reference models' if scores.marginal and attack.spread else attack.needs}"


def _low_false_alarms(scores: Scores) -> Metric:
    attack = strongest(scores)
    title = f"{attack.title_for(scores.rules)}, TPR at {FPR:.0%} FPR"
    negatives = len(scores.original.nonmembers.targets)
    if negatives < MIN_NEGATIVES:
        missing = Reading.missing(f"needs at least {MIN_NEGATIVES:,} never-seen records; there are {negatives:,}")
        return row_of_one_reading("tpr", title, "attack", missing)
    shown = [tpr_at(*scored(scores, attack, m), FPR, CONFIDENCE, scores.clusters[0]) for m in scores.models]
    retrained = one_more([e.value for e in shown[2:]], 0.0, 1.0)
    return measured_row("tpr", title, "all", "attack", [*shown[:2], retrained])


def _auc(results: Sequence[AucResult]) -> list[Estimate | None]:
    """Estimates for the original, the unlearned and the retrained models; None for these if there are none."""
    retrained = one_more([r.value for r in results[2:]], 0.0, 1.0)
    return [*(r.estimate(CONFIDENCE) for r in results[:2]), retrained]
