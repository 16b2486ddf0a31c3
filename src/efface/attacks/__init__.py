"""Membership attacks by key. An attack scores records by a model's outputs; higher = more likely a member."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from efface.attacks.confidence import confidence
from efface.attacks.entropy import entropy
from efface.attacks.label_margin import mean_margin
from efface.attacks.lira import lira
from efface.attacks.loss import loss
from efface.attacks.min_k import min_k
from efface.attacks.modified_entropy import modified_entropy
from efface.attacks.other_classes import other_classes
from efface.attacks.outputs import RecordOutputs
from efface.attacks.perturbed_margin import perturbed_margin
from efface.attacks.probe_margin import probe_margin
from efface.attacks.rmia import log_population, rmia
from efface.attacks.zlib_ratio import zlib_ratio
from efface.kinds import Kind

Score = Callable[[RecordOutputs, Sequence[RecordOutputs]], Tensor | None]
Difficulty = Callable[[Sequence[RecordOutputs]], Tensor]


@dataclass(frozen=True)
class Attack:
    """An attack, and how the audit uses it.

    Args:
        key: Its name in reports.
        title: Its name for people; `{other}` stands for what a kind of outputs calls that statistic.
        kind: `attack`; or `off_label` for a statistic that no method here optimises.
        needs: What is missing if `score` returns None; empty if it never does.
        score: Scores (n,) of n records from the outputs of the model and of references, higher = member. For an
            `off_label` statistic, members may score higher or lower.
        difficulty: What records are compared at equal values of, (n,), from the outputs of references; by default the
            mean `score` of these.
        decides: Whether it can fail or clear a model: with references, and without (at level quick). An attack that
            ranks records like another one is only reported.
        spread: Whether it measures the distance of a score from those of comparable nonmembers in either direction, so
            that records that score too high and others that score too low do not cancel.
        is_special: Whether it is left out, and not said to be missing, where it has no score.
    """

    key: str
    title: str
    kind: str
    needs: str
    score: Score
    difficulty: Difficulty | None = None
    decides: tuple[bool, bool] = (True, True)
    spread: bool = False
    is_special: bool = False

    def title_for(self, rules: Kind) -> str:
        """The title for a kind of outputs."""
        return self.title.format(other=rules.words.other)


WITH_REFERENCES, NO_REFERENCES, NEVER = (True, False), (False, True), (False, False)
NEEDS_REFERENCES = "reference models"
CLASS_ODDS, SEQUENCES = "the probability of each class", "sequences"

ATTACKS: tuple[Attack, ...] = (
    Attack("loss", "Loss attack", "attack", "", loss, decides=NO_REFERENCES),
    Attack("confidence", "Confidence attack", "attack", "probabilities", confidence, decides=NEVER),
    Attack("entropy", "Entropy attack", "attack", "probabilities", entropy),
    Attack("modified_entropy", "Modified entropy attack", "attack", CLASS_ODDS, modified_entropy, decides=NEVER),
    Attack("min_k", "Min-K%++ attack", "attack", SEQUENCES, min_k, decides=NEVER, is_special=True),
    Attack("zlib", "Zlib ratio attack", "attack", SEQUENCES, zlib_ratio, decides=NEVER, is_special=True),
    # compared by the margin, in which the score is curved, easy records would seem less known than never-seen ones
    Attack("rmia", "RMIA, offline", "attack", NEEDS_REFERENCES, rmia, log_population, decides=WITH_REFERENCES),
    Attack("lira", "LiRA, offline", "attack", NEEDS_REFERENCES, lira, mean_margin, decides=WITH_REFERENCES),
    Attack(
        "spread",
        "Spread of LiRA scores",
        "attack",
        NEEDS_REFERENCES,
        lira,
        mean_margin,
        decides=WITH_REFERENCES,
        spread=True,
    ),
    Attack(
        "other_classes",
        "{other}",
        "off_label",
        "three classes or several values",
        other_classes,
        mean_margin,
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
        "a last linear layer above others that can be fitted afresh",
        probe_margin,
    ),
)


def by_key(key: str) -> Attack:
    """The attack with a key."""
    return next(a for a in ATTACKS if a.key == key)


__all__ = ["ATTACKS", "Attack", "Score", "by_key"]
