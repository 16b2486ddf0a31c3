"""The table of an audit: every score of the original, unlearned and retrained models on the same records."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from efface.attacks.label_margin import label_margin
from efface.auditing.attack_rows import attack_rows, scored, strongest
from efface.auditing.audit_test import CONFIDENCE, AuditTest, show
from efface.auditing.distance_rows import distance_rows, feature_rows
from efface.auditing.readings import Metric
from efface.auditing.scores import Scores
from efface.auditing.utility_rows import UtilitySet, utility_rows
from efface.metrics.membership import interval
from efface.metrics.roc import roc
from efface.numerics.clusters import ClusteredMean, repeats
from efface.numerics.logits import symlog
from efface.runtime.printing import sheet
from efface.types import Estimate


@dataclass(frozen=True, repr=False)
class Table:
    """The outputs of all models, and the rows made from them.

    Args:
        scores: The attacks on all models.
        utility_sets: Records that are used for utility only: `retain`, and `test` if the task has any.
        tests: The tests of the verdict, with adjusted p values.
        barred: Whether attacks do not apply to this request at this level.
        extra: Further rows.
    """

    scores: Scores
    utility_sets: Mapping[str, UtilitySet]
    tests: Sequence[AuditTest] = ()
    barred: bool = False
    extra: Sequence[Metric] = ()

    def __repr__(self) -> str:
        found = self.scores.unlearned
        tests = [
            ("", f"{t.title}: {t.original.value:+.3f} of the original, {show(t.unlearned)} after, {t.outcome}")
            for t in self.tests
        ]
        return sheet(
            f"Table: {len(self.tests)} tests that decide, on {len(found.forget.targets):,} forget records and "
            f"{len(found.nonmembers.targets):,} never-seen ones",
            [*tests, ("more", ".tests; .metrics() has every row, .roc() the curves, .record_margins() each record")],
        )

    def record_margins(self) -> dict[str, Tensor | None]:
        """Each forget record's margin, (n,), under each kind of model; the mean for several retrained models."""
        values = [label_margin(m.forget, ()) for m in self.scores.models]
        retrained = torch.stack(values[2:]).mean(0) if values[2:] else None
        return {"original": values[0], "unlearned": values[1], "retrained": retrained}

    def record_gaps(self) -> dict[str, Tensor | None]:
        """Each forget record's distance to the retrained models, (n,): margin less their mean, by their deviation.

        Margins are on the symmetric log, the unit is the standard deviation over the retrained models. None with fewer
        than two retrained models.
        """
        if not self.scores.against_retrained:
            return {"original": None, "unlearned": None}
        values = [symlog(label_margin(m.forget, ())) for m in self.scores.models]
        retrained = torch.stack(values[2:])
        unit = retrained.std(0).clamp_min(1e-9)
        return {
            name: (v - retrained.mean(0)) / unit for name, v in zip(("original", "unlearned"), values, strict=False)
        }

    def utility_change(self) -> Estimate:
        """Utility of the unlearned model less that of the retrained ones, or of the original if these are too few.

        The difference is paired, on test records if there are any, else on nonmembers. The interval includes the
        variation between trainings, which retrained models show, or else reference models on the nonmembers.

        Returns:
            The difference; negative for a loss of utility. For classes it is one of accuracies, from -1 to 1.
        """
        records = self.utility_sets["test"] if "test" in self.utility_sets else self._outputs("nonmembers")
        against_retrained, rules = self.scores.against_retrained, records.rules
        right = torch.stack(
            [rules.useful(z, records.targets) for z in (records.retrained if against_retrained else [records.original])]
        )
        change = rules.useful(records.unlearned, records.targets) - right.mean(0)
        if against_retrained:
            shares, times = right.mean(1), 1 + 1 / len(records.retrained)
        else:
            outputs = [r.nonmembers for r in self.scores.references]
            shares = torch.tensor(
                [float(rules.useful(r.logits, r.targets).mean()) for r in outputs], dtype=torch.float64
            )
            times = 2.0
        noise = float(shares.var()) * times if len(shares) > 1 else 0.0
        own, own_df = float(change.var()) / len(change), math.inf
        if repeats(records.clusters):
            mean = ClusteredMean(change, records.clusters)
            own, own_df = mean.variance(float(change.var())), mean.df
        variance = own + noise
        df = (len(shares) - 1) * (variance / noise) ** 2 if noise > 0 else math.inf
        df = min(df, own_df * (variance / own) ** 2) if own > 0 else df
        return interval(float(change.mean()), variance, CONFIDENCE, rules.least - 1, 1 - rules.least, df)

    def roc(self) -> dict[str, object]:
        """ROC curves of LiRA if there are references, else of the loss attack, as the document's part `roc`."""
        attack = strongest(self.scores)
        names = ("original", "unlearned", "retrained")
        curves: dict[str, object] = dict.fromkeys(names)
        for name, model in zip(names, self.scores.models[:3], strict=False):
            c = roc(*scored(self.scores, attack, model))
            curves[name] = {"fpr": c.fpr.tolist(), "tpr": c.tpr.tolist()}
        original = self.scores.original
        counts = {"negatives": len(original.nonmembers.targets), "positives": len(original.forget.targets)}
        return {"statistic": attack.title_for(self.scores.rules), **counts, "models": curves}

    def metrics(self) -> list[Metric]:
        """Every row, utility first."""
        sets = {"forget": self._outputs("forget"), "holdout": self._outputs("nonmembers"), **self.utility_sets}
        return [
            *utility_rows(sets, self.scores.kinds),
            *attack_rows(self.scores, self.tests, self.barred),
            *feature_rows(self.scores),
            *distance_rows(self.scores),
            *self.extra,
        ]

    def _outputs(self, place: str) -> UtilitySet:
        """The forget records or the nonmembers (`place`) as a set for utility."""
        outputs = [getattr(m, place) for m in self.scores.models]
        logits = [o.logits for o in outputs]
        clusters = self.scores.clusters[0 if place == "forget" else 1]
        return UtilitySet(outputs[0].targets, logits[0], logits[1], logits[2:], clusters, self.scores.rules)
