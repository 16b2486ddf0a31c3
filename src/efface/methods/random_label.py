"""random_label and salun: wrong labels for the forget set, for all weights or those with its largest gradients."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from efface.data.records import Batch
from efface.methods.base import Problem, Step, endless
from efface.methods.curvature import batches, gradient, split
from efface.methods.descent import Descent, Source
from efface.models.running import device_of, mode
from efface.numerics.logits import is_masked
from efface.options import option
from efface.runtime.seeds import derive_seed


@dataclass(frozen=True)
class RandomLabel(Descent):
    """w <- w - lr grad [ sum over forget CE(x, y') + alpha sum over retain CE(x, y) ] / (f + alpha r), y' random.

    y' is any class but y with equal chance, drawn once for each record, or whenever it is drawn if `anew`. Public code
    shuffles f relabelled and r retain records together (1e-4 for 3 epochs, 0.003 for 10 or 0.01 for 10), some of it
    with the true label among those drawn. Here each step has a batch of either kind, weighted so that its gradient is
    on average the same at `alpha` 1. A step's batches then hold more forget records than there, for less noise. Few
    forget records weigh little, so they want a smaller `alpha`: f / r makes both sums count alike. It over-forgets: a
    model that is surely wrong about a record differs from one that never saw it.
    """

    key = "random_label"
    summary = "train on the retain set, and on wrong labels for the forget set"
    source = "baseline of Golatkar et al., CVPR 2020 (arXiv 1911.04933); Graves et al., AAAI 2021 (arXiv 2010.10981)"

    alpha: float = option(1.0, "weight of a retain record against that of a forget record", 0.0, 1e6)
    anew: bool = option(False, "draw another wrong label each time that a record is drawn")
    decay: float = option(5e-4, "weight decay", 0.0, 1.0)

    def run(self, problem: Problem) -> Iterator[Step]:
        return self.relabel(problem, self.make_optimiser(problem, decay=self.decay))

    def relabel(
        self, problem: Problem, optimiser: torch.optim.Optimizer, which: Tensor | None = None
    ) -> Iterator[Step]:
        """Run the steps.

        Args:
            problem: The problem.
            optimiser: The optimiser.
            which: Which forget records get wrong labels, (records,), bool, on the CPU; by default all.
        """
        f = len(problem.forget)
        relabelled = self._wrong(problem, torch.ones(f, dtype=torch.bool) if which is None else which)
        total = f + self.alpha * len(problem.retain)

        def loss(retain: Batch) -> Tensor:
            forget, drawn, chosen = next(relabelled)
            z_retain, z_forget = problem.logits(retain, forget)
            wrong = other_labels(forget.targets, drawn, ~is_masked(z_forget))
            taught = F.cross_entropy(z_forget, torch.where(chosen, wrong, forget.targets))
            return f / total * taught + (1 - f / total) * F.cross_entropy(z_retain, retain.targets)

        # a batch of one record breaks BatchNorm in train mode
        return self.sgd(problem, loss, [Source("retain", problem.retain)], training=f > 1, optimiser=optimiser)

    def _wrong(self, problem: Problem, which: Tensor) -> Iterator[tuple[Batch, Tensor, Tensor]]:
        """Endless batches of forget records: numbers in [0, 1) that fix the wrong label of each, and who gets one."""
        device, f = device_of(problem.model), len(problem.forget)
        rng = np.random.default_rng(derive_seed(problem.seed, "random_label", "labels"))
        own = rng.random(f)
        for rows in endless(np.arange(f), self.batch, derive_seed(problem.seed, "random_label", "forget")):
            drawn = rng.random(len(rows)) if self.anew else own[rows]
            batch = problem.train.read(problem.forget[rows]).to(device)
            yield batch, torch.from_numpy(drawn), which[torch.from_numpy(rows)].to(device)


@dataclass(frozen=True)
class SalUn(RandomLabel):
    """w <- w + m (u - w), where u is RandomLabel's update and m = 1 at the `share` of weights with the largest |grad|.

    The gradient is that of the forget set's cross-entropy at w*, in eval mode, and all weights are compared together.
    m holds for the update itself: masked out gradients would still let weight decay and momentum move a weight, as the
    authors' code once did. Theirs runs 10 epochs at 0.013 with weight decay 5e-4 and half of the weights, and draws
    labels anew in each epoch; on CIFAR-10 each epoch is a pass over the forget set and then one over the retain set.
    See RandomLabel for what differs here: one batch of each, and the true label is never drawn.
    """

    key = "salun"
    summary = "wrong labels for the forget set, taught only to the weights with its largest gradients"
    source = "Fan et al., ICLR 2024, arXiv 2310.12508"

    lr: float = option(0.013, "learning rate of SGD", 1e-8, 10.0)
    anew: bool = option(True, "draw another wrong label each time that a record is drawn")
    share: float = option(0.5, "share of the weights that may move", 0.0, 1.0)

    def run(self, problem: Problem) -> Iterator[Step]:
        optimiser = self.make_optimiser(problem, decay=self.decay)
        held = [
            (w, m, w.detach().clone()) for w, m in zip(problem.trainable(), salient(problem, self.share), strict=True)
        ]

        def restore(*_: Any) -> None:
            with torch.no_grad():
                for weight, moves, start in held:
                    weight.copy_(torch.where(moves, weight, start))

        optimiser.register_step_post_hook(restore)
        return self.relabel(problem, optimiser)


def other_labels(targets: Tensor, drawn: Tensor, choices: Tensor) -> Tensor:
    """Choose another label for each target; all that it may have are equally likely.

    Args:
        targets: Labels, (n,).
        drawn: Random numbers in [0, 1), (n,).
        choices: Which classes a record may have, (n, classes), bool.
    """
    classes = choices.shape[1]
    following = (targets[:, None] + torch.arange(1, classes, device=targets.device)) % classes
    allowed = choices.gather(1, following)
    wanted = (drawn.to(targets.device) * allowed.sum(1)).long() + 1
    return following.gather(1, (allowed.cumsum(1) == wanted[:, None]).byte().argmax(1, keepdim=True)).squeeze(1)


def salient(problem: Problem, share: float) -> list[Tensor]:
    """Which weights are among the `share`, from 0 to 1, with the largest gradients of the forget set's loss.

    Args:
        problem: The problem.
        share: Share of all trainable weights; at least one weight is chosen.

    Returns:
        A mask for each trainable tensor, in its shape.
    """
    with mode(problem.model, training=False), torch.enable_grad():
        # one after the other, since each is as large as the weights
        size = reduce(torch.add, (gradient(problem, b) for b in batches(problem, problem.forget))).abs()
    # at least one, since otherwise nothing would change
    top = size.topk(max(1, round(share * len(size))), sorted=False).indices
    moves = torch.zeros_like(size, dtype=torch.bool).index_fill_(0, top, True)
    weights = problem.trainable()
    return [part.view_as(w) for part, w in zip(split(moves, weights), weights, strict=True)]
