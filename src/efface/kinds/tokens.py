"""A sequence of classes for each record: tagging, next item, language models."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from efface.kinds.base import Kind, Perturb
from efface.kinds.mistaken import not_logits_of_classes
from efface.kinds.shapes import shape_of
from efface.kinds.words import Measure, Words
from efface.numerics.log_odds import SUREST, log_odds
from efface.runtime.options import option

QUANTILES = 8  # of the log-likelihoods of a record's positions, the least and the greatest among them
SUREST_MEAN = -1e-7  # of a mean log-likelihood in float32, so that its odds stay finite
READ = 2**22  # numbers of logits of which what is only read is computed at a time, since that makes several copies
NO_GAP = -1.0  # between other classes where there is but one
CHANGED = 0.1  # share of a record's positions that a slightly changed copy takes from elsewhere in the record
LOWEST = 0.2  # share of a record's positions, those of the least scores, that Min-K%++ reads

# the columns of values: what steps compare, then what is only read
MEAN = 0
COMPARED = 1 + QUANTILES
SUM, SURENESS, CONFIDENCE, MIN_K, RIGHT, EXTRACTED, OTHERS = range(COMPARED, COMPARED + 7)
COLUMNS = OTHERS + 1
# the columns of labels
POSITIONS, PACKED = 0, 1


@dataclass(frozen=True)
class Tokens(Kind):
    """A class at each position of a sequence: logits (n, positions, classes), trained by cross-entropy.

    A record is a whole sequence, of any length. A target holds the class of each position, (n, positions); positions
    with the target `ignored`, such as padding, count for nothing. Outputs at a position are about the target at the
    same position: a language model's targets are its inputs moved by one.

    With l_t the log-likelihood of the target at position t and L the mean of l_t over the positions that count, the
    margin is the log-odds L - log(1 - exp L): it orders records as L does, and for a single position it is the margin
    of `classes`. What is kept of a record is L and QUANTILES quantiles of l_t, which steps compare; and, for what is
    only read, the sum of l_t, the means over positions of minus the entropy and of the log-probability of the likeliest
    class, Min-K%++ (arXiv 2404.02936), the share of positions whose target is the likeliest class (exact memorisation),
    the share of the sequence that follows the last position where it is not (extraction strength, by teacher forcing),
    and the mean over positions of the gap between the two best classes other than the target. Where gradients flow,
    what is only read is 0.

    Args:
        ignored: The target of positions that count for nothing.
    """

    key = "tokens"
    title = "a sequence of classes"
    words = Words(
        "log-odds of a mean position",
        "How sure a model is of a record's sequence: the mean over its positions of the log-probability of the target, "
        "as the logarithm of odds.",
        "accuracy (positions right)",
        values="log-likelihoods of positions",
    )
    utility = "Positions right"
    is_long = True
    unit = "classes"
    bends = False

    ignored: int = option(-100, "the target of positions that count for nothing", -(2**31), 2**31)

    @classmethod
    def found(cls, outputs: Tensor, targets: Tensor) -> bool:
        is_whole = not targets.is_floating_point() and targets.dtype != torch.bool
        return outputs.ndim == 3 and outputs.shape[:2] == targets.shape and is_whole

    def wrong_outputs(self, outputs: Tensor, targets: Tensor) -> str | None:
        if outputs.ndim == 3 and outputs.shape[2] > 1 and outputs.shape[:2] == targets.shape[:2]:
            return None
        return "logits for each position of the targets, (records, positions, classes)"

    def wrong_targets(self, targets: Tensor, width: int | None) -> str | None:
        if targets.ndim != 2 or targets.is_floating_point() or targets.dtype == torch.bool:
            return f"expected an integer class at each position, (records, positions), got {shape_of(targets)}"
        counts = targets != self.ignored
        if not bool(counts.any(1).all()):
            return f"expected a position that counts in every record, got one with {self.ignored} at all of them"
        values = targets[counts]
        if width is None or not len(values) or 0 <= int(values.min()) <= int(values.max()) < width:
            return None
        wrong = values[(values < 0) | (values >= width)]
        return f"the model has classes 0 to {width - 1}, got {int(wrong[0])}"

    def not_logits(self, outputs: Tensor, trained: bool = True) -> tuple[str, str] | None:
        return not_logits_of_classes(outputs.flatten(0, 1), trained)

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        logits, targets = outputs.float(), targets.to(outputs.device)
        counts = targets != self.ignored
        own = targets.where(counts, 0)
        log_p = logits.log_softmax(2)
        # (n, positions); a model may mask the class that stands in for a target that is ignored
        known = log_p.gather(2, own[:, :, None]).squeeze(2).where(counts, 0.0)
        number = counts.sum(1)
        mean = known.sum(1) / number
        if log_p.requires_grad:  # steps read only what they compare
            only_read = mean.new_zeros(len(mean), COLUMNS - COMPARED)
        else:
            rows = max(1, READ // max(1, log_p[0].numel()))
            parts = (each.split(rows) for each in (log_p, own, known, counts))
            only_read = torch.cat([_only_read(*part) for part in zip(*parts, strict=True)])
        return torch.cat([mean[:, None], _quantiles(known, counts), only_read], 1)

    def labels(self, targets: Tensor) -> Tensor:
        """The number of positions that count, and the bytes that the targets take once packed by zlib, (n, 2)."""
        if targets.is_floating_point():  # labels already
            return targets
        rows = [row[row != self.ignored].cpu().to(torch.int32) for row in targets]
        packed = [len(zlib.compress(row.numpy().tobytes())) for row in rows]
        return torch.tensor([[len(row), size] for row, size in zip(rows, packed, strict=True)], dtype=torch.float64)

    def losses(self, values: Tensor, labels: Tensor) -> Tensor:
        return -values[:, MEAN]

    def margin(self, values: Tensor, labels: Tensor) -> Tensor:
        return log_odds(values[:, MEAN].double().clamp_max(SUREST_MEAN))

    def log_likelihood(self, values: Tensor, labels: Tensor) -> Tensor:
        return values[:, MEAN].double().clamp_max(SUREST)

    def useful(self, values: Tensor, labels: Tensor) -> Tensor:
        return values[:, RIGHT].double()

    def guessed(self, labels: Tensor) -> Tensor:
        return torch.zeros(len(labels), dtype=torch.float64)  # labels do not tell which class is the commonest

    def constant(self, targets: Sequence[Tensor]) -> Tensor:
        """By the share of each class among all positions."""
        counts = [batch != self.ignored for batch in targets]
        known = torch.cat([batch[at] for batch, at in zip(targets, counts, strict=True)])
        shares = (torch.bincount(known).double() / len(known)).log()
        each = [shares[batch.where(at, int(known[0]))] * at for batch, at in zip(targets, counts, strict=True)]
        return torch.cat([row.sum(1) / at.sum(1) for row, at in zip(each, counts, strict=True)])

    def answers(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """The share of positions whose target is the likeliest class, in per cent, and the mean log-likelihood."""
        return (100 * values[:, RIGHT].nan_to_num()).round().long(), values[:, MEAN]

    def in_short(self, labels: Tensor) -> list[int | str]:
        return [f"{int(row[POSITIONS])} positions" for row in labels]

    def other(self, values: Tensor, labels: Tensor) -> Tensor | None:
        """The mean over positions of the gap between the two best other classes, which no step compares, (n,)."""
        return None if bool((values[:, OTHERS] < 0).any()) else values[:, OTHERS].double()

    def extra_scores(self, values: Tensor, labels: Tensor) -> Mapping[str, Tensor]:
        total = values[:, SUM].double()
        return {"min_k": values[:, MIN_K].double(), "zlib": total / labels[:, PACKED].to(total.device)}

    def measures(self, values: Tensor, labels: Tensor) -> Sequence[Measure]:
        columns = values.double().unbind(1)
        return (
            Measure("likelihood_sum", "Log-likelihood, sum over positions (nats)", columns[SUM]),
            Measure("likelihood_worst", "Log-likelihood of the worst position (nats)", columns[MEAN + 1]),
            Measure("memorised", "Exact memorisation (share of positions right)", columns[RIGHT]),
            Measure("extracted", "Extraction strength (share of the sequence)", columns[EXTRACTED]),
        )

    def copier(self, inputs: Any, targets: Tensor) -> Perturb | None:
        """Copies take one position in ten from elsewhere in the record, where inputs are a tensor (records, positions).

        Of other inputs it is not known which parts are the sequence, and which are masks or lengths.
        """
        is_sequence = isinstance(inputs, Tensor) and inputs.ndim == 2 and inputs.shape[1] > 1
        return _moved if is_sequence else None

    def confidence(self, values: Tensor) -> Tensor | None:
        return values[:, CONFIDENCE].double()

    def sureness(self, values: Tensor) -> Tensor | None:
        return values[:, SURENESS].double()

    def compared(self, values: Tensor, erased: Sequence[int] = ()) -> Tensor:
        return values[:, :COMPARED]

    def with_margin(self, compared: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
        """Multiply all log-likelihoods of a record by the same number."""
        known = compared.double().clamp_max(SUREST_MEAN)  # of which none is 0, which no number would change
        mean = F.logsigmoid(wanted.double())
        return (known * (mean / known[:, MEAN])[:, None]).to(compared.dtype)


def _quantiles(known: Tensor, counts: Tensor) -> Tensor:
    """Quantiles of the log-likelihoods of each record's positions, (n, QUANTILES), the least first."""
    ordered = known.masked_fill(~counts, torch.inf).sort(1).values
    at = (counts.sum(1, keepdim=True) - 1) * torch.linspace(0, 1, QUANTILES, device=known.device)
    low, high = ordered.gather(1, at.floor().long()), ordered.gather(1, at.ceil().long())
    return low + (high - low) * (at - at.floor())


