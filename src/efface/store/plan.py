"""The plan of a run, its checks, and the outcome of a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from efface.auditing.config import REFERENCES, Level, level_problem
from efface.errors import RequestError, collect_errors, kind_of
from efface.methods import class_of, get
from efface.runtime.options import as_integer, clear_calls, is_integer
from efface.runtime.printing import Brief
from efface.store.entries import Version

if TYPE_CHECKING:
    from efface.methods import Method
    from efface.task import Task

ACCEPT = ("verified", "verified_by_rehearsal", "no_trace_found", "undecided", "any")  # the strictest first
NEED_AN_AUDIT = ACCEPT[:3]
NOT_AUDITED, RETRAINED, NOTHING_UNLEARNED = "not_audited", "retrained", "nothing_unlearned"


@clear_calls(options=class_of)
@dataclass(frozen=True)
class RunPlan:
    """How a run is carried out; an interrupted run is resumed if the same plan is given.

    Args:
        method: key of an unlearning method.
        options: options of the method, by name.
        seed: seed of all random draws.
        level: level of the audit: quick, standard, strong, or None for no audit.
        references: how many reference models the audit trains.
        accept: the weakest conclusion of the audit with which the model goes into service, one of ACCEPT; `any` accepts
            every model, and goes on where the task or the holdout changed so that drift cannot be measured.
        retrain: train anew on the remaining records, by Task.fit, instead of unlearning.
        allow_returned: go on where records that stay have the content of forgotten ones.
        rehearse: where the batch is too small to show anything, let the audit try the method on other records.
    """

    method: str = "steer"
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    level: str | None = "standard"
    references: int = REFERENCES
    accept: str = "undecided"
    retrain: bool = False
    allow_returned: bool = False
    rehearse: bool = False

    def __post_init__(self) -> None:
        for name in ("seed", "references"):
            object.__setattr__(self, name, as_integer(getattr(self, name)))

    def chosen(self) -> "Method":
        """The method with its options; RequestError if there is no such method or option."""
        return get(self.method, self.options)


@dataclass(frozen=True, repr=False)
class RunOutcome(Brief):
    """The outcome of a run.

    Args:
        status: the audit's conclusion, `not_audited`, `retrained`, `nothing_unlearned` where no change of the weights
            could be kept, or `nothing` where no request was pending.
        reasons: the reasons for `status`, one line each.
        run: number of the run; None where there was nothing to do.
        requests: numbers of the requests in its batch.
        records: how many records it was to forget.
        version: the new version in service; None where there was nothing to do or the model did not pass.
        retraining: reasons why a retraining is due, one line each; empty if none is.
        warnings: warnings of the unlearning, one line each.
        deferred: why some pending requests had to wait, one line each.
        resumed: whether it resumed an interrupted run.
        next_steps: what to do next, one line each; empty if there is nothing to do.
    """

    status: str
    reasons: tuple[str, ...] = ()
    run: int | None = None
    requests: tuple[int, ...] = ()
    records: int = 0
    version: Version | None = None
    retraining: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    deferred: tuple[str, ...] = ()
    resumed: bool = False
    next_steps: tuple[str, ...] = ()


def check_accept(accept: object) -> None:
    """Check the weakest conclusion with which a model goes into service; RequestError if it is none of ACCEPT."""
    if accept not in ACCEPT:
        raise RequestError(f"accept: expected one of {', '.join(ACCEPT)}, got {accept!r}")


def contradictions(plan: RunPlan) -> list[str]:
    """What a plan asks for that another part of it leaves out, one line each; empty if nothing is.

    A field that is wrong in itself, or has its default, contradicts nothing.
    """
    problems = []
    if plan.retrain is True:
        if plan.options or plan.method != RunPlan.method:
            problems.append("a retraining is done by Task.fit and takes no method or option: leave them out")
        if plan.level in (Level.QUICK, Level.STRONG):
            problems.append(
                f"level '{plan.level}' asks for an audit, and a retrained model, which never saw the records, gets "
                "none: leave out the level (--level), or the retraining (--retrain)"
            )
        if plan.accept in NEED_AN_AUDIT:
            problems.append(
                f"accept '{plan.accept}' asks for an audit, and a retrained model, which never saw the records, gets "
                "none: leave it out (--accept)"
            )
    elif plan.level is None and plan.accept in NEED_AN_AUDIT:
        problems.append(
            f"accept '{plan.accept}' asks for an audit that concludes so, and without a level (--no-audit) there is "
            "none: leave one of the two out"
        )
    if plan.rehearse is True and (plan.retrain is True or plan.level in (None, Level.QUICK)):
        problems.append(
            "a rehearsal is part of an audit at level standard or strong: leave it out (rehearse, --rehearse), or ask "
            "for such an audit"
        )
    trains_none = plan.retrain is True or plan.level in (None, Level.QUICK)
    if trains_none and is_integer(plan.references, 1) and plan.references != REFERENCES:
        problems.append(unused_references(plan.references))
    return problems


def unused_references(count: int) -> str:
    """Why a number of reference models means nothing to a run or an audit that trains none."""
    return (
        f"{count} reference models are asked for, and none is trained by a retraining, at level 'quick' or without an "
        "audit: leave out their number (references, --reference-models)"
    )


def check_plan(plan: RunPlan, task: "Task") -> None:
    """Check that a plan can be carried out on a task; RequestError with every problem if not."""
    from efface.task import missing_build_model

    if not isinstance(plan, RunPlan):
        raise RequestError(f"plan: expected an efface.store.RunPlan, got {kind_of(plan)}")
    problems: list[str] = []
    if task.build_model is None:
        problems.append(missing_build_model())
    problems += contradictions(plan)
    if plan.retrain and task.fit is None:
        problems.append("retraining is done by Task.fit, which the task lacks: set it")
    if plan.level is not None and (problem := level_problem(plan.level)):
        problems.append(problem)
    for name in ("retrain", "allow_returned", "rehearse"):
        if type(given := getattr(plan, name)) is not bool:
            problems.append(f"{name}: expected True or False, got {given!r}")
    for name, value, least in (("references", plan.references, 1), ("seed", plan.seed, None)):
        if not is_integer(value, least):
            wanted = "an integer" if least is None else f"an integer of {least} or more"
            problems.append(f"{name}: expected {wanted}, got {value!r}")
    collect_errors(problems, check_accept, plan.accept)
    if not isinstance(plan.method, str):
        problems.append(
            "method: a plan names the method by its key, and has its options beside it, such as "
            f"RunPlan(method='steer', options={{'steps': 40}}), got {kind_of(plan.method)}"
        )
    elif (chosen := collect_errors(problems, plan.chosen)) is not None and chosen.is_control:
        problems.append(f"method {plan.method!r} is a control, which honours nothing: see efface methods")
    if problems:
        raise RequestError(problems)
