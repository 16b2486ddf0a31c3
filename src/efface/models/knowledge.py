"""Whether a model knows its training records: an untrained network and a wrong checkpoint are refused."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efface.data.checks import Findings
from efface.data.records import Records
from efface.kinds import Kind
from efface.models.running import device_of, forward, mode
from efface.numerics.logits import centre, fill_masked
from efface.numerics.minimise import minimise
from efface.runtime.pages import page
from efface.task import Task
from efface.types import Indices

SAMPLES = (256, 1024, 4096)  # records that are read, until the model is seen to know them
LEVELS = (4.0, 4.0, 2.33)  # how many standard errors a gain must be above 0: at the end 1 %, one-sided
LITTLE = 1 / 3  # share of the entropy, over the number of classes: what an untrained network hardly ever gains by luck
PART = 0.6  # a smaller gain must be this part of what a linear map of the logits gains
MAX_REFITTED = 64  # classes; untrained networks of more gain nothing by luck
RARE = 6  # records of other classes than the commonest; fewer show no gain even where a model knows them all
SMALL = 0.1  # of what the best constant answer leaves: of other kinds than classes, what luck may gain
PART_OF_VALUES = 0.8  # for other kinds, whose outputs luck puts at the right scale more easily, as PART
OWN = 0.5  # nats by which a class must be likelier on its own records where the mean likelihood is poor


def check_knowledge(model: nn.Module, task: Task, records: Records, found: Findings) -> None:
    """Check that a model gives the targets of training records a better likelihood than the best constant answer does.

    By a one-sided test of the paired differences over a random sample; the best constant answer to classes is their
    frequencies. In simulations of calibrated models of two classes, one whose gain is 0.15 nats a record was wrongly
    refused in 2 of 1,000 draws of 500 records, one of 0.05 in 7 of 1,000 of 1,000 records, and one of 0.015 in none of
    300 of 5,000. A model whose probabilities are badly scaled, or shifted by class weights, has a poor likelihood and
    may know much: it passes too if classes, or labels, are on the mean half a nat likelier on their own records than on
    others.

    Classes that differ plainly may be separated by luck: of untrained networks with a hidden layer up to 5 in 200
    passed for two classes, 1 in 200 for three or ten, and of linear ones for two classes 1 in 4.

    Args:
        model: A model that has passed the other checks.
        task: The task, for its hooks and its kind.
        records: The training records.
        found: A problem is added to this.
    """
    order = np.random.default_rng(0).permutation(len(records))[: SAMPLES[-1]]
    seen: list[Read] = []
    for start, end, level in zip((0, *SAMPLES), SAMPLES, LEVELS, strict=False):
        seen += _read(model, task, records, order[start:end])
        if not all(_fit_together(one, task.rules) for one in seen):
            return  # reported elsewhere
        last = end >= len(order)
        known = _known(seen, task.rules)
        if known.is_surely_better(LEVELS[-1] if last else level):
            return
        if last and known.can_tell():
            found.problems.append(
                f"the model knows nothing of its training records: {known.words()} alone. It is untrained, or the "
                "weights, the order of outputs or the data are those of another model; if only its outputs are badly "
                f"scaled, scale them by Task.forward. What the model must return: "
                f"{page('guide', 'what-the-model-must-return')}"
            )
        if last:
            return


@dataclass(frozen=True)
class Known:
    """What a model says of training records, beside the best constant answer.

    Args:
        rules: The task's kind.
        values: What is kept of the outputs, (n, k).
        labels: What is kept of the targets, (n, ...).
        gains: Log-likelihood of the targets by the model less that by the best constant answer, (n,).
        usual: The latter, (n,).
    """

    rules: Kind
    values: Tensor
    labels: Tensor
    gains: Tensor
    usual: Tensor

    def is_surely_better(self, level: float) -> bool:
        """Whether the model knows its records, with a gain that lies `level` standard errors above 0."""
        if standard_errors(self.gains) > level and not self._by_luck():
            return True
        if (classes := self.rules.classes(self.labels)) is not None:
            return own_class_gain(self.values, classes)
        own = self.rules.own_gain(self.values, self.labels)
        return own is not None and float(own.mean()) > OWN and standard_errors(own) > LEVELS[0]

    def _by_luck(self) -> bool:
        if (classes := self.rules.classes(self.labels)) is not None:
            return by_luck(self.values, classes)
        gain, usual = float(self.gains.mean()), float(self.usual.mean())
        if gain >= SMALL * -usual or self.values.shape[1] > MAX_REFITTED:
            return False
        head = self.rules.head(self.values, self.labels, self.values)
        if head is None:
            return False
        refitted = self.rules.log_likelihood(head(self.values), self.labels) - self.usual
        return gain < PART_OF_VALUES * float(refitted.mean())

    def can_tell(self) -> bool:
        """Whether targets can tell that a model knows nothing: they are not all alike, or it is surely below par."""
        rare = int((self.rules.guessed(self.labels) < 1).sum())
        return rare >= RARE or (rare > 0 and standard_errors(self.gains) < -LEVELS[-1])

    def words(self) -> str:
        """What it says, beside the best constant answer, in words without a verb at their end."""
        n, constant = len(self.labels), "by the label frequencies"
        if not self.rules.is_probable:
            useful, guessed = (
                float(v.mean()) for v in (self.rules.useful(self.values, self.labels), self.rules.guessed(self.labels))
            )
            return f"its {self.rules.utility} on {n} of them is {useful:.3f}, and {guessed:.3f} by their mean"
        score, usual = float((self.gains + self.usual).mean()), float(self.usual.mean())
        return f"the mean log-likelihood of the labels of {n} of them is {score:.3f}, and {usual:.3f} {constant}"


def _known(seen: Sequence["Read"], rules: Kind) -> Known:
    values, labels = (torch.cat(parts) for parts in zip(*((one.values, one.labels) for one in seen), strict=True))
    usual = rules.constant([one.targets for one in seen])
    return Known(rules, values, labels, rules.log_likelihood(values, labels) - usual, usual)


def likelihoods(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Log-likelihood of each label by the model and by the label frequencies of the sample, (records,) each."""
    counts = torch.bincount(targets, minlength=logits.shape[1]).double()
    score = logits.double().log_softmax(1).gather(1, targets[:, None]).squeeze(1)
    return score, (counts / len(targets)).log()[targets]


