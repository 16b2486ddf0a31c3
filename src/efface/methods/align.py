"""align and align_gan: give forget records the outputs of never-seen records, by a distance or by a discriminator."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from efface.data.records import Batch
from efface.methods.adversarial import adversarial_loss, label_first
from efface.methods.base import Problem, Step, endless
from efface.methods.descent import Descent, Source
from efface.models.running import device_of, logits_of
from efface.runtime.options import option
from efface.runtime.seeds import derive_seed


@dataclass(frozen=True)
class Aligning(Descent, ABC):
    """w <- w - lr grad [ CE(retain) + pull D(outputs on forget, the original's outputs on never-seen records) ].

    Outputs are centred logits, label first (see `label_first`), in eval mode, as a model is judged. D compares two
    batches as wholes: it regards neither how hard a single record is nor how often its label occurs among the
    never-seen records, which are the calibration records. A survey says of Chen et al., "Machine Unlearning via
    GAN", that it does so with third-party data; the paper could not be had, so that all values were chosen here, and
    nothing here may be attributed to its authors.
    """

    pull: float = option(1.0, "weight of the distance between forget and never-seen outputs", 0.0, 1e3)

    @abstractmethod
    def distance(self, problem: Problem, unseen: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """Make the loss D of two batches of outputs: the model's, and never-seen ones.

        Args:
            problem: The problem.
            unseen: Outputs on all never-seen records, (records, classes).
        """

    def run(self, problem: Problem) -> Iterator[Step]:
        at = problem.calibration
        outputs = logits_of(problem.task, problem.original, problem.holdout, at, problem.meter)
        unseen = label_first(outputs, problem.holdout.targets(at)).to(device_of(problem.model))
        draws = endless(np.arange(len(unseen)), self.batch, derive_seed(problem.seed, "align", "unseen"))
        distance = self.distance(problem, unseen)

        def loss(retain: Batch, forget: Batch) -> Tensor:
            z_retain, z_forget = problem.logits(retain, forget)
            drawn = unseen[torch.from_numpy(next(draws)).to(unseen.device)]
            apart = distance(label_first(z_forget, problem.labels(forget)), drawn)
            return problem.loss(z_retain, retain) + self.pull * apart

        sources = [Source("retain", problem.retain), Source("forget", problem.forget)]
        return self.sgd(problem, loss, sources, training=False)


@dataclass(frozen=True)
class Align(Aligning):
    """Aligning with D(x, y) = 2 E|x - y| - E|x - x'| - E|y - y'|, the energy distance of the two batches."""

    key = "align"
    summary = "give forget records the distribution of outputs of never-seen records, by an energy distance"
    source = "efface; inspired by a survey's words on Chen et al., arXiv 2111.11869"
    needs_classes = True

    def distance(self, problem: Problem, unseen: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        return energy_distance


@dataclass(frozen=True)
class AlignGan(Aligning):
    """Aligning with D(x, y) = -E log T(x), where T(x) is the probability of x being never seen by a small network.

    The network learns in turn with the model, by the cross-entropy of telling x from y.
    """

    key = "align_gan"
    summary = "give forget records outputs that a discriminator cannot tell from those of never-seen records"
    source = "efface; inspired by a survey's words on Chen et al., arXiv 2111.11869"
    needs_classes = True

    width: int = option(64, "hidden units in each of the discriminator's two layers", 1, 100_000)
    turns: int = option(1, "steps of the discriminator before each of the model", 1, 1000)
    lr_tell: float = option(3e-3, "learning rate of the discriminator's Adam", 1e-8, 1.0)

    def distance(self, problem: Problem, unseen: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        seed = derive_seed(problem.seed, "align", "discriminator")
        return adversarial_loss(unseen, self.width, self.turns, self.lr_tell, seed)


def energy_distance(one: Tensor, other: Tensor) -> Tensor:
    """Energy distance 2 E|x - y| - E|x - x'| - E|y - y'| between the rows of two batches; never negative.

    Pairs of a row with itself are included.

    Args:
        one: Rows x, (n, d).
        other: Rows y, (m, d).
    """
    across, within_one, within_other = (
        torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").mean()
        for a, b in ((one, other), (one, one), (other, other))
    )
    return 2 * across - within_one - within_other
