"""utu: take the forget set out of the structure, and leave the weights as they are."""

from collections.abc import Iterator
from dataclasses import dataclass

from efface.methods.base import Method, Problem, Step


@dataclass(frozen=True)
class UtU(Method):
    """w = w*: what leaves is no longer read with the rest, and no weight moves.

    Every run of efface reads a model in the structure after the deletion, so that this is all that is left to do. It
    is a method of its own since it is published as one; beside `noop` it tells that the structure changed.
    """

    key = "utu"
    summary = "unlink only: what leaves is no longer read with the rest, and no weight moves"
    source = "Tan et al. (UtU), arXiv 2402.10695 (by its abstract)"
    is_control = True
    needs_structure = True

    @property
    def length(self) -> int:
        return 0

    @property
    def max_evaluations(self) -> int:
        return 0

    def run(self, problem: Problem) -> Iterator[Step]:
        return iter(())
