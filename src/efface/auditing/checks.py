"""Checks of the arguments of `efface.audit` and `efface.audit_models`, made before any work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from efface.auditing.config import NO_FIT, REFERENCES, Level, level_problem
from efface.auditing.options import DEFAULT_OPTIONS, AuditOptions
from efface.calibration.first_outputs import outputs_problems
from efface.data.checks import Findings
from efface.data.ids import Forget, read_ids
from efface.data.twin_policy import TwinPolicy
from efface.errors import RequestError, collect_errors, shorten
from efface.methods import Method, get
from efface.models.checkpoint import weights_digest
from efface.models.checks import check_fresh
from efface.models.ensembles.cache import check_cache
from efface.request import Request, check_others, check_request
from efface.runtime.kinds import network_problem
from efface.runtime.options import is_integer
from efface.runtime.printing import Brief
from efface.runtime.seeds import derive_seed
from efface.task import Task, check_task
from efface.types import RecordId
from efface.unlearning.result import Result


@dataclass(frozen=True, repr=False)
class ModelPair(Brief):
    """Two models of any origin, before and after unlearning; the fields are named as those of a `Result`.

    Args:
        original: The model before unlearning.
        model: The model after it.
        forget: Ids of the records that were erased, or their groups.
        task: The problem.
    """

    original: nn.Module
    model: nn.Module
    forget: Forget
    task: Task


Judged = Result | ModelPair


def policy_of(judged: Judged, options: AuditOptions) -> TwinPolicy:
    """What is to be done with twins: what the audit's options say, or else the options of the run."""
    if isinstance(options, AuditOptions) and options.twins is not None:
        return TwinPolicy(options.twins, options.confirmed)
    return TwinPolicy(judged.options.twins, judged.options.confirmed) if isinstance(judged, Result) else TwinPolicy()


@dataclass(frozen=True)
class AuditCall:
    """The arguments of `efface.audit` or `efface.audit_models`, as they were given.

    Args:
        judged: The result, or the two models to judge.
        level: As in `efface.audit`.
        references: As in `efface.audit`.
        retrained: As in `efface.audit`.
        seed: As in `efface.audit`.
        options: As in `efface.audit`.
    """

    judged: Judged
    level: Level | str
    references: int | Sequence[nn.Module]
    retrained: Sequence[nn.Module]
    seed: int | None
    options: AuditOptions

    @property
    def result(self) -> Result | None:
        """The run that made the unlearned model; None for two models of any origin."""
        return self.judged if isinstance(self.judged, Result) else None

    @property
    def method(self) -> Method | None:
        """The method that made the unlearned model, from the result or from the options; None if it is not known."""
        if self.result is not None:
            return self.result.method
        return None if self.options.method is None else get(self.options.method)

    @property
    def used_reference(self) -> str | None:
        """Digest of the weights of the reference model that the method and its stop rule used; None if not known."""
        return self.options.used_reference if self.result is None else self.result.reference

    @property
    def draws_seed(self) -> int:
        """The seed that the draws of the audit derive from: the one given, else that of the run, or 0."""
        run_seed = 0 if self.result is None else self.result.seed
        return derive_seed(self.seed if isinstance(self.seed, int) else run_seed, "audit")


def check_audit_call(call: AuditCall) -> tuple[Request, dict[str, Tensor]]:
    """Check the arguments, the request, and every given model.

    Returns:
        The request, and each kind of forget records as a mask over the request's ids, in their order.

    Raises:
        RequestError: With every problem. Whether a given model had a part in the run is checked last, once all other
            checks pass.
    """
    judged, options = call.judged, call.options
    problems = [
        *_judged_problems(judged),
        *_level_problems(call),
        *_reference_problems(call.references, call.level),
        *_other_problems(call),
        *_doubled_problems(call),
    ]
    if not isinstance(judged.original, nn.Module) or not isinstance(judged.task, Task):
        raise RequestError(problems)
    request = collect_errors(
        problems,
        check_request,
        judged.original,
        judged.task,
        judged.forget,
        full=True,
        for_audit=True,
        fresh=False,
        policy=policy_of(judged, options),
    )
    if request is None or not isinstance(options, AuditOptions):
        raise RequestError(problems)
    others = {f"retrained[{i}]": m for i, m in enumerate(call.retrained if _is_list(call.retrained) else ())}
    if isinstance(call.references, Sequence):
        others |= {f"references[{i}]": m for i, m in enumerate(call.references) if isinstance(m, nn.Module)}
    unlearned = {"unlearned": judged.model} if isinstance(judged.model, nn.Module) else {}
    collect_errors(problems, check_others, {**unlearned, **others}, request)
    masks = collect_errors(problems, _masks, request, options.kinds)
    if call.level == Level.STRONG:
        problems += _strong_problems(call, request)
    problems += _twin_problems(call, request)
    problems += outputs_problems(options.first_outputs, request, judged.original)
    if problems or masks is None:
        raise RequestError(problems)
    _check_had_no_part(judged, others, call.used_reference)
    return request, masks


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _judged_problems(judged: Judged) -> list[str]:
    problems: list[str] = []
    for name, model in (("original", judged.original), ("unlearned", judged.model)):
        if problem := network_problem(model):
            problems.append(f"{name}: {problem}")
    if not isinstance(judged.task, Task):
        collect_errors(problems, check_task, judged.task)
    return problems


