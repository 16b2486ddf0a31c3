"""The options of `efface.unlearn` beside the request and the method."""

from collections.abc import Collection
from dataclasses import dataclass

from efface.calibration.first_outputs import FirstOutputs
from efface.data.ids import read_ids
from efface.data.splits import Splits
from efface.data.twin_policy import policy_problems
from efface.errors import RequestError
from efface.models.training import Recipe
from efface.runtime.options import clear_calls, type_problems
from efface.runtime.printing import Brief
from efface.types import RecordId
from efface.unlearning.stopping import StopRule


@clear_calls(reference=Recipe)
@dataclass(frozen=True, kw_only=True, repr=False)
class UnlearnOptions(Brief):
    """How a run stops, what it checks, and which records are used for what.

    Args:
        stop: The rule that may end the run before its step limit. None is `default_rule()`: a utility floor, then an
            equivalence test.
        evaluate: Whether evidence is collected during the run. If not, the method runs to its step limit, and `stop` is
            not used.
        checks: Whether all records are compared before the run. If not, twins of forget records that stay in training,
            holdout records that are training records too, NaN, and a model that knows nothing are not noticed.
        twins: What is done with training records that have the inputs of a forget record and are not in the request.
            `refuse` refuses the request and lists them; `forget` forgets them too, if they are those in `confirmed`;
            `keep` leaves them in training, and the forget records with such a twin out of the request and of all tests.
        confirmed: With `forget`, the ids of the twins that are to be forgotten beside the request.
        reference: How the reference model is trained; None is the default recipe.
        splits: Which records are used for what. None draws the splits by the seed of the run; the splits of another run
            of the same request can be given instead.
        first_outputs: For requests in a row: what the first model said of some training records (see `first_outputs`),
            or what the result before has left of it. steer keeps retain records there; other methods do not use it.

    Raises:
        RequestError: A field has a wrong type; all of them are listed.
    """

    stop: StopRule | None = None
    evaluate: bool = True
    checks: bool = True
    twins: str = "refuse"
    confirmed: Collection[RecordId] = ()
    reference: Recipe | None = None
    splits: Splits | None = None
    first_outputs: FirstOutputs | None = None

    def __post_init__(self) -> None:
        expected = (
            ("stop", self.stop, StopRule | None, "a stop rule such as efface.LooksUnseen()"),
            ("evaluate", self.evaluate, bool, "True or False"),
            ("checks", self.checks, bool, "True or False"),
            ("reference", self.reference, Recipe | None, "an efface.Recipe"),
            ("splits", self.splits, Splits | None, "the splits of another result"),
            ("first_outputs", self.first_outputs, FirstOutputs | None, "what efface.first_outputs gave"),
        )
        problems = [*type_problems(expected), *policy_problems(self.twins, self.confirmed, self.checks is not False)]
        confirmed = () if problems else tuple(read_ids(self.confirmed, "confirmed", problems, is_ordered=False))
        if problems:
            raise RequestError(problems)
        object.__setattr__(self, "confirmed", confirmed)  # from any container


DEFAULT_OPTIONS = UnlearnOptions()
