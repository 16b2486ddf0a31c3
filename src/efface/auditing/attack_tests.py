"""What the attacks make of the models: separations at equal difficulty, and the tests of the ladder made of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from efface.attacks import ATTACKS, Attack, by_key
from efface.attacks.outputs import ModelOutputs, RecordOutputs
from efface.auditing.verdict import ALPHA, EQUIVALENCE, LEVEL, MARGIN, AuditTest, uninformative_reason
from efface.metrics.membership import AucResult, Effect, conditional_auc, mean_auc, prediction_interval
from efface.metrics.multiplicity import benjamini_hochberg
from efface.numerics.neighbours import by_block, windows
from efface.types import Estimate

MIN_TARGETS = 2  # retrained models from which effects are measured against them rather than against 0.5
MIN_HELD_OUT = 3  # retrained models of which each can be held out and judged by the others
TOLERANCE = MARGIN / 2  # on requests that were not drawn at random; see docs/judge.md
UNIT = "AUC less that of a model that never saw the records"
RECORD_WINDOW = 100  # nonmembers that say where the score of one record should lie


@dataclass(frozen=True)
class Scores:
    """Every attack on every model; all collect_outputs are of the same forget records and nonmembers.

    `groups` are masks over the forget records, and `why` says why there are no references. With `marginal` nonmembers
    of every difficulty are compared with alike, which is right only for a request that is a random sample. `chosen`
    says that it does not look like one: equal difficulty is measured with error, and records that were picked for
    being hard then seem shunned, so without retrained models a test has to show more than TOLERANCE, and to clear a
    model in spite of it. `others` is the number of tests beside these that a model must pass.
    """

    original: ModelOutputs
    unlearned: ModelOutputs
    retrained: Sequence[ModelOutputs]
    references: Sequence[ModelOutputs]
    groups: Mapping[str, Tensor]
    why: str = ""
    marginal: bool = False
    chosen: bool = False
    others: int = 0
    _cache: dict[tuple[str, int], AucResult | None] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """What effects are measured against."""
        if self.against_retrained:
            return "the retrained models"
        return "never-seen records" if self.marginal else "never-seen records of equal difficulty"

    @property
    def against_retrained(self) -> bool:
        """Whether there are retrained models enough to be the target."""
        return len(self.retrained) >= MIN_TARGETS

    @cached_property
    def models(self) -> list[ModelOutputs]:
        """The original, the unlearned model, then the retrained ones."""
        return [self.original, self.unlearned, *self.retrained]

    def decides(self, attack: Attack) -> bool:
        """Whether the attack is a test of the ladder here, could it be measured."""
        return attack.decides[self.marginal]

    def auc_result(self, attack: Attack, model: int) -> AucResult | None:
        """One attack on one of `models`; None where the score, or the difficulty, is missing."""
        key = (attack.key, model)
        if key not in self._cache:
            self._cache[key] = self._separate(attack, self.models[model])
        return self._cache[key]

    def of_group(self, attack: Attack, mask: Tensor) -> list[AucResult]:
        """One attack on some of the forget records, for each of `models`."""
        return [p for s in self.models if (p := self._separate(attack, s, mask)) is not None]

    def _separate(self, attack: Attack, sight: ModelOutputs, mask: Tensor | None = None) -> AucResult | None:
        scored = self.scored(attack, sight)
        if scored is None or not (self.references or self.marginal):
            return None
        ours, theirs = scored
        if self.marginal:
            return None if attack.spread else conditional_auc(ours if mask is None else ours[mask], theirs)
        hard, nonmember_difficulty = self._difficulties(attack)
        if attack.spread:
            ours, theirs = (z.abs() for z in _standing(ours, theirs, hard, nonmember_difficulty))
        if mask is not None:
            ours, hard = ours[mask], hard[mask]
        return conditional_auc(ours, theirs, hard, nonmember_difficulty)

    def scored(self, attack: Attack, sight: ModelOutputs) -> tuple[Tensor, Tensor] | None:
        """Scores of forget records and of nonmembers; None where there are none."""
        ours = attack.score(sight.forget, [r.forget for r in self.references])
        theirs = attack.score(sight.nonmembers, [r.nonmembers for r in self.references])
        return None if ours is None or theirs is None else (ours, theirs)

    def _difficulties(self, attack: Attack) -> tuple[Tensor, Tensor]:
        forget = self._difficulty(attack, [r.forget for r in self.references])
        return forget, self._difficulty(attack, [r.nonmembers for r in self.references])

    @staticmethod
    def _difficulty(attack: Attack, references: Sequence[RecordOutputs]) -> Tensor:
        """How hard a record is for models that never saw it, averaged over the references."""
        read = attack.difficulty or attack.score
        scores = [read(r, ()) for r in references]
        return torch.stack([s for s in scores if s is not None]).mean(0)

    @cached_property
    def tests(self) -> list[AuditTest]:
        """Each deciding attack that could be measured."""
        chosen = [a for a in ATTACKS if self.decides(a) and self.auc_result(a, 0) is not None]
        return [self._rung(a, len(chosen) + self.others) for a in chosen]

    def _rung(self, attack: Attack, test_count: int) -> AuditTest:
        parts = [s for i in range(len(self.models)) if (s := self.auc_result(attack, i)) is not None]
        original, unlearned, retrained = parts[0], parts[1], parts[2:]
        if self.against_retrained:
            before, after = (_against(p, retrained) for p in (original, unlearned))
        else:
            before, after = original.effect(), unlearned.effect()
        at_original = before.estimate(LEVEL)
        tolerance = TOLERANCE if self.chosen and not self.against_retrained else 0.0
        margin, equivalence_interval = margin_of(at_original), after.estimate(EQUIVALENCE)
        error, df = _null_error(original, retrained)
        told = uninformative_reason(at_original, error, margin - tolerance, test_count, df)
        if control_failed := _fails(retrained):
            told = "a held-out retrained model fails this test"
        return AuditTest(
            key=attack.key,
            title=attack.title,
            kind=attack.kind,
            unit=UNIT,
            original=at_original,
            unlearned=after.estimate(LEVEL),
            equivalence_interval=Estimate(
                equivalence_interval.value,
                equivalence_interval.low - tolerance,
                equivalence_interval.high + tolerance,
                equivalence_interval.level,
            ),
            margin=margin,
            p=after.p(tolerance),
            retrained=_held_out(retrained),
            improvement=original.minus(unlearned, LEVEL),
            uninformative_reason=told,
            control_failed=control_failed,
        )

    def ranks(self) -> dict[str, Tensor | None]:
        """Each forget record's rank among nonmembers of equal difficulty by the loss attack; None where not measured."""
        parts = [self.auc_result(ATTACKS[0], i) for i in range(len(self.models))]
        again = [p for p in parts[2:] if p is not None]
        shown = [None if p is None else p.ranks for p in parts[:2]]
        return {
            "original": shown[0],
            "unlearned": shown[1],
            "retrained": mean_auc(again).ranks if again else None,
        }

    def record_tests(self) -> tuple[Tensor, Tensor] | None:
        """For each forget record, the chance that a never-seen one would score as high, and whether it is flagged.

        The LiRA score, less the median of nonmembers of equal difficulty and over their spread, ranked among all
        nonmembers' own; one-sided. Flagged are those that Benjamini and Hochberg's method finds at 5 %. None without
        references.
        """
        lira = by_key("lira")
        scored = self.scored(lira, self.unlearned)
        if scored is None or self.marginal:
            return None
        ours, theirs = _standing(*scored, *self._difficulties(lira))
        ordered = theirs.sort().values
        above = len(theirs) - torch.searchsorted(ordered, ours)
        p = (1 + above) / (1 + len(theirs))
        return p, benjamini_hochberg(p) <= ALPHA