def _only_read(log_p: Tensor, own: Tensor, known: Tensor, counts: Tensor) -> Tensor:
    """The columns after those that steps compare, (n, 6)."""
    likeliest, answer = log_p.max(2)
    p, log_p = log_p.exp(), log_p.clamp_min(-1e4)
    expected = (p * log_p).sum(2)  # minus the entropy, the mean of log p
    variance = (p * (log_p - expected[:, :, None]).square()).sum(2)
    number = counts.sum(1)

    def mean(values: Tensor) -> Tensor:
        return (values * counts).sum(1) / number

    standard = (known - expected) / variance.clamp_min(1e-8).sqrt()
    ordered = standard.masked_fill(~counts, torch.inf).sort(1).values
    read = (LOWEST * number).ceil().clamp_min(1)
    among = torch.arange(ordered.shape[1], device=ordered.device) < read[:, None]
    least = ordered.where(among, 0.0).sum(1) / read
    is_right = (answer == own) | ~counts
    after = is_right.flip(1).cumprod(1).flip(1).bool() & counts
    columns = [known.sum(1), mean(expected), mean(likeliest), least, mean(is_right.float())]
    return torch.stack([*columns, after.sum(1) / number, mean(_gap(log_p, own))], 1).float()


def _gap(log_p: Tensor, own: Tensor) -> Tensor:
    """The gap between the two highest but the target's, (n, positions); NO_GAP with two classes."""
    if log_p.shape[2] < 3:
        return torch.full_like(own, NO_GAP, dtype=torch.float32)
    top = log_p.scatter(2, own[:, :, None], -torch.inf).topk(2, dim=2).values
    return top[:, :, 0] - top[:, :, 1]


def _moved(inputs: Tensor, generator: torch.Generator) -> Tensor:
    """A copy of sequences, (n, positions), in which a share of the positions holds what another does."""
    chosen = torch.rand(inputs.shape, generator=generator, dtype=torch.float32) < CHANGED
    source = torch.randint(inputs.shape[1], inputs.shape, generator=generator)
    return torch.where(chosen.to(inputs.device), inputs.gather(1, source.to(inputs.device)), inputs)
