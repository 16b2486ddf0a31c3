"""The audit: judges an unlearned model, by whatever tool it was made, on evidence that the method did not use."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from efface.attacks.views import sights
from efface.checkpoint import weights_digest
from efface.data.checks import few
from efface.data.splits import make_splits
from efface.errors import DivergedError, RequestError
from efface.evidence import check_reference
from efface.models import Recipe, fresh_model, logits_of
from efface.models import train as fit
from efface.progress import track
from efface.report.build import Report
from efface.requests import Request, check_others, check_request, make_task
from efface.result import Result
from efface.runtime import Meter, derive_seed, unchanged_globals
from efface.tables import Table
from efface.task import Task
from efface.types import Indices, PhaseCost, RecordId
from efface.verdict import decide

UTILITY_FLOOR = 0.03
MOST_RETAIN = 2000  # retain records on which utility is read
MOST_STRANGERS = 5000
FEWEST_REFERENCE_RECORDS = 50


@dataclass(frozen=True)
class Subject:
    """What is judged, and the records to judge it on.

    strangers are holdout positions; retain (for utility) and references (to train models on) training positions.
    """

    request: Request
    strangers: Indices
    retain: Indices
    references: Indices
    original: nn.Module
    unlearned: nn.Module
    retrained: Sequence[nn.Module]
    groups: Mapping[str, Tensor]
    notes: tuple[str, ...]


def audit(
    result: Result | None = None,
    *,
    original: nn.Module | None = None,
    unlearned: nn.Module | None = None,
    forget: Sequence[RecordId] | None = None,
    task: Task | None = None,
    train: Dataset[Any] | None = None,
    holdout: Dataset[Any] | None = None,
    test: Dataset[Any] | None = None,
    ids: Sequence[RecordId] | None = None,
    retrained: Sequence[nn.Module] = (),
    retrain_cost: PhaseCost | None = None,
    groups: Mapping[str, Sequence[RecordId]] | None = None,
    references: int = 2,
    recipe: Recipe | None = None,
    seed: int | None = None,
    title: str = "Unlearning report",
    progress: bool | None = None,
) -> Report:
    """Judge an unlearned model.

    Give the `result` of `efface.unlearn`, or `original`, `unlearned`, `forget` and a `task` (or `train` and
    `holdout`): any tool's output. With a result, the holdout records that the method or its stop rule used are left
    out; without one, it is up to the caller that `holdout` was used by nobody. `references` models are trained for
    the audit on retain records of its own (0: what needs them is not measured). `retrained` are models trained
    without the forget set: with two or more, effects are measured against them instead of against 0.5.
    `retrain_cost` is what one of them cost. `groups` names kinds of forget record that the table shows apart.

    Raises RequestError, with every problem, before any work; DivergedError where a model's logits are not finite.
    """
    meter, seed = Meter(), seed if seed is not None else result.seed if result is not None else 0
    with unchanged_globals():
        with meter.phase("checks"):
            subject = _subject(
                result, original, unlearned, forget, task, train, holdout, test, ids, retrained, groups, seed
            )
        own = derive_seed(seed, "audit")
        with meter.phase("references"):
            models, why = _references(subject, references, recipe or Recipe(), own, meter, progress)
        with meter.phase("scoring"):
            table = _table(subject, models, why, own, meter)
    request = subject.request
    verdict = decide(table.effects(), table.utility_change(), UTILITY_FLOOR, len(request.forget), table.target)
    return Report(
        verdict=verdict,
        metrics=tuple(table.metrics()),
        table=table,
        result=result,
        original=subject.original,
        unlearned=subject.unlearned,
        ids=request.ids,
        training_records=len(request.train),
        holdout_records=len(request.holdout),
        holdout_used_for=request.task.holdout_used_for,
        groups={name: int(mask.sum()) for name, mask in subject.groups.items()},
        cost=meter.cost(),
        retrain_cost=retrain_cost,
        seed=seed,
        title=title,
        notes=(*request.warnings, *subject.notes, *([why] if why else []))
        if result is None
        else (*subject.notes, *([why] if why else [])),
    )


def _subject(
    result: Result | None,
    original: nn.Module | None,
    unlearned: nn.Module | None,
    forget: Sequence[RecordId] | None,
    task: Task | None,
    train: Dataset[Any] | None,
    holdout: Dataset[Any] | None,
    test: Dataset[Any] | None,
    ids: Sequence[RecordId] | None,
    retrained: Sequence[nn.Module],
    groups: Mapping[str, Sequence[RecordId]] | None,
    seed: int,
) -> Subject:
    """Check the request and set aside what the method used."""
    if result is not None:
        named = (("original", original), ("unlearned", unlearned), ("forget", forget), ("task", task), ("train", train))
        doubled = [name for name, value in (*named, ("holdout", holdout), ("ids", ids)) if value is not None]
        if doubled:
            raise RequestError(f"{', '.join(doubled)} given beside a result, which holds them already")
        task = result.task if test is None else dataclasses.replace(result.task, test=test)
        original, unlearned, forget = result.original, result.model, result.forget
    else:
        task = make_task(task, train, holdout, test, ids)
    if original is None or unlearned is None or forget is None:
        lacking = [n for n, v in (("original", original), ("unlearned", unlearned), ("forget", forget)) if v is None]
        raise RequestError(
            [f"{name} is missing: give a result, or original=, unlearned= and forget=" for name in lacking]
        )
    request = check_request(original, task, forget, full=result is None, judging=True)
    check_others({"unlearned": unlearned, **{f"retrained[{i}]": m for i, m in enumerate(retrained)}}, request)
    splits = (
        make_splits(request.forget, len(request.train), len(request.holdout), seed) if result is None else result.splits
    )
    rng = np.random.default_rng(derive_seed(seed, "audit", "retain"))
    strangers = splits.audit
    if result is None:  # all of the holdout; where it is too much, a sample, since data sets are often sorted by class
        theirs = np.random.default_rng(derive_seed(seed, "audit", "strangers"))
        strangers = theirs.permutation(len(request.holdout))
    unused = np.setdiff1d(splits.retain, np.concatenate([splits.reference, splits.members, splits.audit_reference]))
    pool = unused if len(unused) >= MOST_RETAIN else splits.retain
    return Subject(
        request=request,
        strangers=strangers[:MOST_STRANGERS],
        retain=rng.permutation(pool)[:MOST_RETAIN],
        references=splits.audit_reference,
        original=original,
        unlearned=unlearned,
        retrained=retrained,
        groups=_masks(request, groups or {}),
        notes=_same_weights(original, unlearned, retrained),
    )


def _same_weights(original: nn.Module, unlearned: nn.Module, retrained: Sequence[nn.Module]) -> tuple[str, ...]:
    """A note for each model that is another one again."""
    first = {weights_digest(original): "the original"}
    notes = []
    for name, model in (("unlearned", unlearned), *((f"retrained[{i}]", m) for i, m in enumerate(retrained))):
        other = first.setdefault(weights_digest(model), name)
        if name == "unlearned" and other != name:
            notes.append("the unlearned weights are bit for bit the original's: nothing was unlearned")
        elif other != name:
            notes.append(f"the weights of {name} are bit for bit those of {other}: no training of its own")
    return tuple(notes)


def _masks(request: Request, groups: Mapping[str, Sequence[RecordId]]) -> dict[str, Tensor]:
    """Each group of forget ids as a mask over the request's ids, in their order."""
    known = set(request.ids)
    foreign = [
        f"group {name!r} names {few(set(i) - known)}, not in the forget set"
        for name, i in groups.items()
        if set(i) - known
    ]
    foreign += [f"group {name!r} is empty" for name, i in groups.items() if not len(i)]
    if foreign:
        raise RequestError(foreign)
    return {name: torch.tensor([i in set(members) for i in request.ids]) for name, members in groups.items()}


