"""What an audit judges, and the records that it judges on."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from efface.data.splits import Splits, make_splits
from efface.errors import RequestError
from efface.models.checkpoint import weights_digest
from efface.request import Request, as_python_ids, check_others, check_request, make_task
from efface.runtime.seeds import derive_seed
from efface.runtime.text import shorten
from efface.task import Task
from efface.types import Indices, RecordId
from efface.unlearning.result import Result

MAX_RETAIN = 2000  # retain records on which utility is read
MAX_NONMEMBERS = 5000
WHOLE_HOLDOUT = "no run of efface is known to have made these weights: all of the holdout was taken as used by nobody"

TOLD = "which run made these weights, and so which holdout records it used, was told with them and is not checked"


@dataclass(frozen=True)
class Claim:
    """What is claimed: that `unlearned` is `original` without the forget records.

    `splits_seed` is the seed of the run that made it, where that was a run of efface, and `reference` the digest of
    the weights of that run's own reference model.
    """

    original: nn.Module
    unlearned: nn.Module
    forget: Sequence[RecordId]
    task: Task
    splits_seed: int | None
    splits: Splits | None = None
    warnings: Sequence[str] = ()
    reference: str | None = None


@dataclass(frozen=True)
class AuditInputs:
    """What is judged, and the records to judge it on.

    nonmembers are holdout positions; retain (for utility) and references (to train models on) training positions.
    `splits` are the parts of the run that made the model, or of one as it would have been; `known` says which.
    """

    request: Request
    splits: Splits
    known: bool
    nonmembers: Indices
    retain: Indices
    references: Indices
    original: nn.Module
    unlearned: nn.Module
    retrained: Sequence[nn.Module]
    groups: Mapping[str, Tensor]
    digests: tuple[str, str]
    reference: str | None
    notes: tuple[str, ...]


def make_claim(
    result: Result | None,
    pieces: Mapping[str, Any],
    sets: Mapping[str, Dataset[Any] | Sequence[RecordId] | None],
    test: Dataset[Any] | None,
) -> Claim:
    """A claim from a result, or from its pieces: models, forget ids, a task, and what is known of the run."""
    if result is not None:
        if not isinstance(result, Result):
            raise RequestError(f"result: expected what efface.unlearn gives, got {type(result).__name__}")
        doubled = [name for name, value in (*pieces.items(), *sets.items()) if value is not None]
        if doubled:
            raise RequestError(f"{', '.join(doubled)} given beside a result, which holds them already")
        task = result.task if test is None else dataclasses.replace(result.task, test=test)
        return Claim(
            result.original,
            result.model,
            result.forget,
            task,
            result.seed,
            result.splits,
            result.warnings,
            result.reference,
        )
    lacking = [name for name in ("original", "unlearned", "forget") if pieces[name] is None]
    if lacking:
        raise RequestError(
            [f"{name} is missing: give a result, or original=, unlearned= and forget=" for name in lacking]
        )
    task = make_task(pieces["task"], test=test, **sets)  # type: ignore[arg-type]
    models = (pieces["original"], pieces["unlearned"])
    return Claim(*models, pieces["forget"], task, pieces["run_seed"], reference=pieces["used_reference"])


def prepare(
    claim: Claim,
    retrained: Sequence[nn.Module],
    references: Sequence[nn.Module],
    groups: Mapping[str, Sequence[RecordId]],
    seed: int,
) -> AuditInputs:
    """Check the request and set aside what the method used; `references` are those that were handed in."""
    request = check_request(claim.original, claim.task, claim.forget, full=True, judging=True, fresh=False)
    again = {f"retrained[{i}]": m for i, m in enumerate(retrained)}
    given = {f"references[{i}]": m for i, m in enumerate(references)}
    check_others({"unlearned": claim.unlearned, **again, **given}, request)
    _check_parts(claim, again, given)
    known = claim.splits_seed is not None
    sizes = (len(request.train), len(request.holdout))
    splits = claim.splits or make_splits(request.forget, *sizes, claim.splits_seed if known else seed)  # type: ignore[arg-type]
    # all of the holdout; where it is too much, a sample, since data sets are often sorted by class
    shuffled = np.random.default_rng(derive_seed(seed, "audit", "holdout")).permutation(len(request.holdout))
    nonmembers = splits.audit if known else shuffled
    unused = np.setdiff1d(splits.retain, np.concatenate([splits.reference, splits.members, splits.audit_reference]))
    pool = unused if len(unused) >= MAX_RETAIN else splits.retain
    digests, same = _digests(claim)
    told = [WHOLE_HOLDOUT] if not known else [] if claim.splits is not None else [TOLD]
    return AuditInputs(
        request=request,
        splits=splits,
        known=known,
        nonmembers=nonmembers[:MAX_NONMEMBERS],
        retain=np.random.default_rng(derive_seed(seed, "audit", "retain")).permutation(pool)[:MAX_RETAIN],
        references=splits.audit_reference,
        original=claim.original,
        unlearned=claim.unlearned,
        retrained=retrained,
        groups=_masks(request, groups),
        digests=digests,
        reference=claim.reference,
        notes=tuple(dict.fromkeys([*claim.warnings, *request.warnings, *same, *told])),
    )


def _check_parts(claim: Claim, retrained: Mapping[str, nn.Module], references: Mapping[str, nn.Module]) -> None:
    """Refuse, as a retrained or reference model, what is judged, what the method used, and the same model twice."""
    seen = {
        weights_digest(claim.original): "the original",
        weights_digest(claim.unlearned): "the unlearned model",
        **({claim.reference: "the reference that the method was steered and stopped by"} if claim.reference else {}),
    }
    problems = []
    for name, model in {**retrained, **references}.items():
        digest = weights_digest(model)
        if digest in seen:
            problems.append(f"{name} is {seen[digest]}: the audit needs models that had no part, each once")
        seen.setdefault(digest, name)
    if problems:
        raise RequestError(problems)


def _digests(claim: Claim) -> tuple[tuple[str, str], list[str]]:
    """Digests of original and unlearned, and a note where they are the same."""
    digests = weights_digest(claim.original), weights_digest(claim.unlearned)
    same = "the unlearned weights are bit for bit the original's: nothing was unlearned"
    return digests, [same] if digests[0] == digests[1] else []


def _masks(request: Request, groups: Mapping[str, Sequence[RecordId]]) -> dict[str, Tensor]:
    """Each group of forget ids as a mask over the request's ids, in their order."""
    known = set(request.ids)
    members = {name: set(as_python_ids(ids)) for name, ids in groups.items()}
    problems = [
        f"group {name!r}: expected record ids, got {ids!r}" for name, ids in groups.items() if isinstance(ids, str)
    ]
    problems += [
        f"group {name!r} names {shorten(i - known)}, not in the forget set" for name, i in members.items() if i - known
    ]
    problems += [f"group {name!r} is empty" for name, i in members.items() if not i]
    if problems:
        raise RequestError(problems)
    return {name: torch.tensor([i in ids for i in request.ids]) for name, ids in members.items()}
