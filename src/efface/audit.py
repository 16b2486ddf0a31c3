"""The audit: judges an unlearned model, by whatever tool it was made, on evidence that the method did not use."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn
from torch.utils.data import Dataset

from efface.attacks.views import sights
from efface.data.checks import Findings
from efface.errors import DivergedError, RequestError
from efface.evidence import check_reference
from efface.models import Recipe, fresh_model, logits_of
from efface.models import train as fit
from efface.progress import track
from efface.report.build import Report
from efface.requests import check_fresh
from efface.result import Result
from efface.runtime import Meter, derive_seed, seeded, unchanged_globals
from efface.subject import Subject, make_claim, prepare
from efface.tables import Table
from efface.task import Task
from efface.types import PhaseCost, RecordId
from efface.verdict import decide

UTILITY_FLOOR = 0.03
FEWEST_REFERENCE_RECORDS = 50


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
    retrained: Sequence[nn.Module] | None = None,
    retrain_cost: PhaseCost | None = None,
    groups: Mapping[str, Sequence[RecordId]] | None = None,
    references: int = 2,
    recipe: Recipe | None = None,
    seed: int | None = None,
    run_seed: int | None = None,
    title: str = "Unlearning report",
    progress: bool | None = None,
) -> Report:
    """Judge an unlearned model.

    Give the `result` of `efface.unlearn`, or `original`, `unlearned`, `forget` and a `task` (or `train` and
    `holdout`): any tool's output. With a result, the holdout records that the method or its stop rule used are left
    out. So they are with `run_seed`, the seed of the efface run that made `unlearned`; without either, it is up to the
    caller that `holdout` was used by nobody. `references` models are trained for the audit on retain records of its own
    (0: what needs them is not measured). `retrained` are models trained without the forget set: with two or more,
    effects are measured against them instead of against 0.5. `retrain_cost` is what one of them cost. `groups` names
    kinds of forget record that the table shows apart.

    Raises RequestError, with every problem, before any work; DivergedError where a model's logits are not finite.
    """
    meter, retrained = Meter(), () if retrained is None else retrained
    _check_call(retrained, references, recipe, seed, run_seed)
    claim = make_claim(
        result,
        {"original": original, "unlearned": unlearned, "forget": forget, "task": task, "run_seed": run_seed},
        {"train": train, "holdout": holdout, "ids": ids},
        test,
    )
    run = result.seed if result is not None else seed or 0
    own = derive_seed(run if seed is None else seed, "audit")
    with unchanged_globals(), seeded(own), meter.phase("other"):
        with meter.phase("checks"):
            subject = prepare(claim, retrained, groups or {}, own)
        with meter.phase("references"):
            models, why = _references(subject, references, recipe or Recipe(), own, meter, progress)
        with meter.phase("scoring"):
            table = _table(subject, models, why, own, meter)
            verdict = decide(
                table.effects(), table.utility_change(), UTILITY_FLOOR, len(subject.request.forget), table.target
            )
            metrics = tuple(table.metrics())
    request = subject.request
    drew = "" if seed in (None, run) else f"the audit drew from seed {seed}"
    return Report(
        verdict=verdict,
        metrics=metrics,
        table=table,
        result=result,
        original=subject.original,
        unlearned=subject.unlearned,
        digests=subject.digests,
        ids=request.ids,
        training_records=len(request.train),
        holdout_records=len(request.holdout),
        holdout_used_for=request.task.holdout_used_for,
        groups={name: int(mask.sum()) for name, mask in subject.groups.items()},
        cost=meter.cost(),
        retrain_cost=retrain_cost,
        seed=run,
        title=title,
        notes=(*subject.notes, *filter(None, (why, drew))),
    )


def _check_call(retrained: object, references: object, recipe: object, seed: object, run_seed: object) -> None:
    wrong = []
    if isinstance(retrained, nn.Module) or not isinstance(retrained, Sequence):
        wrong.append(f"retrained: expected a list of models, got {type(retrained).__name__}")
    if not isinstance(references, int) or references < 0:
        wrong.append(f"references: expected a number of models, 0 or more, got {references!r}")
    if not isinstance(recipe, Recipe | None):
        wrong.append(f"recipe: expected an efface.Recipe, got {recipe!r}")
    wrong += [
        f"{name}: expected an integer, got {value!r}"
        for name, value in (("seed", seed), ("run_seed", run_seed))
        if not isinstance(value, int | None)
    ]
    if wrong:
        raise RequestError(wrong)


def _references(
    subject: Subject, wanted: int, recipe: Recipe, seed: int, meter: Meter, progress: bool | None
) -> tuple[list[nn.Module], str]:
    """Models that saw neither forget nor holdout records, nor any record of the method's; and why there are none."""
    request = subject.request
    if wanted < 1:
        return [], "no reference models were asked for"
    if len(subject.references) < FEWEST_REFERENCE_RECORDS:
        return [], f"only {len(subject.references)} retain records are left for reference models of the audit"
    found = Findings()
    check_fresh(subject.original, request.task, request.train, request.classes, found)
    if found.problems:
        return [], "; ".join(found.problems)
    models: list[nn.Module] = []
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
