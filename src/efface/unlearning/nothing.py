"""Runs that unlearned nothing: how they are found, and the error that reports them in place of a model."""

from typing import TYPE_CHECKING

from torch import Tensor, nn

from efface.errors import EffaceError
from efface.methods.base import Method
from efface.runtime.cost import Cost
from efface.runtime.printing import how_many
from efface.unlearning.evidence import Evidence
from efface.unlearning.next_steps import after_nothing

if TYPE_CHECKING:
    from efface.unlearning.result import Result


class NothingUnlearnedError(EffaceError):
    """A run that kept no change of the weights; there is no unlearned model, and nothing may count as erased.

    Args:
        reason: Why nothing was kept, as one line.
        method: The method, with its options.
        seed: The seed of the run.
        evidence: The evaluations of the run, and why it ended.
        cost: Time and examples, by phase.
        warnings: As in `Result`.
    """

    def __init__(
        self, reason: str, method: Method, seed: int, evidence: Evidence, cost: Cost, warnings: tuple[str, ...]
    ) -> None:
        self.reason, self.method, self.seed = reason, method, seed
        self.evidence, self.cost, self.warnings = evidence, cost, warnings
        lines = [f"nothing was unlearned by {method.key}: {reason}", *(f"  next: {step}" for step in self.next_steps)]
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type["NothingUnlearnedError"], tuple[object, ...]]:
        """Pickle what the error was made of; by default only its message would be."""
        return type(self), (self.reason, self.method, self.seed, self.evidence, self.cost, self.warnings)

    @property
    def next_steps(self) -> tuple[str, ...]:
        """What to do next, one line each, with the command or the Python call."""
        return after_nothing(self.method, self.evidence)


def check_something_changed(result: "Result") -> None:
    """Check that a run changed the weights, and kept the change.

    The control that takes no step is left out, since it changes nothing by design. Only parameters are compared:
    statistics of a normalisation layer move although nothing was learned or unlearned.

    Raises:
        NothingUnlearnedError: All parameters are bit for bit the original's.
    """
    method, evidence = result.method, result.evidence
    if method.is_control and not method.length:
        return
    if evidence.chosen_step and changes_weights(result.original, result.model):
        return
    if evidence.chosen_step:
        reason = f"after {how_many(evidence.chosen_step, 'step')} every weight is bit for bit the original's"
    elif evidence.evaluations:
        reason = f"no step could be kept, so the weights are the original's: {evidence.reason}"
    else:
        reason = "no step was taken, so the weights are the original's"
    raise NothingUnlearnedError(reason, method, result.seed, evidence, result.cost, tuple(result.warnings))


def changes_weights(original: nn.Module, model: nn.Module) -> bool:
    """Whether some parameter of `model` differs from the original's; the first that does ends the comparison."""
    before, after = dict(original.named_parameters()), dict(model.named_parameters())
    return before.keys() != after.keys() or any(not _equal(before[name], value) for name, value in after.items())


def _equal(one: Tensor, other: Tensor) -> bool:
    """Whether two parameters are equal; a NaN equals a NaN, since neither was changed."""
    one, other = one.detach(), other.detach().to(one.device)
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())
