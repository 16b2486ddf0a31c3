"""The options of `efface.audit` and `efface.audit_models` beside models, level and seed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from efface.auditing.config import MIN_ENSEMBLE, MODELS
from efface.calibration.first_outputs import FirstOutputs
from efface.data.ids import read_ids
from efface.data.twin_policy import policy_problems
from efface.errors import RequestError, collect_errors
from efface.methods import Method, class_of, get
from efface.models.ensembles import Training
from efface.models.training import Recipe
from efface.runtime.cost import PhaseCost
from efface.runtime.options import as_integer, clear_calls, is_integer, type_problems
from efface.runtime.printing import Brief
from efface.types import RecordId


@clear_calls(recipe=Recipe, method=class_of)
@dataclass(frozen=True, kw_only=True, repr=False)
class AuditOptions(Brief):
    """How an audit is made and reported, beside its level.

    Args:
        kinds: Kinds of forget records that the table shows separately, such as mislabelled ones: the ids of each, by
            name. Records of one person are no kind: `Task.groups` says whose they are.
        retrain_cost: Cost of training one model without the forget set, which the report compares with that of
            unlearning. None takes the cost of the audit's own retrained models, if it trains any.
        method: The method that made the unlearned model, or its key: a rehearsal runs it again, and level strong runs
            it on other originals. Leave it out for a result of `efface.unlearn`, which holds it. Without a method there
            is no rehearsal, and at level strong only the one unlearned model is compared with retrained models.
        rehearse: Whether a request that is too small to show anything is rehearsed: its records are unlearned 2
            to 10 times more, each time together with others of their kind, on which the process is judged.
        models: At level strong, the number of models of each ensemble, 8 or more.
        cache: At level strong, a folder that stores the ensembles' models for later audits.
        jobs: Number of processes that train ensembles. None uses as many as there are cores, if that saves time.
        recipe: How reference models are trained.
        run_seed: Seed of the efface run that made the unlearned model, if its result is not available: holdout records
            that the run used are then left out. None assumes that no run used the holdout.
        first_outputs: The first outputs that the run was given, if its result is not available: a rehearsal is given
            them too.
        used_reference: Digest of the weights of that run's reference model, which is then refused as a reference here.
        twins: As in `efface.UnlearnOptions`. None takes the choice of the result, and else refuses twins.
        confirmed: As in `efface.UnlearnOptions`.
        title: Title of the report.
        show_ids: Whether the report shows the ids, the positions and the descriptions of records; it holds a hash of
            each id in any case.
        show_positions: Whether a report that shows ids shows positions too.
        progress: Whether to show progress bars; by default only on a terminal.

    Raises:
        RequestError: A field has a wrong type or is out of range; all of them are listed.
    """

    kinds: Mapping[str, Sequence[RecordId]] = field(default_factory=dict)
    retrain_cost: PhaseCost | None = None
    method: str | Method | None = None
    rehearse: bool = False
    models: int = MODELS
    cache: str | Path | None = None
    jobs: int | None = None
    recipe: Recipe = field(default_factory=Recipe)
    run_seed: int | None = None
    first_outputs: FirstOutputs | None = None
    used_reference: str | None = None
    twins: str | None = None
    confirmed: Collection[RecordId] = ()
    title: str = "Unlearning report"
    show_ids: bool = True
    show_positions: bool = True
    progress: bool | None = None

    def __post_init__(self) -> None:
        for name in ("models", "jobs", "run_seed"):
            object.__setattr__(self, name, as_integer(getattr(self, name)))
        expected = (
            ("kinds", self.kinds, Mapping, "record ids by the name of each kind"),
            ("retrain_cost", self.retrain_cost, PhaseCost | None, "an efface.PhaseCost"),
            ("cache", self.cache, str | Path | None, "a folder"),
            ("recipe", self.recipe, Recipe, "an efface.Recipe"),
            ("first_outputs", self.first_outputs, FirstOutputs | None, "what efface.first_outputs gave"),
            ("used_reference", self.used_reference, str | None, "text"),
            ("title", self.title, str, "text"),
            ("rehearse", self.rehearse, bool, "True or False"),
            ("show_ids", self.show_ids, bool, "True or False"),
            ("show_positions", self.show_positions, bool, "True or False"),
            ("progress", self.progress, bool | None, "True or False"),
        )
        problems = [*type_problems(expected), *policy_problems(self.twins or "refuse", self.confirmed)]
        if self.first_outputs is not None and not self.rehearse:
            problems.append("first_outputs: only a rehearsal uses them: set rehearse=True, or leave them out")
        if isinstance(self.kinds, Mapping):
            problems += [
                f"kinds: expected the record ids of each kind by its name, got {name!r}: {type(ids).__name__}"
                for name, ids in self.kinds.items()
                if not isinstance(name, str) or isinstance(ids, str | bytes) or not hasattr(ids, "__len__")
            ]
        if self.run_seed is not None and not is_integer(self.run_seed):
            problems.append(f"run_seed: expected an integer, got {self.run_seed!r}")
        if not is_integer(self.models, MIN_ENSEMBLE):
            problems.append(f"models: expected {MIN_ENSEMBLE} or more, got {self.models!r}")
        if self.jobs is not None and not is_integer(self.jobs, 1):
            problems.append(f"jobs: expected a number of processes, got {self.jobs!r}")
        if self.method is not None:
            collect_errors(problems, get, self.method)
        confirmed = () if problems else tuple(read_ids(self.confirmed, "confirmed", problems, is_ordered=False))
        if problems:
            raise RequestError(problems)
        object.__setattr__(self, "confirmed", confirmed)  # from any container

    @property
    def training(self) -> Training:
        """How ensembles are trained and cached."""
        cache = None if self.cache is None else Path(self.cache)
        return Training(self.recipe, cache, self.jobs, self.progress)


DEFAULT_OPTIONS = AuditOptions()
