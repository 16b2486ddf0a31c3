"""regun: give forget records what the original says of never-seen records with the same labels."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from efface.data.records import Batch
from efface.methods.base import Problem, Step
from efface.methods.descent import Descent, Source
from efface.models.running import device_of, logits_of
from efface.runtime.options import option
from efface.runtime.seeds import derive_seed


@dataclass(frozen=True)
class ReGUn(Descent):
    """w <- w - lr grad [ alpha CE(retain) + (1 - alpha) mean over forget KL(q || w) ], with one q for each batch.

    q is the mean of the original's probabilities on never-seen records, here the calibration records: as many as the
    forget batch has, drawn anew for each batch, with its labels in its proportions. A label that no such record has is
    drawn from all of them. Public code runs 10 epochs over the forget set at 0.01 with alpha 0.5 and batches of 128. By
    default it takes any never-seen records; those with the same labels are one of its settings, and the paper's rule.

    All records of a batch share q, so that a batch of many labels teaches how often each label occurs rather than what
    any one of its records is like. The original knows the held-out records of a class as well as any, so that a request
    for a whole class is hardly served; the paper has random requests alone.
    """

    key = "regun"
    summary = "teach forget records what the original says of never-seen records with their labels"
    source = "Mirlach, Laguna & Vogt, arXiv 2603.11210 (by a summary with its equations, and its public code)"
    needs_classes = True

    alpha: float = option(0.5, "weight of the retain loss", 0.0, 1.0)

    def run(self, problem: Problem) -> Iterator[Step]:
        at = problem.calibration
        known = logits_of(problem.task, problem.original, problem.holdout, at, problem.meter)
        probabilities = known.softmax(1).to(device_of(problem.model))
        labels = problem.holdout.targets(at).numpy()
        rng = np.random.default_rng(derive_seed(problem.seed, "regun", "unseen"))
        every = np.arange(len(labels))
        rows = {label: every[labels == label] for label in np.unique(labels).tolist()}

        def reference(targets: Tensor) -> Tensor:
            drawn = [rng.choice(rows.get(label, every)) for label in targets.tolist()]
            return probabilities[torch.tensor(drawn, device=probabilities.device)].mean(0)

        def loss(retain: Batch, forget: Batch) -> Tensor:
            z_retain, z_forget = problem.logits(retain, forget)
            wanted = reference(problem.labels(forget)).expand_as(z_forget)
            apart = F.kl_div(F.log_softmax(z_forget, 1), wanted, reduction="batchmean")
            return self.alpha * problem.loss(z_retain, retain) + (1 - self.alpha) * apart

        return self.sgd(problem, loss, [Source("retain", problem.retain), Source("forget", problem.forget)])
