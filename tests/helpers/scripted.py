"""A method whose steps are given in advance, and some steps for it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from efface.methods import Method
from efface.methods.base import Problem, Step

Move = Callable[[nn.Module], object]


@dataclass(frozen=True)
class Scripted(Method):
    """Changes the model by each move in turn; an evaluation point after each, or after the last alone."""

    key = "scripted"
    summary = "moves given in advance"
    source = "tests"
    moves: tuple[Move, ...] = ()
    only_last: bool = False

    @property
    def length(self) -> int:
        return len(self.moves)

    @property
    def max_evaluations(self) -> int:
        return 1 if self.only_last else len(self.moves)

    def run(self, problem: Problem) -> Iterator[Step]:
        for index, move in enumerate(self.moves, 1):
            move(problem.model)
            yield Step(index, 0.5, is_eval_point=not self.only_last or index == self.length)


def shift(by: float) -> Move:
    """Add a constant to a bias of the hidden layer."""

    def move(model: nn.Module) -> None:
        with torch.no_grad():
            model[0].bias[0] += by

    return move


def forgetful(model: nn.Module) -> None:
    with torch.no_grad():
        model[2].weight.zero_()
