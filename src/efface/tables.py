"""The table of an audit: every score of the original, unlearned and retrained models on the same records."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from scipy.stats import t as student
from torch import Tensor

from efface.attacks import ATTACKS, Attack
from efface.attacks.views import Sight, View
from efface.metrics.distance import excess_d2
from efface.metrics.membership import Separation, mean_separation, separate
from efface.metrics.utility import accuracy, correct, mean_loss, mean_over_records
from efface.numerics.logits import margin, other_gap, squash
from efface.types import Estimate, Metric, Reading
from efface.verdict import Effect

LEVEL = 0.95
EQUIVALENCE = 0.90  # two one-sided tests at 5 %
FEWEST_TARGETS = 2  # retrained models from which effects are measured against them rather than against 0.5
FEWEST_DISTANCES = 3  # so that a retrained model can be held out against at least two others
UNTOLD = "with these records, this test does not tell doing nothing from having forgotten"
NO_RETRAINED = Reading.missing("no retrained models were given")

Utility = Callable[[Sequence[Tensor], Tensor, float], Estimate]
# targets, then logits of the original, the unlearned and the retrained models
Place = tuple[Tensor, Tensor, Tensor, Sequence[Tensor]]


@dataclass(frozen=True)
class Table:
    """All that the models said, and the scores made of it.

    original, unlearned and each of `retrained` and `references` are sights of the same forget records and strangers.
    `plain` holds records for utility alone (retain, test). `groups` are masks over the forget records. `why` says why
    there are no references.
    """

    original: Sight
    unlearned: Sight
    retrained: Sequence[Sight]
    references: Sequence[Sight]
    plain: Mapping[str, Place]
    groups: Mapping[str, Tensor]
    why: str = ""
    _cache: dict[tuple[str, int], Separation | None] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """What effects are measured against."""
        return "the retrained models" if self._against_retrained else "never-seen records of equal difficulty"

    @property
    def _against_retrained(self) -> bool:
        return len(self.retrained) >= FEWEST_TARGETS

    @cached_property
    def models(self) -> list[Sight]:
        """The original, the unlearned model, then the retrained ones."""
        return [self.original, self.unlearned, *self.retrained]

    @cached_property
    def decisive(self) -> list[Attack]:
        """The attacks that could be measured at equal difficulty; they decide the verdict together."""
        return [a for a in ATTACKS if self.separation(a, 0) is not None]

    def separation(self, attack: Attack, model: int) -> Separation | None:
        """One attack on one of `models` at equal difficulty; None where the score, or the difficulty, is missing."""
        key = (attack.key, model)
        if key not in self._cache:
            self._cache[key] = self._separate(attack, self.models[model])
        return self._cache[key]

    def _separate(self, attack: Attack, sight: Sight, mask: Tensor | None = None) -> Separation | None:
        refs = [[r.forget for r in self.references], [r.strangers for r in self.references]]
        ours, theirs = attack.score(sight.forget, refs[0]), attack.score(sight.strangers, refs[1])
        if ours is None or theirs is None or not self.references:
            return None
        hard, hardness = (self._difficulty(attack, r) for r in refs)
        if mask is not None:
            ours, hard = ours[mask], hard[mask]
        return separate(ours, theirs, hard, hardness)

    @staticmethod
    def _difficulty(attack: Attack, references: Sequence[View]) -> Tensor:
        """How hard a record is for models that never saw it, averaged over the references."""
        read = attack.difficulty or attack.score
        scores = [read(r, ()) for r in references]
        return torch.stack([s for s in scores if s is not None]).mean(0)

    def effects(self) -> list[Effect]:
        """Each decisive statistic's effect, at a level that shares the error rate between them (Bonferroni)."""
        return list(self._effects.values())

    @cached_property
    def _effects(self) -> dict[str, Effect]:
        return {a.key: self._effect(a, self._shared_level) for a in self.decisive}

    @property
    def _shared_level(self) -> float:
        return 1 - (1 - LEVEL) / max(1, len(self.decisive))

    def _effect(self, attack: Attack, level: float) -> Effect:
        parts = [s for i in range(len(self.models)) if (s := self.separation(attack, i)) is not None]
        original, unlearned, retrained = parts[0], parts[1], parts[2:]
        gained = original.minus(unlearned, level)
        if not self._against_retrained:
            before, after, bound = (
                _less_half(part.estimate(at))
                for part, at in ((original, level), (unlearned, level), (unlearned, EQUIVALENCE))
            )
            return Effect(attack.title, before, after, gained, bound)
        target = mean_separation(retrained)
        # one fresh training against the mean of k: what training noise alone adds
        noise = float(torch.tensor([s.value for s in retrained], dtype=torch.float64).var()) * (1 + 1 / len(retrained))
        before, after, bound = (
            part.minus(target, at, noise, freedom=len(retrained) - 1)
            for part, at in ((original, level), (unlearned, level), (unlearned, EQUIVALENCE))
        )
        return Effect(attack.title, before, after, gained, bound)

    def record_ranks(self) -> dict[str, Tensor | None]:
        """Each forget record's rank among strangers of equal difficulty by the loss attack; None where not measured."""
        parts = [self.separation(ATTACKS[0], i) for i in range(len(self.models))]
        again = [p for p in parts[2:] if p is not None]
        ranks = [None if p is None else p.ranks for p in parts[:2]]
        return {
            "original": ranks[0],
            "unlearned": ranks[1],
            "retrained": mean_separation(again).ranks if again else None,
        }

    def record_margins(self) -> dict[str, Tensor | None]:
        """Each forget record's margin; averaged over the retrained models."""
        values = [margin(s.forget.logits, s.forget.targets) for s in self.models]
        again = torch.stack(values[2:]).mean(0) if values[2:] else None
        return {"original": values[0], "unlearned": values[1], "retrained": again}

    def record_gaps(self) -> dict[str, Tensor | None]:
        """Each forget record's distance to the retrained models: margin less their mean, in their standard deviations.

        On the symmetric log of the margin; None with fewer than two retrained models.
        """
        if not self._against_retrained:
            return {"original": None, "unlearned": None}
        values = [squash(margin(s.forget.logits, s.forget.targets)) for s in self.models]
        again = torch.stack(values[2:])
        unit = again.std(0).clamp_min(1e-9)
        return {name: (v - again.mean(0)) / unit for name, v in zip(("original", "unlearned"), values, strict=False)}

    def utility_change(self) -> Estimate:
        """Accuracy of the unlearned less that of the original model, paired: on test records, else on strangers."""
        targets, before, after, _ = self.plain["test"] if "test" in self.plain else self._place("strangers")
        return mean_over_records(correct(after, targets) - correct(before, targets), LEVEL, -1.0, 1.0)

    def metrics(self) -> list[Metric]:
        """Every row, utility first."""
        return [*self._utility(), *self._attacks(), *self._distances()]

    def _utility(self) -> list[Metric]:
        places = {"forget": self._place("forget"), "holdout": self._place("strangers"), **self.plain}
        rows = []
        for name, title, score in (("accuracy", "Accuracy", accuracy), ("loss", "Loss (nats)", mean_loss)):
            for place, seen in places.items():
                shown = _by_model(score, seen, slice(None))
                rows.append(_row(f"{name}_{place}", f"{title} on {place}", "all", "utility", shown))
        for group, mask in self.groups.items():
            shown = _by_model(accuracy, places["forget"], mask)
            rows.append(_row("accuracy_forget", "Accuracy on forget", group, "utility", shown))
        return rows

    def _place(self, name: str) -> Place:
        views = [getattr(s, name) for s in self.models]
        return views[0].targets, views[0].logits, views[1].logits, [v.logits for v in views[2:]]

    def _attacks(self) -> list[Metric]:
        plain = [separate(*(ATTACKS[0].score(v, ()) for v in (s.forget, s.strangers))) for s in self.models]  # type: ignore[arg-type]
        rows = [_row("loss_marginal", "Loss attack AUC, all strangers alike", "all", "attack", _auc(plain))]
        for attack in ATTACKS:
            parts = [self.separation(attack, i) for i in range(len(self.models))]
            title = f"{attack.title}, AUC at equal difficulty"
            if parts[0] is None:
                missing = Reading.missing(f"needs {attack.needs}" if self.references else self.why)
                rows.append(Metric(attack.key, title, "all", attack.kind, True, missing, missing, missing))
                continue
            known = [p for p in parts if p is not None]
            row = _row(attack.key, title, "all", attack.kind, _auc(known, self._shared_level), decisive=True)
            if not self._effects[attack.key].informative:
                row = dataclasses.replace(
                    row, unlearned=dataclasses.replace(row.unlearned, state="uninformative", why=UNTOLD)
                )
            rows.append(row)
            if attack is ATTACKS[0]:
                rows += [
                    _row(attack.key, title, group, attack.kind, _auc(self._of_group(attack, mask), self._shared_level))
                    for group, mask in self.groups.items()
                ]
        return rows

    def _of_group(self, attack: Attack, mask: Tensor) -> list[Separation]:
        return [p for s in self.models if (p := self._separate(attack, s, mask)) is not None]

    def _distances(self) -> list[Metric]:
        if len(self.retrained) < FEWEST_DISTANCES:
            return []
        rows = []
        for key, title, statistic in (
            ("margin", "margin", margin),
            ("other_classes", "gap of other classes", other_gap),
        ):
            if statistic is other_gap and self.original.forget.logits.shape[1] < 3:
                continue
            shift = [squash(statistic(s.strangers.logits, s.strangers.targets)) for s in self.models]
            ours = [squash(statistic(s.forget.logits, s.forget.targets)) for s in self.models]
            # a model's level and scale are common to all its records, and no trace of any: strangers say how much
            values = torch.stack([(v - b.mean()) / b.std() for v, b in zip(ours, shift, strict=True)])
            for group, mask in {"all": torch.ones(values.shape[1], dtype=torch.bool), **self.groups}.items():
                kept, gold = values[:, mask], values[2:, mask]
                held = [excess_d2(gold[i : i + 1], torch.cat([gold[:i], gold[i + 1 :]])) for i in range(len(gold))]
                numbers = [excess_d2(kept[:1], gold), excess_d2(kept[1:2], gold), sum(held) / len(held)]
                readings = [_distance(v) for v in numbers]
                rows.append(
                    Metric(f"d2_{key}", f"Excess d2 to retrained, {title}", group, "distance", False, *readings)
                )
        return rows


