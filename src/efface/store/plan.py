"""What a run is asked to do, whether that can be, and what it came to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from efface.auditing.config import Level
from efface.auditing.verdict import Status
from efface.errors import RequestError
from efface.methods import Method, get
from efface.store.history import Version
from efface.task import Task, missing_build_model

ACCEPT = ("verified", "undecided", "any")
NOT_AUDITED, RETRAINED = "not_audited", "retrained"


@dataclass(frozen=True)
class Plan:
    """How a run is to be made; an interrupted run goes on where the same plan is asked for again.

    level: how much the audit spends; None for no audit. accept: the least conclusion of the audit with which a version
    goes into service: verified, undecided, or any. retrain: train anew on what is left, by Task.fit.
    """

    method: str = "steer"
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    level: str | None = "standard"
    references: int = 4
    accept: str = "undecided"
    retrain: bool = False

    def chosen(self) -> Method:
        """The method with its options; RequestError where there is none such."""
        # as words, which is how options are read wherever they come from
        return get(self.method, {name: str(value) for name, value in self.options.items()})


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    version: the new version in service; None where there was nothing to do or the audit did not let it pass.
    status: the audit's conclusion, `not_audited`, `retrained`, or `nothing` where no request was pending.
    retraining: why a retraining is due, if it is. resumed: whether it went on with an interrupted run.
    """

    status: str
    reasons: tuple[str, ...] = ()
    run: int | None = None
    requests: tuple[int, ...] = ()
    records: int = 0
    version: Version | None = None
    retraining: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    resumed: bool = False


def check_plan(plan: Plan, task: Task) -> None:
    """Whether a run can be made so; RequestError with everything that is wrong."""
    problems = []
    if task.build_model is None:
        problems.append(missing_build_model())
    if plan.retrain and (plan.options or plan.method != Plan.method):
        problems.append("a retraining is done by Task.fit and takes no method or option: leave them out")
    if plan.retrain and task.fit is None:
        problems.append("retraining is done by Task.fit, which the task lacks: set it")
    if plan.level is not None and plan.level not in list(Level):
        problems.append(f"level: expected one of {', '.join(Level)} or None, got {plan.level!r}")
    for name, value, least in (("references", plan.references, 1), ("seed", plan.seed, None)):
        if type(value) is not int or (least is not None and value < least):
            wanted = "an integer" if least is None else f"an integer of {least} or more"
            problems.append(f"{name}: expected {wanted}, got {value!r}")
    if plan.accept not in ACCEPT:
        problems.append(f"accept: expected one of {', '.join(ACCEPT)}, got {plan.accept!r}")
    try:
        if plan.chosen().is_control:
            problems.append(f"method {plan.method!r} is a control, which honours nothing: see efface methods")
    except RequestError as error:
        problems += error.problems
    if problems:
        raise RequestError(problems)


def passes(status: str, accept: str) -> bool:
    """Whether a model of which the audit concludes `status` goes into service."""
    if status in (NOT_AUDITED, RETRAINED, Status.VERIFIED) or accept == "any":
        return True
    return status == Status.UNDECIDED and accept == "undecided"
