"""Membership attacks by key; each scores the records of one view, higher = more likely a member."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from efface.attacks.rmia import rmia
from efface.attacks.statistics import loss, other_classes, perturbed_margin
from efface.attacks.views import View

Score = Callable[[View, Sequence[View]], Tensor | None]


@dataclass(frozen=True)
class Attack:
    """An attack: its score of a view given the reference models' views of the same records.

    A score is None where it cannot be had, and `needs` says what is missing. `kind` is `attack`, or `off_label` for a
    statistic that no method here optimises; of those, members may score higher or lower.
    """

    key: str
    title: str
    kind: str
    needs: str
    score: Score


ATTACKS: tuple[Attack, ...] = (
    Attack("loss", "Loss attack", "attack", "", loss),
    Attack("rmia", "RMIA, offline", "attack", "reference models", rmia),
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
