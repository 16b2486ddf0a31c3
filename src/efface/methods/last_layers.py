"""cfk and euk: train the last layers alone on the retain set, from where they are or from a fresh start."""

from abc import ABC
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from efface.data.records import Batch
from efface.errors import RequestError
from efface.methods.base import Problem, Step
from efface.methods.descent import Descent, Source
from efface.methods.init import fresh_values
from efface.runtime.options import option


@dataclass(frozen=True)
class LastLayers(Descent, ABC):
    """w_last <- w_last - lr grad CE(retain), for the last k layers; all before them stays, BatchNorm statistics too.

    A layer is a module with parameters of its own that may move, in the order in which the modules were registered; a
    shared parameter belongs to its first place alone. What comes before the last k layers runs in eval mode, dropout
    as well. What the frozen layers know of the forget set can still show in the outputs. The paper has k count blocks
    of its networks, and later work trains 1 to 3 blocks for 10 epochs at 0.01.
    """

    k: int = option(2, "layers to train, from the last; all where there are fewer", 1, 10_000)

    def last(self, problem: Problem) -> dict[nn.Module, list[nn.Parameter]]:
        """The last k layers, in order, with their own trainable parameters."""
        return dict(list(layers(problem.model).items())[-self.k :])

    def run(self, problem: Problem) -> Iterator[Step]:
        moving = [p for own in self.last(problem).values() for p in own]
        still = resting(problem.model, moving)
        chosen = {id(p) for p in moving}
        held = [p for p in problem.trainable() if id(p) not in chosen]

        def loss(retain: Batch) -> Tensor:
            for module in still:
                module.training = False  # until the step is over: `sgd` gives every module its mode back
            with frozen(held):
                value = problem.loss(problem.logits(retain)[0], retain)
            if not value.requires_grad:
                raise RequestError(f"option k of {self.key}: the outputs do not depend on the last {self.k} layers")
            return value

        optimiser = torch.optim.SGD(moving, lr=self.lr, momentum=self.momentum)
        return self.sgd(problem, loss, [Source("retain", problem.retain)], optimiser=optimiser)


@dataclass(frozen=True)
class CFK(LastLayers):
    """w_last <- w_last - lr grad CE(retain), from the trained weights, for the last k layers (CF-k); see LastLayers."""

    key = "cfk"
    summary = "go on training the last k layers on the retain set"
    source = "Goel et al., arXiv 2201.06640"


@dataclass(frozen=True)
class EUK(LastLayers):
    """w_last <- w_last - lr grad CE(retain), from fresh weights, for the last k layers (EU-k); see LastLayers.

    The buffers of these layers, such as BatchNorm statistics, begin afresh too.
    """

    key = "euk"
    summary = "train the last k layers afresh on the retain set"
    source = "Goel et al., arXiv 2201.06640"

    def run(self, problem: Problem) -> Iterator[Step]:
        fresh, last = fresh_values(problem, self.key), self.last(problem)
        with torch.no_grad():
            for prefix, module in problem.model.named_modules():
                own = {id(p) for p in last.get(module, [])}
                for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
                    new = fresh.get(f"{prefix}.{name}" if prefix else name)
                    if new is not None and (id(tensor) in own or (own and not isinstance(tensor, nn.Parameter))):
                        tensor.copy_(new)
        yield from super().run(problem)


def layers(model: nn.Module) -> dict[nn.Module, list[nn.Parameter]]:
    """Modules with trainable parameters of their own, in module order; shared parameters are listed once, first."""
    seen, found = set[int](), {}
    for module in model.modules():
        own = [p for p in module.parameters(recurse=False) if p.requires_grad and id(p) not in seen]
        seen |= {id(p) for p in own}
        if own:
            found[module] = own
    return found


def resting(model: nn.Module, moving: Sequence[nn.Parameter]) -> list[nn.Module]:
    """Modules that are not trained: all before the first trained one, and those with weights of which none is trained.

    Args:
        model: The model.
        moving: The parameters that are trained.
    """
    chosen, found, begun = {id(p) for p in moving}, [], False
    for module in model.modules():
        own = {id(p) for p in module.parameters(recurse=False)}
        begun = begun or bool(own & chosen)
        if not begun or (own and not own & chosen):
            found.append(module)
    return found


@contextmanager
def frozen(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Turn off gradients of some parameters within the block, and turn them on after it."""
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
