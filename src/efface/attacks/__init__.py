"""Membership attacks by key; each scores records by a model's outputs, higher = more likely a member."""

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
    """An attack on the outputs of one model.

    Args:
        key: Short name, unique.
        title: Name for people.
        kind: `attack`, or `off_label` for a statistic that no method here optimises; of those, members may score higher
            or lower.
        needs: What is missing where the score is None.
        score: Scores (n,) of one set of records, of a model's outputs and the reference models' outputs of the same
            records; None where they cannot be had.
        difficulty: Score of a reference model by which records are compared at equal difficulty; by default `score`.
        decides: Whether it can fail or clear a model with references, and without (at level quick). Attacks that order
            records as another one does are only reported.
        spread: Whether it is not the score that counts but how far it lies from those of like records, on either side:
            records that stay known do not make up for others that are overshot.
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
