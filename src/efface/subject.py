"""What an audit judges, and the records that it judges on."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from efface.checkpoint import weights_digest
from efface.data.checks import few
from efface.data.splits import make_splits
from efface.errors import RequestError
from efface.requests import Request, check_others, check_request, make_task, plain_ids
from efface.result import Result
from efface.runtime import derive_seed
from efface.task import Task
from efface.types import Indices, RecordId, Splits

MOST_RETAIN = 2000  # retain records on which utility is read
MOST_STRANGERS = 5000
WHOLE_HOLDOUT = "no run of efface is known to have made these weights: all of the holdout was taken as used by nobody"


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
class Subject:
    """What is judged, and the records to judge it on.

    strangers are holdout positions; retain (for utility) and references (to train models on) training positions.
    `splits` are the parts of the run that made the model, or of one as it would have been; `known` says which.
    """

    request: Request
    splits: Splits
    known: bool
    strangers: Indices
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
) -> Subject:
    """Check the request and set aside what the method used; `references` are those that were handed in."""
    request = check_request(claim.original, claim.task, claim.forget, full=True, judging=True, fresh=False)
    others = {"unlearned": claim.unlearned, **{f"retrained[{i}]": m for i, m in enumerate(retrained)}}
    given = {f"references[{i}]": m for i, m in enumerate(references)}
    check_others({**others, **given}, request)
    _check_references(claim, given)
    known = claim.splits_seed is not None
    sizes = (len(request.train), len(request.holdout))
    splits = claim.splits or make_splits(request.forget, *sizes, claim.splits_seed if known else seed)  # type: ignore[arg-type]
    # all of the holdout; where it is too much, a sample, since data sets are often sorted by class
    shuffled = np.random.default_rng(derive_seed(seed, "audit", "strangers")).permutation(len(request.holdout))
    strangers = splits.audit if known else shuffled
    unused = np.setdiff1d(splits.retain, np.concatenate([splits.reference, splits.members, splits.audit_reference]))
    pool = unused if len(unused) >= MOST_RETAIN else splits.retain
    digests, same = _digests(claim.original, others)
    return Subject(
        request=request,
        splits=splits,
        known=known,
        strangers=strangers[:MOST_STRANGERS],
        retain=np.random.default_rng(derive_seed(seed, "audit", "retain")).permutation(pool)[:MOST_RETAIN],
        references=splits.audit_reference,
        original=claim.original,
        unlearned=claim.unlearned,
        retrained=retrained,
        groups=_masks(request, groups),
        digests=digests,
        reference=claim.reference,
        notes=tuple(dict.fromkeys([*claim.warnings, *request.warnings, *same, *([] if known else [WHOLE_HOLDOUT])])),
    )


def _check_references(claim: Claim, given: Mapping[str, nn.Module]) -> None:
    """Refuse as a reference of the audit what the method used, or what is judged."""
    barred = {
        weights_digest(claim.original): "the original",
        weights_digest(claim.unlearned): "the unlearned model",
        **({claim.reference: "the reference that the method was steered and stopped by"} if claim.reference else {}),
    }
    found = {name: barred.get(weights_digest(m)) for name, m in given.items()}
    problems = [f"{name} is {what}: the audit needs models that had no part" for name, what in found.items() if what]
    if problems:
        raise RequestError(problems)


def _digests(original: nn.Module, others: Mapping[str, nn.Module]) -> tuple[tuple[str, str], list[str]]:
    """Digests of original and unlearned, and a note for each model that is another one again."""
    digests = {"the original": weights_digest(original)}
    notes = []
    for name, model in others.items():
        digest = weights_digest(model)
        twin = next((other for other, d in digests.items() if d == digest), None)
        if twin is not None and name == "unlearned":
            notes.append("the unlearned weights are bit for bit the original's: nothing was unlearned")
        elif twin is not None:
            notes.append(f"the weights of {name} are bit for bit those of {twin}: no training of its own")
        digests[name] = digest
    return (digests["the original"], digests["unlearned"]), notes


def _masks(request: Request, groups: Mapping[str, Sequence[RecordId]]) -> dict[str, Tensor]:
    """Each group of forget ids as a mask over the request's ids, in their order."""
    known = set(request.ids)
    members = {name: set(plain_ids(ids)) for name, ids in groups.items()}
    problems = [
        f"group {name!r} names {few(i - known)}, not in the forget set" for name, i in members.items() if i - known
    ]
    problems += [f"group {name!r} is empty" for name, i in members.items() if not i]
    if problems:
        raise RequestError(problems)
    return {name: torch.tensor([i in ids for i in request.ids]) for name, ids in members.items()}
