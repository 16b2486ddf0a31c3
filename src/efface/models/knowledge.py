"""Whether a model knows its training records: an untrained network and a wrong checkpoint are refused."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efface.data.checks import Findings
from efface.data.records import Records
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
OWN = 0.5  # nats by which a class must be likelier on its own records where the mean likelihood is poor


def check_knowledge(model: nn.Module, task: Task, records: Records, found: Findings) -> None:
    """Check that a model gives the labels of training records a better likelihood than the label frequencies do.

    By a one-sided test of the paired differences over a random sample. In simulations of calibrated models of two
    classes, one whose gain is 0.15 nats a record was wrongly refused in 2 of 1,000 draws of 500 records, one of 0.05 in
    7 of 1,000 of 1,000 records, and one of 0.015 in none of 300 of 5,000. A model whose probabilities are badly
    scaled, or shifted by class weights, has a poor likelihood and may know much: it passes too if classes are, on the
    mean over classes, half a nat likelier on their own records than on others.

    Classes that differ plainly may be separated by luck: of untrained networks with a hidden layer up to 5 in 200
    passed for two classes, 1 in 200 for three or ten, and of linear ones for two classes 1 in 4.

    Args:
        model: A model that has passed the other checks.
        task: The task, for its hooks.
        records: The training records.
        found: A problem is added to this.
    """
    order = np.random.default_rng(0).permutation(len(records))[: SAMPLES[-1]]
    outputs: list[tuple[Tensor, Tensor]] = []
    for start, end, level in zip((0, *SAMPLES), SAMPLES, LEVELS, strict=False):
        outputs += _read(model, task, records, order[start:end])
        if not all(_fit_together(*pair) for pair in outputs):
            return  # reported elsewhere
        logits, targets = (torch.cat(parts) for parts in zip(*outputs, strict=True))
        last = end >= len(order)
        score, usual = likelihoods(logits, targets)
        better = standard_errors(score - usual) > (LEVELS[-1] if last else level)
        if (better and not by_luck(logits, targets)) or own_class_gain(logits, targets):
            return
        if last and _tells(score - usual, targets):
            found.problems.append(
                f"the model knows nothing of its training records: the mean log-likelihood of the labels of "
                f"{len(targets)} of them is {float(score.mean()):.3f}, and {float(usual.mean()):.3f} by the label "
                "frequencies alone. It is untrained, or the weights, the order of classes or the data are those of "
                "another model; if only its probabilities are badly scaled, scale its logits by Task.forward. What the "
                f"model must return: {page('guide', 'what-the-model-must-return')}"
            )
        if last:
            return


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


def _read(model: nn.Module, task: Task, records: Records, positions: Indices) -> list[tuple[Tensor, Tensor]]:
    """Logits and labels of records, batch by batch."""
    device = device_of(model)
    with mode(model, training=False), torch.no_grad():
        return [
            (forward(task, model, batch.to(device)).cpu(), task.rules.labels(batch.targets.cpu()))
            for batch in records.stream(positions, task.batch_size)
        ]


def _tells(gains: Tensor, targets: Tensor) -> bool:
    """Whether labels can tell that a model knows nothing: there are several classes, or it is surely below par."""
    counts = torch.bincount(targets)
    rare = len(targets) - int(counts.max())
    return rare >= RARE or (rare > 0 and standard_errors(gains) < -LEVELS[-1])


def _fit_together(logits: Tensor, targets: Tensor) -> bool:
    are_classes = targets.ndim == 1 and targets.dtype == torch.int64 and len(targets) == len(logits)
    return (
        are_classes
        and bool(logits.isfinite().all())
        and 0 <= int(targets.min()) <= int(targets.max()) < logits.shape[1]
    )
