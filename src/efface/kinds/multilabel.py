"""Several labels for each record, each of which is there or not."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from efface.errors import shorten
from efface.kinds.base import Head, Kind
from efface.kinds.heads import fit_head
from efface.kinds.mistaken import not_logits_of_sigmoids
from efface.kinds.shapes import are_zero_or_one, shape_of
from efface.kinds.words import Words
from efface.numerics.log_odds import log_odds
from efface.numerics.probabilities import weighted

HALVINGS = 60  # of the interval in which a shift is looked for


@dataclass(frozen=True)
class MultiLabel(Kind):
    """Several labels for each record: logits (n, labels), trained by BCE; a target is a row of zeros and ones.

    With s = z where a label is there and s = -z where it is not, the log-likelihood of a record is L, the sum of
    log sigmoid(s) over its labels, and its margin the log-odds that all of them are right, L - log(1 - exp L).
    """

    key = "multilabel"
    title = "several labels, each there or not"
    words = Words(
        "log-odds of all labels",
        "How sure a model is of a record's labels: the logarithm of the odds that it gives to all of them together.",
        "accuracy (labels right)",
        "Gap between the two labels that are least sure",
        "least sure labels",
    )
    utility = "Labels right"
    unit = "labels"

    @classmethod
    def found(cls, outputs: Tensor, targets: Tensor) -> bool:
        alike = outputs.ndim == 2 and outputs.shape[1] > 1 and outputs.shape == targets.shape
        # rows with a single 1 each may be classes, written as one-hot rows
        return alike and are_zero_or_one(targets) and not bool((targets.double().sum(1) == 1).all())

    def wrong_outputs(self, outputs: Tensor, targets: Tensor) -> str | None:
        if outputs.ndim == 2 and outputs.shape[1] > 1 and len(outputs) == len(targets):
            return None
        return "one logit for each label, (records, labels)"

    def wrong_targets(self, targets: Tensor, width: int | None) -> str | None:
        if targets.ndim != 2 or (width is not None and targets.shape[1] != width):
            labels = "labels" if width is None else str(width)
            return f"expected 0 or 1 for each label, (records, {labels}), got {shape_of(targets)}"
        return None if are_zero_or_one(targets) else "expected 0 or 1 for each label, got other values"

    def not_logits(self, outputs: Tensor, trained: bool = True) -> tuple[str, str] | None:
        return not_logits_of_sigmoids(outputs, trained)

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.float().clone()

    def labels(self, targets: Tensor) -> Tensor:
        return targets.float()

    def losses(self, values: Tensor, labels: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(values, self.labels(labels), reduction="none").mean(1)

    def margin(self, values: Tensor, labels: Tensor) -> Tensor:
        return log_odds(self.log_likelihood(values, labels))

    def log_likelihood(self, values: Tensor, labels: Tensor) -> Tensor:
        return F.logsigmoid(_signed(values.double(), labels)).sum(1)

    def useful(self, values: Tensor, labels: Tensor) -> Tensor:
        return (_signed(values, labels) > 0).double().mean(1)

    def guessed(self, labels: Tensor) -> Tensor:
        return (labels == (labels.float().mean(0) > 0.5)).double().mean(1)

    def constant(self, targets: Sequence[Tensor]) -> Tensor:
        there = torch.cat([self.labels(batch) for batch in targets]).double()
        share = there.mean(0)
        return (torch.xlogy(there, share) + torch.xlogy(1 - there, 1 - share)).sum(1)

    def own_gain(self, values: Tensor, labels: Tensor) -> Tensor | None:
        """Of each label, the mean logit of records that have it less that of others; then the mean over labels."""
        there, off = self.labels(labels).double(), values.double() - values.double().mean(0)
        share = there.mean(0)
        known = (share > 0) & (share < 1)
        if not bool(known.any()):
            return None
        own = off * (there / share - (1 - there) / (1 - share))
        return own[:, known].mean(1)

    def answers(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Which labels are given, as the bits of a number, and how sure the model is of them."""
        weights = 2 ** (torch.arange(values.shape[1], device=values.device) % 62)
        return ((values > 0) * weights).sum(1), values.abs().mean(1)

    def in_short(self, labels: Tensor) -> list[int | str]:
        """The numbers of the labels that are there."""
        return [shorten(row.nonzero().flatten().tolist()) if bool(row.any()) else "none" for row in labels]

    def other(self, values: Tensor, labels: Tensor) -> Tensor | None:
        """Gap between the two labels of which the model is least sure, (n,), >= 0."""
        lowest = _signed(values.double(), labels).topk(2, dim=1, largest=False).values
        return lowest[:, 1] - lowest[:, 0]

    def confidence(self, values: Tensor) -> Tensor | None:
        return F.logsigmoid(values.double().abs()).sum(1)

    def sureness(self, values: Tensor) -> Tensor | None:
        inside, outside = F.logsigmoid(values.double()), F.logsigmoid(-values.double())
        return (weighted(inside, inside) + weighted(outside, outside)).sum(1)

    def modified_sureness(self, values: Tensor, labels: Tensor) -> Tensor | None:
        signed = _signed(values.double(), labels)
        right, wrong = F.logsigmoid(signed), F.logsigmoid(-signed)
        return 2 * weighted(wrong, right).sum(1)  # both answers of a label are classes, of which one is right

    def head(self, features: Tensor, labels: Tensor, values: Tensor) -> Head | None:
        there = labels.double().cpu()
        return fit_head(features, values.shape[1], lambda z: F.binary_cross_entropy_with_logits(z, there))

    def aligned(self, compared: Tensor, expected: Tensor, labels: Tensor) -> Tensor:
        """Signed logits, (n, labels), the label that is expected to be hardest first."""
        return _signed(compared, labels).gather(1, _order(expected, labels))

    def unaligned(self, aligned: Tensor, expected: Tensor, labels: Tensor) -> Tensor:
        return _signed(torch.empty_like(aligned).scatter(1, _order(expected, labels), aligned), labels)

    def with_margin(self, compared: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
        """Shift all signed logits of a record by the same amount."""
        signed = _signed(compared.double(), labels)
        far = wanted.abs() + signed.abs().amax(1) + 50
        low, high = -far, far
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            above = log_odds(F.logsigmoid(signed + middle[:, None]).sum(1)) > wanted
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        return _signed(signed + ((low + high) / 2)[:, None], labels).to(compared.dtype)


def _signed(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits, positive where the answer is right; its own inverse."""
    return logits * (2 * labels.to(logits.dtype) - 1)


def _order(expected: Tensor, labels: Tensor) -> Tensor:
    return _signed(expected, labels).argsort(1)
