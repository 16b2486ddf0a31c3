"""Membership attacks by key; each scores the records of one view, higher = more likely a member."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from efface.attacks.rmia import rmia
from efface.attacks.statistics import loss, other_classes, perturbed_margin, plain_margin
from efface.attacks.views import View

Score = Callable[[View, Sequence[View]], Tensor | None]


@dataclass(frozen=True)
class Attack:
    """An attack: its score of a view given the reference models' views of the same records.

    A score is None where it cannot be had, and `needs` says what is missing. `kind` is `attack`, or `off_label` for a
    statistic that no method here optimises; of those, members may score higher or lower. `difficulty` is the score of
    a reference model by which records are compared at equal difficulty; by default the attack's own.
    """

    key: str
    title: str
    kind: str
    needs: str
    score: Score
    difficulty: Score | None = None


ATTACKS: tuple[Attack, ...] = (
    Attack("loss", "Loss attack", "attack", "", loss),
    # of a reference, its own likelihood ratio would be to itself
    Attack("rmia", "RMIA, offline", "attack", "reference models", rmia, difficulty=plain_margin),
    Attack(
        "other_classes", "Gap between the two best other classes", "off_label", "at least three classes", other_classes
    ),
    Attack(
        "perturbed",
        "Margin on slightly perturbed copies",
        "off_label",
        "float inputs or Task.perturb",
        perturbed_margin,
    ),
)

__all__ = ["ATTACKS", "Attack", "Score"]
