"""Checks of the arguments of `efface.audit` and `efface.audit_models`, made before any work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from efface.auditing.config import Level, level_problem
from efface.auditing.options import AuditOptions
from efface.data.checks import Findings
from efface.data.ids import as_python_ids
from efface.ensembles.cache import check_cache
from efface.errors import RequestError, collect_errors, shorten
from efface.methods import Method, get
from efface.models.checkpoint import weights_digest
from efface.models.checks import check_fresh
from efface.request import Request, check_others, check_request
from efface.runtime.kinds import network_problem
from efface.task import Task
from efface.types import RecordId
from efface.unlearning.result import Result


@dataclass(frozen=True)
class ModelPair:
    """Two models of any origin, before and after unlearning; the fields are named as those of a `Result`.

    Args:
        original: The model before unlearning.
        model: The model after it.
        forget: Ids of the records that were erased.
        task: The problem.
    """

    original: nn.Module
    model: nn.Module
    forget: Sequence[RecordId]
    task: Task


Judged = Result | ModelPair


def method_of(judged: Judged, options: AuditOptions) -> Method | None:
    """The method that made the unlearned model, from the result or from the options; None if it is not known."""
    if isinstance(judged, Result):
        return judged.method
    return None if options.method is None else get(options.method)


def used_reference_of(judged: Judged, options: AuditOptions) -> str | None:
    """Digest of the weights of the reference model that the method and its stop rule used; None if not known."""
    return judged.reference if isinstance(judged, Result) else options.used_reference


def check_call(
    judged: Judged,
    level: Level | str,
    references: int | Sequence[nn.Module],
    retrained: Sequence[nn.Module],
    seed: int | None,
    options: AuditOptions,
) -> tuple[Request, dict[str, Tensor]]:
    """Check the arguments, the request, and every given model.

    Args:
        judged: The result, or the two models to judge.
        level: As in `efface.audit`.
        references: As in `efface.audit`.
        retrained: As in `efface.audit`.
        seed: As in `efface.audit`.
        options: As in `efface.audit`.

    Returns:
        The request, and each kind of forget records as a mask over the request's ids, in their order.

    Raises:
        RequestError: With every problem. Whether a given model had a part in the run is checked last, once all other
            checks pass.
    """
    problems = [
        *_judged_problems(judged),
        *_level_problems(level, options),
        *_reference_problems(references, level),
        *_other_problems(retrained, seed, options),
        *_doubled_problems(judged, options),
    ]
    if not isinstance(judged.original, nn.Module) or not isinstance(judged.task, Task):
        raise RequestError(problems)
    request = collect_errors(
        problems, check_request, judged.original, judged.task, judged.forget, full=True, for_audit=True, fresh=False
    )
    if request is None or not isinstance(options, AuditOptions):
        raise RequestError(problems)
    others = {f"retrained[{i}]": m for i, m in enumerate(retrained if _is_list(retrained) else ())}
    if isinstance(references, Sequence):
        others |= {f"references[{i}]": m for i, m in enumerate(references) if isinstance(m, nn.Module)}
    collect_errors(problems, check_others, {"unlearned": judged.model, **others}, request)
    masks = collect_errors(problems, _masks, request, options.kinds)
    if level == Level.STRONG:
        problems += _strong_problems(judged, request, options)
    if problems or masks is None:
        raise RequestError(problems)
    _check_had_no_part(judged, others, used_reference_of(judged, options))
    return request, masks


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _judged_problems(judged: Judged) -> list[str]:
    problems: list[str] = []
    if problem := network_problem(judged.original):
        problems.append(f"original: {problem}")
    if not isinstance(judged.task, Task):
        problems.append(f"task: expected an efface.Task, got {type(judged.task).__name__}")
    return problems


def _level_problems(level: object, options: object) -> list[str]:
    if problem := level_problem(level):
        return [problem]
    unused = ("method", "cache") if level != Level.STRONG and isinstance(options, AuditOptions) else ()
    return [f"{name}: only level strong uses it" for name in unused if getattr(options, name) is not None]


def _reference_problems(references: object, level: object) -> list[str]:
    if isinstance(references, bool | str) or not isinstance(references, int | Sequence):
        return [f"references: expected a number of models, or models, got {type(references).__name__}"]
    if isinstance(references, int):
        least = f"references: expected 1 or more, got {references}; level 'quick' needs none"
        return [least] if references < 1 else []
    odd = [type(m).__name__ for m in references if not isinstance(m, nn.Module)]
    problems = [f"references: expected models, got {odd[0] if odd else 'none'}"] if odd or not references else []
    if level == Level.QUICK and references:
        problems.append("references: level quick uses none; use level standard")
    return problems


def _other_problems(retrained: object, seed: object, options: object) -> list[str]:
    problems = []
    if not _is_list(retrained) or isinstance(retrained, nn.Module):
        problems.append(f"retrained: expected a list of models, got {type(retrained).__name__}")
    if seed is not None and type(seed) is not int:
        problems.append(f"seed: expected an integer, got {seed!r}")
    if not isinstance(options, AuditOptions):
        problems.append(f"options: expected an efface.AuditOptions, got {type(options).__name__}")
    return problems


def _doubled_problems(judged: Judged, options: object) -> list[str]:
    if not isinstance(judged, Result) or not isinstance(options, AuditOptions):
        return []
    known = ("method", "run_seed", "used_reference")
    doubled = [name for name in known if getattr(options, name) is not None]
    return [f"{', '.join(doubled)} given beside a result, which holds them already"] if doubled else []


def _strong_problems(judged: Judged, request: Request, options: AuditOptions) -> list[str]:
    """Why the models of a strong audit could not be trained."""
    found = Findings()
    check_fresh(judged.original, request.task, request.train, request.classes, found)
    if request.task.fit is None:
        found.problems.append(
            "level strong trains models as the original was trained: give Task.fit, or use level standard"
        )
    if request.forget_classes and method_of(judged, options) is not None:
        found.problems.append("level strong cannot run a method on whole classes yet: leave `method` out")
    if options.cache is not None:
        collect_errors(found.problems, check_cache, Path(options.cache))
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
    known = set(request.ids)
    members = {name: set(as_python_ids(ids)) for name, ids in kinds.items()}
    problems = [
        f"kind {name!r}: expected record ids, got {ids!r}" for name, ids in kinds.items() if isinstance(ids, str)
    ]
    problems += [
        f"kind {name!r} names {shorten(i - known)}, not in the forget set" for name, i in members.items() if i - known
    ]
    problems += [f"kind {name!r} is empty" for name, i in members.items() if not i]
    if problems:
        raise RequestError(problems)
    return {name: torch.tensor([i in ids for i in request.ids]) for name, ids in members.items()}
