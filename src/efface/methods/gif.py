"""gif: one Newton step away from the forget set, and from what its deletion changes in the records around it."""

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from efface.methods.base import Problem
from efface.methods.newton import GaussNewton, summed_gradient
from efface.runtime.options import option
from efface.types import Indices


@dataclass(frozen=True)
class Gif(GaussNewton):
    """w = w* + scale / n (G + damping)^-1 [ sum over forget of grad l + sum over affected of (grad l - grad l') ].

    l is the loss of a record in the structure as it was, l' in the structure after the deletion, and affected are the
    records that stay and are read with what leaves (`Structure.affected`). Without them it is `influence`. The paper
    inverts the Hessian by a series of 100 products, with a scale and a damping chosen for each network; conjugate
    gradients with the Gauss-Newton matrix do the same here, as in `influence`. With a hundredth of the damping the step
    ruined every network of docs/structures.md. Affected records that the audit's models need are not read: the sum over
    the others stands for all of them.
    """

    key = "gif"
    summary = "one Newton step away from the forget set and from its part in the records around it"
    version = 2
    source = "Wu et al. (GIF), arXiv 2304.02835 (by its equations)"
    needs_structure = True

    damping: float = option(1e-3, "added to the curvature's diagonal; links may need ten times as much", 1e-12, 1e6)

    def ascent(self, problem: Problem) -> Tensor:
        before = replace(problem, task=problem.given)
        total = summed_gradient(before, problem.forget)
        around = _around(problem)
        read = np.intersect1d(around, problem.retain)
        if not len(read):
            return total
        moved = summed_gradient(before, read) - summed_gradient(problem, read)
        return total + moved * (len(around) / len(read))


def _around(problem: Problem) -> Indices:
    """Positions of all records that stay and are read with what leaves."""
    structure = problem.given.structure
    rings = [] if structure is None else list(structure.affected(problem.forget).values())
    return np.concatenate([np.empty(0, dtype=np.int64), *rings])