def _row(
    key: str, title: str, group: str, kind: str, shown: Sequence[Estimate | None], decisive: bool = False
) -> Metric:
    original, unlearned, retrained = (NO_RETRAINED if e is None else Reading.of(e) for e in shown)
    return Metric(key, title, group, kind, decisive, original, unlearned, retrained)


def _by_model(score: Utility, seen: Place, rows: Tensor | slice) -> list[Estimate | None]:
    """A utility score on some rows of a place: original, unlearned, and retrained where there are any."""
    targets, before, after, again = seen
    groups = ([before], [after], again)
    return [score([z[rows] for z in models], targets[rows], LEVEL) if models else None for models in groups]


def _auc(parts: Sequence[Separation], level: float = LEVEL) -> list[Estimate | None]:
    """Estimates of original and unlearned, and of the retrained models where there are any."""
    again = _another([p.value for p in parts[2:]], level) if parts[2:] else None
    return [*(p.estimate(level) for p in parts[:2]), again]


def _another(values: Sequence[float], level: float) -> Estimate:
    """Mean over models, with the interval in which one more model would lie (Student's t prediction interval)."""
    k, v = len(values), torch.tensor(values, dtype=torch.float64)
    if k < 2:
        return Estimate(values[0], math.nan, math.nan, level)
    half = float(student.ppf((1 + level) / 2, k - 1) * v.std() * (1 + 1 / k) ** 0.5)
    mean = float(v.mean())
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half), level)


def _distance(value: float) -> Reading:
    if not math.isfinite(value):
        return Reading.missing("the retrained models say the same of every record, so there is no unit of distance")
    return Reading.of(Estimate(value, math.nan, math.nan, LEVEL))


def _less_half(e: Estimate) -> Estimate:
    return Estimate(e.value - 0.5, e.low - 0.5, e.high - 0.5, e.level)
