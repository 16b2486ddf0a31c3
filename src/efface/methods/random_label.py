"""random_label and salun: wrong labels for the forget set, for all weights or those with its largest gradients."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from efface.methods.base import Problem, Step
from efface.methods.curvature import batches, gradient, split
from efface.methods.relabelling import Relabelling
from efface.models.running import mode
from efface.runtime.options import option


@dataclass(frozen=True)
class RandomLabel(Relabelling):
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

    def run(self, problem: Problem) -> Iterator[Step]:
        return self.relabel(problem, self.make_optimiser(problem, decay=self.decay))


@dataclass(frozen=True)
class SalUn(RandomLabel):
    """w <- w + m (u - w), where u is RandomLabel's update and m = 1 at the `share` of weights with the largest |grad|.

    The gradient is that of the forget set's loss at w*, in eval mode, and all weights are compared together.
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
