"""delete: learn on the forget set what the original says there of all classes but the label's."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from efface.data.records import Batch
from efface.methods.base import Problem, Step
from efface.methods.descent import Descent, Source, divergence, teacher_logits
from efface.numerics.logits import MASKED, centre
from efface.runtime.options import option


@dataclass(frozen=True)
class Delete(Descent):
    """w <- w - lr grad mean over forget KL(softmax of the original's logits but for the label's || w); no retain set.

    Meant for whole classes: the label's probability goes to 0, and the others keep their proportions, which is all that
    holds the rest of the model. Public code runs 20 epochs at 0.001 with momentum 0.9 and batches of 128 (CIFAR-10).

    Single records are taught that they are anything but what they are, which a model that never saw them hardly
    believes: like random labels, it then forgets too much. We also take out the logits of all other classes that the
    request takes whole, which would else be taught to each other's records.
    """

    key = "delete"
    summary = "learn on the forget set what the original says of all classes but the label's"
    source = "Zhou et al. (DELETE), CVPR 2025, arXiv 2503.23751 (by its abstract and public code)"
    needs_classes = True

    lr: float = option(1e-3, "learning rate of SGD", 1e-8, 10.0)

    def run(self, problem: Problem) -> Iterator[Step]:
        def loss(forget: Batch) -> Tensor:
            z = problem.logits(forget)[0]
            known = centre(teacher_logits(problem, problem.original, forget))
            return divergence(label_masked(known, problem.labels(forget), problem.forget_classes), z)

        return self.sgd(problem, loss, [Source("forget", problem.forget)])


def label_masked(logits: Tensor, targets: Tensor, classes: tuple[int, ...] = ()) -> Tensor:
    """Centred logits with MASKED, which has no probability, for each record's label and for some classes.

    Args:
        logits: Centred logits, (records, classes).
        targets: Labels, (records,).
        classes: The classes that are masked for all records.
    """
    masked = torch.zeros_like(logits, dtype=torch.bool)
    masked[:, list(classes)] = True
    return logits.masked_fill(masked.scatter(1, targets[:, None], True), MASKED)
