"""influence and woodfisher: one Newton step towards the model without the forget set, by two kinds of curvature."""

from dataclasses import dataclass

from torch import Tensor

from efface.methods.base import Problem
from efface.methods.curvature import batches, gradient
from efface.methods.newton import GaussNewton, Newton
from efface.runtime.options import option
from efface.types import Indices


@dataclass(frozen=True)
class Influence(GaussNewton):
    """w = w* + scale / n (G + damping)^-1 sum over the forget set of grad CE, by conjugate gradients.

    G is the Gauss-Newton matrix, the mean of J' H J over retain records, with H the Hessian of the loss in the outputs,
    which for classes is diag p - p p'; see Newton for the rest. It is the influence function of Koh & Liang summed over
    the forget set; they leave one record out, and damp the Hessian itself, which is not positive for a network. A
    Newton step with a positive curvature and many records is that of Golatkar et al. (CVPR 2020, arXiv 1911.04933),
    whose noise we leave out. On a network few iterations do most of the damping, at whatever size its gradients have;
    an exact solution wants many. The published step is one whole Newton step, the default; iterations, damping and
    sample were chosen here.
    """

    key = "influence"
    summary = "one Newton step away from the forget set: Gauss-Newton curvature, conjugate gradients"
    source = "Koh & Liang, arXiv 1703.04730"


@dataclass(frozen=True)
class WoodFisher(Newton):
    """w = w* + scale / n (F + damping)^-1 sum over the forget set of grad CE, record by record.

    F is the empirical Fisher matrix, the mean of g g' over retain records; see Newton for the rest. The inverse is
    the recursion of Singh & Alistarh (arXiv 2004.14340) applied to a vector, with a vector kept for each record of the
    sample; the code of Unlearn-Sparse keeps one for all, which gives another matrix than the inverse. It also takes
    the mean retain gradient off each forget gradient and divides by all records, which is the same where w* is an
    optimum. There, 1,000 records make F, and the scale is swept by hand (1e-9 to 1e-6, or 0.2), in units that hold for
    that code alone; it is in Newton steps here, and `sample` is smaller for memory's sake. F is too small where the
    model fits its labels well, so that a whole step by it goes too far: half of one is the default.
    """

    key = "woodfisher"
    summary = "one Newton step away from the forget set: empirical Fisher curvature, inverted record by record"
    source = "Jia et al. (Unlearn-Sparse), arXiv 2304.04934"

    scale: float = option(0.5, "length of the whole move in Newton steps", 1e-9, 1e9)
    damping: float = option(1e-3, "added to the diagonal of the curvature", 1e-12, 1e6)
    sample: int = option(256, "retain records in the curvature; memory for as many copies of the weights", 1, 100_000)

    def solve(self, problem: Problem, sample: Indices, vector: Tensor) -> Tensor:
        solved = vector / self.damping
        # row i is F^-1 g of record i, by the F of the records before it
        rows, lengths = vector.new_empty(len(sample), len(vector)), vector.new_empty(len(sample))
        for i, one in enumerate(batches(problem, sample, 1)):
            g, before = gradient(problem, one), rows[:i]
            rows[i] = g / self.damping - before.T @ (before @ g / lengths[:i])
            lengths[i] = len(sample) + g @ rows[i]
            solved -= rows[i] * (rows[i] @ vector / lengths[i])
        return solved