def idle_note(call: AuditCall) -> list[str]:
    """A note on settings that were changed from their defaults and that the level does not use; empty if none were."""
    if call.level == Level.STRONG:
        return []
    given = {name: getattr(call.options, name) for name in ("models", "jobs")}
    usual = {name: getattr(DEFAULT_OPTIONS, name) for name in given}
    if call.level == Level.QUICK:  # it trains no model
        given |= {"recipe": call.options.recipe, "references": call.references}
        usual |= {"recipe": DEFAULT_OPTIONS.recipe, "references": REFERENCES}
    idle = [name for name, value in given.items() if value != usual[name]]
    return [f"without effect at level {Level(call.level)}: {', '.join(idle)}"] if idle else []


def _level_problems(call: AuditCall) -> list[str]:
    if problem := level_problem(call.level):
        return [problem]
    if not isinstance(call.options, AuditOptions):
        return []
    problems = _rehearsal_problems(call) if call.options.rehearse else []
    if call.level == Level.STRONG:
        return problems
    if call.options.method is not None and not call.options.rehearse:
        problems.append("method: only level strong and a rehearsal use it")
    if call.options.cache is not None:
        problems.append("cache: only level strong uses it")
    return problems


def _rehearsal_problems(call: AuditCall) -> list[str]:
    """Why there could be no rehearsal, as far as the arguments tell."""
    if call.level == Level.QUICK:
        return ["rehearse: level quick trains nothing: use level standard"]
    try:
        method = call.method
    except RequestError:
        return []  # reported elsewhere
    if method is None:
        return ["rehearse: the method that made the model is run again: name it (method, --method)"]
    if method.is_control and not method.length:  # a retraining can be rehearsed like any other method
        return [f"rehearse: {method.key} is a control and unlearns nothing"]
    return []


def _reference_problems(references: object, level: object) -> list[str]:
    if is_integer(references):
        least = f"references: expected 1 or more, got {references}; level 'quick' needs none"
        return [least] if references < 1 else []
    if not isinstance(references, Sequence) or isinstance(references, str):
        return [f"references: expected a number of models, or models, got {type(references).__name__}"]
    odd = [type(m).__name__ for m in references if not isinstance(m, nn.Module)]
    problems = [f"references: expected models, got {odd[0] if odd else 'none'}"] if odd or not references else []
    if level == Level.QUICK and references:
        problems.append("references: level quick uses none; use level standard")
    return problems


def _other_problems(call: AuditCall) -> list[str]:
    problems = []
    if not _is_list(call.retrained):
        problems.append(f"retrained: expected a list of models, got {type(call.retrained).__name__}")
    if call.seed is not None and not is_integer(call.seed):
        problems.append(f"seed: expected an integer, got {call.seed!r}")
    if not isinstance(call.options, AuditOptions):
        problems.append(f"options: expected an efface.AuditOptions, got {type(call.options).__name__}")
    return problems


def _doubled_problems(call: AuditCall) -> list[str]:
    if call.result is None or not isinstance(call.options, AuditOptions):
        return []
    known = ("method", "run_seed", "used_reference", "first_outputs")
    doubled = [name for name in known if getattr(call.options, name) is not None]
    return [f"{', '.join(doubled)} given beside a result, which holds them already"] if doubled else []


def _twin_problems(call: AuditCall, request: Request) -> list[str]:
    """Why the choice about twins is not what was done in the run, so that other records would be judged."""
    result = call.result
    if result is None or call.options.twins is None:
        return []
    extra = np.setdiff1d(request.forget, result.splits.forget)
    if len(extra):
        return [
            f"twins: {len(extra)} of the records to judge, twins among them, were not erased by the run: give "
            "twins='keep', or run again with the twins"
        ]
    if result.twins.forgotten and request.twins.kept:
        return ["twins: the run forgot the twins too, so none of them is kept: leave twins out"]
    return []


def _strong_problems(call: AuditCall, request: Request) -> list[str]:
    """Why the models of a strong audit could not be trained."""
    found = Findings()
    check_fresh(call.judged.original, request.task, request.train, request.width, found)
    if request.task.fit is None:
        found.problems.append(NO_FIT)
    if request.forget_classes and call.method is not None:
        found.problems.append("level strong cannot run a method on whole classes yet: leave `method` out")
    if call.options.cache is not None:
        collect_errors(found.problems, check_cache, Path(call.options.cache))
    return found.problems


def _check_had_no_part(judged: Judged, others: Mapping[str, nn.Module], used_reference: str | None) -> None:
    """Refuse a retrained or reference model that is judged, that the method used, or that is given twice."""
    seen = {weights_digest(judged.original): "the original", weights_digest(judged.model): "the unlearned model"}
    if used_reference is not None:
        seen[used_reference] = "the reference that the method was steered and stopped by"
    problems = []
    for name, model in others.items():
        digest = weights_digest(model)
        if digest in seen:
            problems.append(f"{name} is {seen[digest]}: the audit needs models that had no part, each once")
        seen.setdefault(digest, name)
    if problems:
        raise RequestError(problems)


def _masks(request: Request, kinds: Mapping[str, Sequence[RecordId]]) -> dict[str, Tensor]:
    """Each kind of forget ids as a mask over the request's ids, in their order."""
    problems: list[str] = []
    members = {name: set(read_ids(ids, f"kind {name!r}", problems, is_ordered=False)) for name, ids in kinds.items()}
    if problems:
        raise RequestError(problems)
    known = set(request.ids)
    # records that a twin keeps in training are left out of all tests
    members = {name: ids - set(request.twins.kept) for name, ids in members.items()}
    problems += [
        f"kind {name!r} names {shorten(i - known)}, not in the forget set" for name, i in members.items() if i - known
    ]
    problems += [f"kind {name!r} is empty" for name, i in members.items() if not i]
    if problems:
        raise RequestError(problems)
    return {name: torch.tensor([i in ids for i in request.ids]) for name, ids in members.items()}
