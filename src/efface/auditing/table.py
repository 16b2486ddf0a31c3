"""The table of an audit: every score of the original, unlearned and retrained models on the same records."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from efface.attacks import ATTACKS, Attack, by_key
from efface.attacks.outputs import RecordOutputs
from efface.auditing.attack_tests import Scores
from efface.auditing.readings import Metric, Reading
from efface.auditing.verdict import LEVEL, AuditTest
from efface.metrics.distance import excess_d2, standardise_by_nonmembers
from efface.metrics.geometry import linear_cka
from efface.metrics.membership import AucResult, conditional_auc, interval, prediction_interval
from efface.metrics.roc import MIN_NEGATIVES, roc, tpr_at
from efface.metrics.utility import accuracy, correct, mean_loss, tug_of_war
from efface.numerics.logits import margin, other_gap, symlog
from efface.types import Estimate

MIN_DISTANCES = 3  # retrained models, so that one can be held out against at least two others
FPR = 0.01
NO_RETRAINED = Reading.missing("no retrained models were given")
HIDDEN = "the request does not look like a random sample, so never-seen records of all difficulties mislead"

Utility = Callable[[Sequence[Tensor], Tensor, float], Estimate]
# targets, then logits of the original, the unlearned and the retrained models
Place = tuple[Tensor, Tensor, Tensor, Sequence[Tensor]]


@dataclass(frozen=True)
class Table:
    """All that the models said, and the rows made of it.

    `plain` holds records for utility alone (retain, test). `tests` are the ladder's, with p values adjusted. `barred`
    says that attacks do not apply to this request at this level. `extra` are rows that were made elsewhere.
    """

    scores: Scores
    plain: Mapping[str, Place]
    tests: Sequence[AuditTest] = ()
    barred: bool = False
    extra: Sequence[Metric] = ()

    def record_margins(self) -> dict[str, Tensor | None]:
        """Each forget record's margin; averaged over the retrained models."""
        values = [margin(s.forget.logits, s.forget.targets) for s in self.scores.models]
        again = torch.stack(values[2:]).mean(0) if values[2:] else None
        return {"original": values[0], "unlearned": values[1], "retrained": again}

    def record_gaps(self) -> dict[str, Tensor | None]:
        """Each forget record's distance to the retrained models: margin less their mean, in their standard deviations.

        On the symmetric log of the margin; None with fewer than two retrained models.
        """
        if not self.scores.against_retrained:
            return {"original": None, "unlearned": None}
        values = [symlog(margin(s.forget.logits, s.forget.targets)) for s in self.scores.models]
        again = torch.stack(values[2:])
        unit = again.std(0).clamp_min(1e-9)
        return {name: (v - again.mean(0)) / unit for name, v in zip(("original", "unlearned"), values, strict=False)}

    def utility_change(self) -> Estimate:
        """Accuracy of the unlearned model less that of the retrained ones, or of the original without two of those.

        On test records, else on nonmembers; paired. What one training differs by from another is part of the interval,
        as retrained models show it, else reference models on the nonmembers.
        """
        targets, before, after, again = self.plain["test"] if "test" in self.plain else self._place("nonmembers")
        models = again if self.scores.against_retrained else [before]
        right = torch.stack([correct(z, targets) for z in models])
        change = correct(after, targets) - right.mean(0)
        if self.scores.against_retrained:
            shares, times = right.mean(1), 1 + 1 / len(again)
        else:
            seen = [r.nonmembers for r in self.scores.references]
            shares = torch.tensor([float(correct(r.logits, r.targets).mean()) for r in seen], dtype=torch.float64)
            times = 2.0
        noise = float(shares.var()) * times if len(shares) > 1 else 0.0
        variance = float(change.var()) / len(change) + noise
        df = (len(shares) - 1) * (variance / noise) ** 2 if noise > 0 else math.inf
        return interval(float(change.mean()), variance, LEVEL, -1.0, 1.0, df)

    def roc(self) -> dict[str, object]:
        """Curves of LiRA where there are references, else of the loss attack."""
        attack = self._strongest
        collect_outputs = self.scores.models[:3]
        names = ("original", "unlearned", "retrained")
        curves: dict[str, object] = dict.fromkeys(names)
        for name, sight in zip(names, collect_outputs, strict=False):
            ours, theirs = self._scored(attack, sight)
            c = roc(ours, theirs)
            curves[name] = {"fpr": c.fpr.tolist(), "tpr": c.tpr.tolist()}
        counts = len(collect_outputs[0].nonmembers.targets), len(collect_outputs[0].forget.targets)
        return {"statistic": attack.title, "negatives": counts[0], "positives": counts[1], "models": curves}

    def metrics(self) -> list[Metric]:
        """Every row, utility first."""
        return [*self._utility(), *self._attacks(), *self._features(), *self._distances(), *self.extra]

    def _utility(self) -> list[Metric]:
        places = {"forget": self._place("forget"), "holdout": self._place("nonmembers"), **self.plain}
        rows = []
        for name, title, score in (("accuracy", "Accuracy", accuracy), ("loss", "Loss (nats)", mean_loss)):
            for place, seen in places.items():
                shown = _by_model(score, seen, slice(None))
                rows.append(_row(f"{name}_{place}", f"{title} on {place}", "all", "utility", shown))
        for group, mask in self.scores.groups.items():
            shown = _by_model(accuracy, places["forget"], mask)
            rows.append(_row("accuracy_forget", "Accuracy on forget", group, "utility", shown))
        return [*rows, *self._tug_of_war(places)]

    def _tug_of_war(self, places: Mapping[str, Place]) -> list[Metric]:
        if not self.scores.retrained:
            return []
        shares: list[dict[str, float]] = []
        for k in range(3):
            kept = {name: places[name] for name in ("forget", "retain", "test") if name in places}
            readings = {name: _by_model(accuracy, seen, slice(None))[k] for name, seen in kept.items()}
            shares.append({name: e.value for name, e in readings.items() if e is not None})
        shown = [_bare(tug_of_war(s, shares[2])) for s in shares[:2]]
        return [_row("tow", "Tug of war (1: accuracies as retrained)", "all", "utility", [*shown, _bare(1.0)])]

    def _place(self, name: str) -> Place:
        views = [getattr(s, name) for s in self.scores.models]
        return views[0].targets, views[0].logits, views[1].logits, [v.logits for v in views[2:]]

    def _scored(self, attack: Attack, sight: object) -> tuple[Tensor, Tensor]:
        scored = self.scores.scored(attack, sight)  # type: ignore[arg-type]
        if scored is None:
            raise ValueError(f"{attack.key} has no score here")
        return scored

    def _attacks(self) -> list[Metric]:
        plain = [conditional_auc(*self._scored(ATTACKS[0], s)) for s in self.scores.models]
        rows = [_row("loss_marginal", "Loss attack AUC, all nonmembers alike", "all", "attack", _auc(plain))]
        tests = {r.key: r for r in self.tests}
        for attack in ATTACKS:
            rows += self._attack(attack, tests.get(attack.key))
        return [*rows, self._low_false_alarms()]

    def _attack(self, attack: Attack, test: AuditTest | None) -> list[Metric]:
        marginal = self.scores.marginal
        title = f"{attack.title}, AUC{'' if marginal else ' at equal difficulty'}"
        decides = self.scores.decides(attack)
        known = [p for i in range(len(self.scores.models)) if (p := self.scores.auc_result(attack, i)) is not None]
        if not known:
            lacks = "reference models" if marginal and attack.spread else attack.needs
            why = f"needs {lacks}" if self.scores.references or marginal else self.scores.why
            missing = Reading.missing(why)
            return [Metric(attack.key, title, "all", attack.kind, decides, missing, missing, missing)]
        if self.barred:
            hidden = Reading("not_applicable", None, HIDDEN)
            return [Metric(attack.key, title, "all", attack.kind, decides, hidden, hidden, hidden)]
        row = _row(attack.key, title, "all", attack.kind, _auc(known), decides)
        if test is not None and test.outcome == "uninformative":
            dull = Reading("uninformative", row.unlearned.estimate, test.uninformative_reason)
            row = Metric(attack.key, title, "all", attack.kind, decides, row.original, dull, row.retrained)
        rows = [row]
        if attack is ATTACKS[0]:
            rows += [
                _row(attack.key, title, group, attack.kind, _auc(self.scores.of_group(attack, mask)))
                for group, mask in self.scores.groups.items()
            ]
        return rows

    @property
    def _strongest(self) -> Attack:
        return by_key("lira" if self.scores.references else "loss")

    def _low_false_alarms(self) -> Metric:
        attack = self._strongest
        title = f"{attack.title}, TPR at {FPR:.0%} FPR"
        negatives = len(self.scores.original.nonmembers.targets)
        if negatives < MIN_NEGATIVES:
            few = Reading.missing(f"needs at least {MIN_NEGATIVES:,} never-seen records; there are {negatives:,}")
            return Metric("tpr", title, "all", "attack", False, few, few, few)
        shown = [tpr_at(*self._scored(attack, s), FPR, LEVEL) for s in self.scores.models]
        again = prediction_interval([e.value for e in shown[2:]], LEVEL, 0.0, 1.0) if shown[2:] else None
        return _row("tpr", title, "all", "attack", [*shown[:2], again])

    def _features(self) -> list[Metric]:
        """How like the original's the features of forget records are: a last layer alone changed leaves them at 1."""
        before = self.scores.original.forget.features
        if before is None:
            return []
        others = [s.forget.features for s in self.scores.models[1:]]
        values = [1.0, *(linear_cka(before, f) for f in others if f is not None and len(f) == len(before))]
        if not all(map(math.isfinite, values)):  # one record, or features alike for all, have no spread to compare
            return []
        again = prediction_interval(values[2:], LEVEL, 0.0, 1.0) if values[2:] else None
        shown = [*(_bare(v) for v in values[:2]), again]
        return [_row("cka", "Likeness of features to the original's (CKA), forget", "all", "features", shown)]

    def _distances(self) -> list[Metric]:
        scores = self.scores
        if len(scores.retrained) < MIN_DISTANCES:
            return []
        rows = []
        for key, title, statistic in DISTANCES:
            if statistic is other_gap and scores.original.forget.logits.shape[1] < 3:
                continue
            values = standardise_by_nonmembers(
                *(torch.stack([symlog(_read(statistic, v)) for v in views]) for views in self._both())
            )
            for group, mask in {"all": torch.ones(values.shape[1], dtype=torch.bool), **scores.groups}.items():
                kept, retrained = values[:, mask], values[2:, mask]
                held = [
                    excess_d2(retrained[i : i + 1], torch.cat([retrained[:i], retrained[i + 1 :]]))
                    for i in range(len(retrained))
                ]
                numbers = [excess_d2(kept[:1], retrained), excess_d2(kept[1:2], retrained), sum(held) / len(held)]
                rows.append(
                    Metric(f"d2_{key}", title, group, "distance", False, *(distance_reading(_bare(v)) for v in numbers))
                )
        return rows

    def _both(self) -> tuple[list[RecordOutputs], list[RecordOutputs]]:
        return [s.forget for s in self.scores.models], [s.nonmembers for s in self.scores.models]


DISTANCES = (
    ("margin", "Excess d2 of one model to retrained, margin", margin),
    ("other_classes", "Excess d2 of one model to retrained, gap of other classes", other_gap),
)


def _read(statistic: Callable[[Tensor, Tensor], Tensor], seen: RecordOutputs) -> Tensor:
    return statistic(seen.logits, seen.targets)


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


def _auc(parts: Sequence[AucResult]) -> list[Estimate | None]:
    """Estimates of original and unlearned, and of the retrained models where there are any."""
    again = prediction_interval([p.value for p in parts[2:]], LEVEL, 0.0, 1.0) if parts[2:] else None
    return [*(p.estimate(LEVEL) for p in parts[:2]), again]


def _bare(value: float) -> Estimate:
    return Estimate.point(value, LEVEL)


def distance_reading(e: Estimate) -> Reading:
    """What is measured in the spread of retrained models, which needs them to differ."""
    if not math.isfinite(e.value):
        return Reading.missing("the retrained models say the same of every record, so there is no unit of distance")
    return Reading.of(e)