def margin_of(original: Estimate) -> float:
    """What counts as no effect: MARGIN, but never more than half of what doing nothing shows."""
    return min(MARGIN, abs(original.value) / 2) if original.excludes(0.0) else MARGIN


def _against(part: AucResult, retrained: Sequence[AucResult]) -> Effect:
    """Effect against the mean of retrained models, training noise of one fresh model included."""
    return part.less(mean_auc(retrained), _between(retrained), df=len(retrained) - 1)


def _between(retrained: Sequence[AucResult]) -> float:
    """Variance of one more retrained model's AUC about the mean of these."""
    values = torch.tensor([s.value for s in retrained], dtype=torch.float64)
    return float(values.var()) * (1 + 1 / len(retrained))


def _left_out(retrained: Sequence[AucResult]) -> list[Effect]:
    if len(retrained) < MIN_HELD_OUT:
        return []
    return [_against(r, [*retrained[:i], *retrained[i + 1 :]]) for i, r in enumerate(retrained)]


def _null_error(original: AucResult, retrained: Sequence[AucResult]) -> tuple[float, float]:
    """Standard error, and its df, of the effect of a model that never saw the records.

    Nothing of the unlearned model is in it.
    """
    k = len(retrained)
    if k < MIN_TARGETS:
        return original.null_error, math.inf
    mean, between = mean_auc(retrained), _between(retrained)
    # a model is nearer to a mean that it is part of
    own = sum(r.less(mean).variance for r in retrained) / k * (k + 1) / (k - 1)
    variance = max(own, between)
    return math.sqrt(variance), (k - 1) * (variance / between) ** 2 if between > 0 else math.inf


def _fails(retrained: Sequence[AucResult]) -> bool:
    """Whether the test calls a retrained model, judged by the others, one that knows the records."""
    ps = [e.p() for e in _left_out(retrained)]
    return bool(ps) and min(ps) * len(ps) < ALPHA


def _held_out(retrained: Sequence[AucResult]) -> Estimate | None:
    """Mean effect of retrained models, each against the others, with the interval in which one more would lie."""
    values = [e.value for e in _left_out(retrained)]
    return prediction_interval(values, LEVEL, -1.0, 1.0) if values else None


def _standing(ours: Tensor, theirs: Tensor, hard: Tensor, nonmember_difficulty: Tensor) -> tuple[Tensor, Tensor]:
    """Scores less the median of nonmembers of equal difficulty, over their spread; a nonmember is not its own like."""
    width = min(RECORD_WINDOW, max(10, len(theirs) // 5))
    stood = by_block(
        lambda part: _stand(ours[part], theirs, windows(hard[part], nonmember_difficulty, width)),
        len(ours),
    )
    return stood, _stand(theirs, theirs, _others(windows(nonmember_difficulty, nonmember_difficulty, width + 1)))


def _others(at: Tensor) -> Tensor:
    """Each row's window without the row itself (or without its last, where the row is not in it)."""
    own = torch.arange(len(at))[:, None]
    mask = at == own
    mask[~mask.any(1), -1] = True
    return at[~mask].reshape(len(at), -1)


def _stand(values: Tensor, theirs: Tensor, at: Tensor) -> Tensor:
    among = theirs.double()[at]
    middle = among.median(1).values
    spread = (among - middle[:, None]).abs().median(1).values
    return (values.double() - middle) / spread.clamp_min(1e-9)