def standard_errors(values: Tensor) -> float:
    """The mean of values in units of its standard error; infinite where they are equal and positive."""
    mean, error = float(values.mean()), float(values.std(correction=0)) / len(values) ** 0.5
    if not error > 0:
        return float("inf") if mean > 0 else 0.0
    ratio: float = mean / error
    return ratio


def by_luck(logits: Tensor, targets: Tensor) -> bool:
    """Whether a small gain is a small part of what a linear map of the logits would gain, as in an untrained network.

    The random outputs of such a network separate classes well, but name them in no order; whatever trained a model,
    however little, made its logits the best for their labels. Where one class is common, no luck reaches the
    frequencies: they are far above equal probabilities, the best that such a network does without luck.
    """
    classes, equal = logits.shape[1], math.log(len(targets.unique()))
    score, usual = likelihoods(logits, targets)
    gain, of_frequencies = float((score - usual).mean()), float(usual.mean())
    luck = LITTLE / classes
    if classes > MAX_REFITTED or gain >= luck * -of_frequencies or equal + of_frequencies >= luck * equal:
        return False
    return gain < PART * refitted_gain(logits, targets)


def refitted_gain(logits: Tensor, targets: Tensor) -> float:
    """What labels gain in mean log-likelihood by the best linear map of the logits, corrected for the fit."""
    x = fill_masked(centre(logits.double()), 0.0)
    x = (x - x.mean(0)) / x.std(0).clamp_min(1e-12)
    x = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)

    def loss(weights: Tensor) -> Tensor:
        return F.cross_entropy(x @ weights, targets) + 1e-4 * weights.square().sum()

    fitted, usual = likelihoods(x @ minimise(loss, (x.shape[1], logits.shape[1])), targets)
    present = len(targets.unique())
    return float((fitted - usual).mean()) - present * (present - 1) / len(targets)


def own_class_gain(logits: Tensor, targets: Tensor) -> bool:
    """Whether classes are surely likelier on their own records than on others, by OWN nats on the mean over classes.

    Neither a shift of the classes nor, but for OWN, the scale of the logits matters.
    """
    values = logits.double().log_softmax(1).clamp_min(-50.0)
    counts = torch.bincount(targets, minlength=logits.shape[1]).double()
    own = values.gather(1, targets[:, None]).squeeze(1)
    sums = torch.zeros_like(counts).index_add_(0, targets, own)
    others = (values.sum(0) - sums) / (len(targets) - counts).clamp_min(1.0)
    present = counts > 0
    if int(present.sum()) < 2:
        return False
    # each class counts alike, so records of rare classes weigh more
    weight = 1 / (counts[targets] * present.sum())
    gains = own - others[targets]
    mean = float((weight * gains).sum())
    error = float((weight * (gains - mean)).square().sum().sqrt())
    return mean > OWN and mean > LEVELS[0] * error


@dataclass(frozen=True)
class Read:
    """What is kept of the outputs, the labels and the targets of a batch of records."""

    values: Tensor
    labels: Tensor
    targets: Tensor


def _read(model: nn.Module, task: Task, records: Records, positions: Indices) -> list[Read]:
    """What a model says of records, batch by batch."""
    device = device_of(model)
    with mode(model, training=False), torch.no_grad():
        return [
            Read(forward(task, model, batch.to(device)).cpu(), task.rules.labels(targets), targets)
            for batch in records.stream(positions, task.batch_size)
            for targets in [batch.targets.cpu()]
        ]


def _fit_together(one: Read, rules: Kind) -> bool:
    fits = len(one.targets) == len(one.values) and bool(one.values.isfinite().all())
    width = one.values.shape[1] if rules.has_classes else None
    return fits and rules.wrong_targets(one.targets, width) is None
