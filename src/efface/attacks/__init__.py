"""Membership attacks by key; each scores the records of one view, higher = more likely a member."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from efface.attacks.lira import lira
from efface.attacks.outputs import RecordOutputs
from efface.attacks.rmia import rmia
from efface.attacks.statistics import (
    confidence,
    entropy,
    loss,
    modified_entropy,
    other_classes,
    perturbed_margin,
    plain_margin,
    probe_margin,
)

Score = Callable[[RecordOutputs, Sequence[RecordOutputs]], Tensor | None]


@dataclass(frozen=True)
class Attack:
    """An attack: its score of a view given the reference models' views of the same records.

    A score is None where it cannot be had, and `needs` says what is missing. `kind` is `attack`, or `off_label` for a
    statistic that no method here optimises; of those, members may score higher or lower. `difficulty` is the score of
    a reference model by which records are compared at equal difficulty; by default the attack's own. `decides` says
    whether it can fail or clear a model with references, without (at level quick), both or neither: those that order
    records as another one does are only reported. With `spread` it is not the score that counts but how far it lies
    from those of its like, on either side: records that stay known are not made up for by others that are shunned.
    """

    key: str
    title: str
    kind: str
    needs: str
    score: Score
    difficulty: Score | None = None
    decides: tuple[bool, bool] = (True, True)  # with references, without
    spread: bool = False


BOTH, WITH, WITHOUT, NEVER = (True, True), (True, False), (False, True), (False, False)
REFERENCES = "reference models"

ATTACKS: tuple[Attack, ...] = (
    Attack("loss", "Loss attack", "attack", "", loss, decides=WITHOUT),
    Attack("confidence", "Confidence attack", "attack", "", confidence, decides=NEVER),
    Attack("entropy", "Entropy attack", "attack", "", entropy, decides=BOTH),
    Attack("modified_entropy", "Modified entropy attack", "attack", "", modified_entropy, decides=NEVER),
    # of a reference, its own likelihood ratio would be to itself
    Attack("rmia", "RMIA, offline", "attack", REFERENCES, rmia, plain_margin, decides=WITH),
    Attack("lira", "LiRA, offline", "attack", REFERENCES, lira, plain_margin, decides=WITH),
    Attack("spread", "Spread of LiRA scores", "attack", REFERENCES, lira, plain_margin, decides=WITH, spread=True),
    Attack(
        "other_classes",
        "Gap between the two best other classes",
        "off_label",
        "three classes",
        other_classes,
        plain_margin,
    ),
    Attack(
        "perturbed",
        "Margin on slightly perturbed copies",
        "off_label",
        "float inputs or Task.perturb",
        perturbed_margin,
    ),
    Attack(
        "probe",
        "Margin of a last layer fitted afresh",
        "off_label",
        "a last linear layer above others",
        probe_margin,
    ),
)


def by_key(key: str) -> Attack:
    """The attack of that key."""
    return next(a for a in ATTACKS if a.key == key)


__all__ = ["ATTACKS", "Attack", "Score", "by_key"]
