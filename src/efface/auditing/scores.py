"""The attacks on all models: scores of records, AUC at equal difficulty, and tests of single records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from efface.attacks import ATTACKS, Attack, by_key
from efface.attacks.outputs import ModelOutputs, RecordOutputs
from efface.auditing.audit_test import ALPHA
from efface.kinds import Kind
from efface.metrics.membership import AucResult, conditional_auc, mean_auc
from efface.metrics.multiplicity import benjamini_hochberg
from efface.numerics.clusters import ALONE, Clusters, count_clusters
from efface.numerics.neighbours import by_block, windows
from efface.runtime.printing import Brief

MIN_TARGETS = 2  # with this many retrained models or more, effects are measured against them rather than against 0.5
RECORD_WINDOW = 100  # nonmembers of equal difficulty that the score of one record is compared with


@dataclass(frozen=True, repr=False)
class Scores(Brief):
    """Every attack on every model, on the same forget records and nonmembers.

    Args:
        original: Outputs of the model before unlearning.
        unlearned: Outputs of the model after it.
        retrained: Outputs of models trained without the forget set.
        references: Outputs of the reference models.
        kinds: Kinds of forget records, as masks over them, (n,).
        missing_reason: Why there are no references; empty if there are some.
        marginal: Whether forget records are compared with nonmembers of any difficulty, which is valid only for a
            request that is a random sample.
        clusters: The number of the group of each forget record, (n,), and of each nonmember, (m,).
        by_margin: Whether attacks whose difficulty is a score of their own compare records of equal margin under the
            references. Where the forget records were chosen by that margin, only what is compared at equal margin, or
            at what follows it closely, is not biased by the choice.
    """

    original: ModelOutputs
    unlearned: ModelOutputs
    retrained: Sequence[ModelOutputs]
    references: Sequence[ModelOutputs]
    kinds: Mapping[str, Tensor]
    missing_reason: str = ""
    marginal: bool = False
    clusters: Clusters = ALONE
    by_margin: bool = False
    _cache: dict[tuple[str, int], AucResult | None] = field(default_factory=dict)

    @property
    def rules(self) -> Kind:
        """The kind of the task."""
        return self.original.forget.rules

    @property
    def groups(self) -> int | None:
        """Number of groups that the forget records belong to; None if that is not known."""
        return None if self.clusters[0] is None else count_clusters(self.clusters[0])

    @property
    def target(self) -> str:
        """What effects are measured against, in words."""
        if self.against_retrained:
            return "the retrained models"
        return "never-seen records" if self.marginal else "never-seen records of equal difficulty"

    @property
    def against_retrained(self) -> bool:
        """Whether there are enough retrained models to measure effects against."""
        return len(self.retrained) >= MIN_TARGETS

    @cached_property
    def models(self) -> list[ModelOutputs]:
        """The original, the unlearned model, then the retrained ones."""
        return [self.original, self.unlearned, *self.retrained]

    def decides(self, attack: Attack) -> bool:
        """Whether the attack is a test of this audit, if it can be measured."""
        return attack.decides[self.marginal]

    def auc_result(self, attack: Attack, model: int) -> AucResult | None:
        """The AUC of an attack on a model.

        Args:
            attack: The attack.
            model: Position in `models`.

        Returns:
            The AUC; None if the score or the difficulty cannot be computed.
        """
        key = (attack.key, model)
        if key not in self._cache:
            self._cache[key] = self._auc(attack, self.models[model])
        return self._cache[key]

    def of_kind(self, attack: Attack, mask: Tensor) -> list[AucResult]:
        """The AUCs of an attack on some of the forget records, for each of `models` that it can score.

        Args:
            attack: The attack.
            mask: Which forget records, (n,), bool.
        """
        return [result for m in self.models if (result := self._auc(attack, m, mask)) is not None]

    def _auc(self, attack: Attack, model: ModelOutputs, mask: Tensor | None = None) -> AucResult | None:
        scored = self.scored(attack, model)
        if scored is None or not (self.references or self.marginal):
            return None
        forget, nonmembers = scored
        of_forget, of_nonmembers = self.clusters
        clusters = of_forget if mask is None or of_forget is None else of_forget[mask], of_nonmembers
        if self.marginal:
            if attack.spread:
                return None
            return conditional_auc(forget if mask is None else forget[mask], nonmembers, clusters=clusters)
        difficulty, nonmember_difficulty = self.difficulties(attack)
        if attack.spread:
            z = robust_zscore(forget, nonmembers, difficulty, nonmember_difficulty)
            forget, nonmembers = z[0].abs(), z[1].abs()
        if mask is not None:
            forget, difficulty = forget[mask], difficulty[mask]
        return conditional_auc(forget, nonmembers, difficulty, nonmember_difficulty, clusters=clusters)

    def scored(self, attack: Attack, model: ModelOutputs) -> tuple[Tensor, Tensor] | None:
        """Scores of the forget records, (n,), and of the nonmembers, (m,), by an attack on a model.

        Args:
            attack: The attack.
            model: Outputs of the model.

        Returns:
            The scores; None if the attack has none here.
        """
        forget = attack.score(model.forget, [r.forget for r in self.references])
        nonmembers = attack.score(model.nonmembers, [r.nonmembers for r in self.references])
        return None if forget is None or nonmembers is None else (forget, nonmembers)

    def difficulties(self, attack: Attack) -> tuple[Tensor, Tensor]:
        """The difficulty, to an attack, of the forget records, (n,), and of the nonmembers, (m,); needs references."""
        by = by_key("lira") if self.by_margin and attack.difficulty is None else attack
        forget = difficulty_of(by, [r.forget for r in self.references])
        return forget, difficulty_of(by, [r.nonmembers for r in self.references])

    def ranks(self) -> dict[str, Tensor | None]:
        """Each forget record's rank, from 0 to 1, among nonmembers of equal difficulty, by the loss attack, (n,).

        Returns:
            Ranks under the `original`, the `unlearned` and the mean `retrained` model; None if not measured.
        """
        results = [self.auc_result(ATTACKS[0], i) for i in range(len(self.models))]
        retrained = [r for r in results[2:] if r is not None]
        original, unlearned = (None if r is None else r.ranks for r in results[:2])
        return {
            "original": original,
            "unlearned": unlearned,
            "retrained": mean_auc(retrained).ranks if retrained else None,
        }

    def record_tests(self) -> tuple[Tensor, Tensor] | None:
        """Test each forget record separately, by its LiRA score at equal difficulty.

        Records of one person are tested one by one: a p value is about its record alone, and the method holds for
        positively dependent tests.

        Returns:
            For each record the one-sided p value of a score as high for a never-seen record, (n,), and whether
            Benjamini and Hochberg's method flags it at 5 %, (n,), bool. None without references.
        """
        lira = by_key("lira")
        scored = self.scored(lira, self.unlearned)
        if scored is None or self.marginal:
            return None
        forget, nonmembers = robust_zscore(*scored, *self.difficulties(lira))
        above = len(nonmembers) - torch.searchsorted(nonmembers.sort().values, forget)
        p = (1 + above) / (1 + len(nonmembers))
        return p, benjamini_hochberg(p) <= ALPHA


def difficulty_of(attack: Attack, references: Sequence[RecordOutputs]) -> Tensor:
    """The difficulty of each of n records for models that never saw it, (n,).

    Args:
        attack: The attack whose scores are compared at equal difficulty.
        references: What models that never saw the records say of them.
    """
    if attack.difficulty is not None:
        return attack.difficulty(references)
    scores = [attack.score(r, ()) for r in references]
    return torch.stack([s for s in scores if s is not None]).mean(0)


def robust_zscore(
    forget: Tensor, nonmembers: Tensor, difficulty: Tensor, nonmember_difficulty: Tensor
) -> tuple[Tensor, Tensor]:
    """Scores less the median of nonmembers of equal difficulty, divided by their median absolute deviation.

    A nonmember is compared with other nonmembers only.

    Args:
        forget: Scores of the forget records, (n,).
        nonmembers: Scores of the nonmembers, (m,).
        difficulty: Difficulty of the forget records, (n,).
        nonmember_difficulty: Difficulty of the nonmembers, (m,).

    Returns:
        The z-scores of forget records, (n,), and nonmembers, (m,), float64.
    """
    width = min(RECORD_WINDOW, max(10, len(nonmembers) // 5))
    z = by_block(
        lambda part: _zscore(forget[part], nonmembers, windows(difficulty[part], nonmember_difficulty, width)),
        len(forget),
    )
    others = _drop_own(windows(nonmember_difficulty, nonmember_difficulty, width + 1))
    return z, _zscore(nonmembers, nonmembers, others)


def _drop_own(at: Tensor) -> Tensor:
    """Remove from each row's window the row itself, or the last position if the row is not in its window."""
    own = torch.arange(len(at))[:, None]
    mask = at == own
    mask[~mask.any(1), -1] = True
    return at[~mask].reshape(len(at), -1)


def _zscore(values: Tensor, nonmembers: Tensor, at: Tensor) -> Tensor:
    """z-scores of values by median and median absolute deviation of the nonmembers at the positions in each row."""
    among = nonmembers.double()[at]
    middle = among.median(1).values
    spread = (among - middle[:, None]).abs().median(1).values
    return (values.double() - middle) / spread.clamp_min(1e-9)
