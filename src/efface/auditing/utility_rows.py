"""Rows of accuracy and loss on forget and holdout records, and on records that are used for utility only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from efface.auditing.audit_test import CONFIDENCE
from efface.auditing.readings import Metric, bare, measured_row
from efface.metrics.utility import accuracy, mean_loss, tug_of_war
from efface.types import Estimate

Utility = Callable[[Sequence[Tensor], Tensor, float, Tensor | None], Estimate]
EVERY = slice(None)
TUG_OF_WAR = "Tug of war (1: accuracies as retrained)"
TUG_OF_WAR_SETS = ("forget", "retain", "test")


@dataclass(frozen=True)
class UtilitySet:
    """Labels of some records, and the models' logits.

    Args:
        targets: Labels, (n,).
        original: Logits of the original, (n, classes).
        unlearned: Logits of the unlearned model, (n, classes).
        retrained: Logits of each retrained model, (n, classes).
        clusters: The number of each record's group, (n,); None if each record is a group of its own.
    """

    targets: Tensor
    original: Tensor
    unlearned: Tensor
    retrained: Sequence[Tensor]
    clusters: Tensor | None = None

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
        return [utility([z[rows] for z in k], targets, CONFIDENCE, clusters) if k else None for k in models]


def utility_rows(sets: Mapping[str, UtilitySet], kinds: Mapping[str, Tensor]) -> list[Metric]:
    """Accuracy and loss on each set, accuracy on each kind of forget records, and the tug-of-war score.

    Args:
        sets: The records by name; `forget` is among them.
        kinds: Kinds of forget records, as masks over them, (n,).
    """
    rows = []
    for name, title, utility in (("accuracy", "Accuracy", accuracy), ("loss", "Loss (nats)", mean_loss)):
        for place, records in sets.items():
            rows.append(measured_row(f"{name}_{place}", f"{title} on {place}", "all", "utility", records.read(utility)))
    for kind, mask in kinds.items():
        shown = sets["forget"].read(accuracy, mask)
        rows.append(measured_row("accuracy_forget", "Accuracy on forget", kind, "utility", shown))
    return [*rows, *_tug_of_war(sets)]


def _tug_of_war(sets: Mapping[str, UtilitySet]) -> list[Metric]:
    if not sets["forget"].retrained:
        return []
    chosen = {name: sets[name] for name in TUG_OF_WAR_SETS if name in sets}
    accuracies: list[dict[str, float]] = []
    for kind in range(3):
        read = {name: records.read(accuracy)[kind] for name, records in chosen.items()}
        accuracies.append({name: e.value for name, e in read.items() if e is not None})
    values = [tug_of_war(a, accuracies[2]) for a in accuracies[:2]]
    return [measured_row("tow", TUG_OF_WAR, "all", "utility", [bare(values[0]), bare(values[1]), bare(1.0)])]
