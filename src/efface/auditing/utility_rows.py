"""Rows of accuracy and loss on forget and holdout records, and on records that are used for utility only."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from efface.auditing.audit_test import CONFIDENCE
from efface.auditing.readings import Metric, bare, measured_row
from efface.kinds import CLASSES, Kind
from efface.metrics.utility import accuracy, mean_loss, mean_over_records, tug_of_war
from efface.runtime.printing import Brief
from efface.types import Estimate

Utility = Callable[[Sequence[Tensor], Tensor, float, Tensor | None, Kind], Estimate]
EVERY = slice(None)
TUG_OF_WAR = "Tug of war (1: accuracies as retrained)"
TUG_OF_WAR_SETS = ("forget", "retain", "test")
MEASURED_SETS = ("forget", "holdout")


@dataclass(frozen=True, repr=False)
class UtilitySet(Brief):
    """Labels of some records, and the models' values.

    Args:
        targets: Labels, (n, ...).
        original: Values of the original, (n, k): for classes, the logits.
        unlearned: Values of the unlearned model, (n, k).
        retrained: Values of each retrained model, (n, k).
        clusters: The number of each record's group, (n,); None if each record is a group of its own.
        rules: The kind of the task.
    """

    targets: Tensor
    original: Tensor
    unlearned: Tensor
    retrained: Sequence[Tensor]
    clusters: Tensor | None = None
    rules: Kind = CLASSES

    def read(self, utility: Utility, rows: Tensor | slice = EVERY) -> list[Estimate | None]:
        """Compute a utility score on some rows.

        Args:
            utility: The score, such as `accuracy`.
            rows: Which records; by default all.

        Returns:
            Scores of the original, the unlearned and the retrained models; None for these if there are none.
        """
        targets, clusters = self.targets[rows], None if self.clusters is None else self.clusters[rows]
        models = ([self.original], [self.unlearned], self.retrained)
        return [utility([z[rows] for z in k], targets, CONFIDENCE, clusters, self.rules) if k else None for k in models]


def utility_rows(sets: Mapping[str, UtilitySet], kinds: Mapping[str, Tensor]) -> list[Metric]:
    """Utility (accuracy, for classes) and loss on each set, utility on each kind of forget records, and tug of war.

    Args:
        sets: The records by name; `forget` is among them.
        kinds: Kinds of forget records, as masks over them, (n,).
    """
    rows, rules = [], sets["forget"].rules
    loss = "Loss (nats)" if rules.is_probable else "Loss"
    for name, title, utility in (("accuracy", rules.utility, accuracy), ("loss", loss, mean_loss)):
        for place, records in sets.items():
            rows.append(measured_row(f"{name}_{place}", f"{title} on {place}", "all", "utility", records.read(utility)))
    for kind, mask in kinds.items():
        shown = sets["forget"].read(accuracy, mask)
        rows.append(measured_row("accuracy_forget", f"{rules.utility} on forget", kind, "utility", shown))
    return [*rows, *_measures(sets), *_tug_of_war(sets)]


def _measures(sets: Mapping[str, UtilitySet]) -> list[Metric]:
    """What the kind shows of records besides, on forget and holdout records."""
    rules, rows = sets["forget"].rules, []
    for place in MEASURED_SETS:
        first = sets[place]
        for at, (key, title, _) in enumerate(rules.measures(first.original, first.targets)):
            row = sets[place].read(partial(_measure, at))
            rows.append(measured_row(f"{key}_{place}", f"{title}, {place}", "all", "utility", row))
    return rows


def _measure(
    at: int, values: Sequence[Tensor], labels: Tensor, level: float, clusters: Tensor | None, rules: Kind
) -> Estimate:
    """The mean over records and models of one of the kind's measures."""
    each = torch.stack([rules.measures(v, labels)[at].of_records for v in values]).mean(0)
    return mean_over_records(each, level, -math.inf, clusters=clusters)


def _tug_of_war(sets: Mapping[str, UtilitySet]) -> list[Metric]:
    if not sets["forget"].retrained or not math.isfinite(sets["forget"].rules.least):
        return []  # it is a product of shares
    chosen = {name: sets[name] for name in TUG_OF_WAR_SETS if name in sets}
    accuracies: list[dict[str, float]] = []
    for kind in range(3):
        read = {name: records.read(accuracy)[kind] for name, records in chosen.items()}
        accuracies.append({name: e.value for name, e in read.items() if e is not None})
    values = [tug_of_war(a, accuracies[2]) for a in accuracies[:2]]
    return [measured_row("tow", TUG_OF_WAR, "all", "utility", [bare(values[0]), bare(values[1]), bare(1.0)])]
