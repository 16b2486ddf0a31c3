"""Looks that read outputs: the margin of a record, that of its perturbed copies, and its other classes."""

from collections.abc import Sequence

from torch import Tensor

from efface.attacks import Attack, by_key
from efface.attacks.outputs import ModelOutputs
from efface.auditing.audit_test import ALPHA
from efface.auditing.scores import Scores
from efface.auditing.single.record_ranks import RecordRanks
from efface.metrics.membership import mean_auc, window_width

STATISTICS = {"lira": "Margin", "perturbed": "Margin of perturbed copies", "other_classes": "Gap of {other}"}
NEIGHBOURS = 100  # training records of nearest difficulty that say what a look could have seen, at most
SHARE = 4  # of the training records there are, the nearest are one in this many, at most: others are not near


def ranks_by_outputs(scores: Scores, training: Sequence[ModelOutputs], distance: Tensor) -> list[RecordRanks]:
    """Rank each requested record among never-seen records of equal difficulty.

    Args:
        scores: The attacks on the original, the unlearned and the retrained models.
        training: Outputs of the original and then of each reference, on training records that stay, in place of the
            forget records.
        distance: How much harder or easier each of these is than each requested record, (requested, training).
    """
    staying = Scores(training[0], training[0], [], training[1:], {})
    near = distance.topk(max(1, min(NEIGHBOURS, distance.shape[1] // SHARE)), largest=False).indices
    other = scores.rules.words.other_short
    return [_ranks(by_key(key), title.format(other=other), scores, staying, near) for key, title in STATISTICS.items()]


def _ranks(attack: Attack, title: str, scores: Scores, staying: Scores, near: Tensor) -> RecordRanks:
    found = [scores.auc_result(attack, i) for i in range(len(scores.models))]
    of_training = staying.auc_result(attack, 0)
    read = [r for r in found if r is not None]
    if of_training is None or len(read) < 2:
        return RecordRanks.missing(attack.key, title, f"needs {attack.needs}")
    # members may have the lower score; which side is theirs, the original says on records that stay
    is_lower = float(of_training.ranks.mean()) < 0.5
    ranks = {"original": read[0].ranks, "unlearned": read[1].ranks}
    if read[2:]:
        ranks["retrained"] = mean_auc(read[2:]).ranks
    turned = {who: 1 - r if is_lower else r for who, r in ranks.items()}
    seen = (1 - of_training.ranks if is_lower else of_training.ranks) > 1 - ALPHA
    return RecordRanks(
        attack.key,
        title,
        window_width(len(scores.original.nonmembers.targets)),
        tuple(range(len(near))),
        {who: tuple(r.tolist()) for who, r in turned.items()},
        tuple(seen[near].double().mean(1).tolist()),
    )