def _references(
    subject: Subject, wanted: int, recipe: Recipe, seed: int, meter: Meter, progress: bool | None
) -> tuple[list[nn.Module], str]:
    """Models that saw neither forget nor holdout records, nor any record of the method's; and why there are none."""
    request = subject.request
    if wanted < 1:
        return [], "no reference models were asked for"
    if len(subject.references) < FEWEST_REFERENCE_RECORDS:
        return [], f"only {len(subject.references)} retain records are left for reference models of the audit"
    models = []
    with track("training reference models of the audit", wanted, progress) as advance:
        for k in range(wanted):
            own = derive_seed(seed, "reference", str(k))
            start = fresh_model(request.task, subject.original, own)
            model = fit(request.task, start, request.train, subject.references, recipe, own, meter)
            problem = check_reference(request, subject.strangers, model, meter)
            if problem:
                return [], problem
            models.append(model)
            advance()
    return models, ""


def _table(subject: Subject, references: Sequence[nn.Module], why: str, seed: int, meter: Meter) -> Table:
    request = subject.request
    models = [subject.original, subject.unlearned, *subject.retrained, *references]
    seen = sights(request.task, models, request.train, request.forget, request.holdout, subject.strangers, seed, meter)
    names = ["original", "unlearned", *(f"retrained[{i}]" for i in range(len(subject.retrained)))]
    broken = [
        name
        for name, s in zip(names, seen, strict=False)
        if not (s.forget.logits.isfinite().all() and s.strangers.logits.isfinite().all())
    ]
    if broken:
        raise DivergedError(f"{', '.join(broken)}: the logits hold NaN or infinite values, so nothing can be compared")
    places = {"retain": (request.train, subject.retain)}
    if request.test is not None:
        places["test"] = (request.test, np.arange(len(request.test)))
    judged = models[: 2 + len(subject.retrained)]
    plain = {}
    for name, (records, at) in places.items():
        before, after, *again = (logits_of(request.task, m, records, at, meter) for m in judged)
        plain[name] = (records.targets(at), before, after, again)
    k = len(judged)
    return Table(seen[0], seen[1], seen[2:k], seen[k:], plain, subject.groups, why)
