"""The audit: judges an unlearned model, by whatever tool it was made, on evidence that the method did not use."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from efface.auditing.config import Level
from efface.auditing.inputs import make_claim, prepare
from efface.auditing.report.build import Report
from efface.auditing.run import Orders, judge
from efface.auditing.shadow_models import MethodSpec
from efface.data.checks import Findings
from efface.ensembles import Training
from efface.errors import RequestError, collect_errors
from efface.methods import Method, get
from efface.models.training import Recipe
from efface.runtime.cost import Meter, PhaseCost
from efface.runtime.seeds import derive_seed, seeded, unchanged_globals
from efface.task import Task
from efface.types import RecordId
from efface.unlearning.result import Result, Settings

__all__ = ["audit"]

REFERENCES = 4
MODELS = 32
MIN_MODELS = 8


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
    level: str = "standard",
    references: int | Sequence[nn.Module] = REFERENCES,
    retrained: Sequence[nn.Module] | None = None,
    retrain_cost: PhaseCost | None = None,
    groups: Mapping[str, Sequence[RecordId]] | None = None,
    method: str | Method | None = None,
    models: int = MODELS,
    cache: str | Path | None = None,
    jobs: int | None = None,
    recipe: Recipe | None = None,
    seed: int | None = None,
    run_seed: int | None = None,
    used_reference: str | None = None,
    title: str = "Unlearning report",
    show_ids: bool = True,
    progress: bool | None = None,
) -> Report:
    """Judge an unlearned model.

    Give the `result` of `efface.unlearn`, or `original`, `unlearned`, `forget` and a `task` (or `train` and
    `holdout`): any tool's output. With a result, the holdout records that the method or its stop rule used are left
    out. So they are with `run_seed`, the seed of the efface run that made `unlearned`; without either, it is up to the
    caller that `holdout` was used by nobody.

    level: `quick` trains nothing, and judges only requests that look like a random sample; `standard` compares at
        equal difficulty, by a few reference models; `strong` adds ensembles, by Task.fit.
    references: how many models to train on retain records that no method uses, or models that saw neither forget nor
        holdout records (at level standard and strong).
    retrained: models trained without the forget set; with two or more, effects are measured against them.
    retrain_cost: what one of them cost. groups: kinds of forget record that the table shows apart.
    method, models: at level strong, what made `unlearned` (known with a result), to be run on as many originals, and
        the size of each ensemble; without a method only the one unlearned model is compared with retrained ones.
    cache, jobs: folder that keeps the ensembles' models, so that a second audit finds them; processes to train them.
    show_ids: whether the report names records by id; a hash of each is there anyway.

    Raises RequestError, with every problem, before any work; DivergedError where a model's logits are not finite.
    """
    meter = Meter()
    retrained = () if retrained is None else retrained
    _check_call(
        {"seed": seed, "run_seed": run_seed},
        retrained,
        groups,
        retrain_cost,
        {"title": title, "used_reference": used_reference},
        {"show_ids": show_ids, "progress": progress},
    )
    orders = _orders(level, references, method, models, cache, jobs, recipe, progress, result)
    claim = make_claim(
        result,
        {
            "original": original,
            "unlearned": unlearned,
            "forget": forget,
            "task": task,
            "run_seed": run_seed,
            "used_reference": used_reference,
        },
        {"train": train, "holdout": holdout, "ids": ids},
        test,
    )
    run = result.seed if result is not None else seed or 0
    own = derive_seed(run if seed is None else seed, "audit")
    with unchanged_globals(), seeded(own), meter.phase("other"):
        with meter.phase("checks"):
            subject = prepare(claim, retrained, orders.references, groups or {}, own)
            orders.check(subject)
        judgement = judge(subject, orders, own, meter)
    drew = "" if seed in (None, run) else f"the audit drew from seed {seed}"
    again = retrain_cost or judgement.retrain_cost
    return Report(
        subject=subject,
        judgement=judgement,
        level=orders.level,
        result=result,
        cost=meter.cost(),
        retrain_cost=again,
        seed=run,
        title=title,
        show_ids=show_ids,
        notes=(*subject.notes, *judgement.notes, *filter(None, [drew])),
    )


def _orders(
    level: str,
    references: object,
    method: str | Method | None,
    models: object,
    cache: str | Path | None,
    jobs: object,
    recipe: object,
    progress: bool | None,
    result: Result | None,
) -> Orders:
    """What was asked for; RequestError with everything that is wrong with it."""
    found = Findings()
    wrong = found.problems
    known = [str(x) for x in Level]
    if level not in known:
        wrong.append(f"level: expected one of {', '.join(known)}, got {level!r}")
    given: Sequence[nn.Module] = ()
    count = 0
    if isinstance(references, bool | str) or not isinstance(references, int | Sequence):
        wrong.append(f"references: expected a number of models, or models, got {type(references).__name__}")
    elif isinstance(references, int):
        count = references
        if references < 1:
            wrong.append(f"references: expected 1 or more, got {references}; level 'quick' needs none")
    else:
        given = references
        odd = [type(m).__name__ for m in given if not isinstance(m, nn.Module)]
        if odd or not given:
            wrong.append(f"references: expected models, got {odd[0] if odd else 'none'}")
    if not isinstance(models, int) or models < MIN_MODELS:
        wrong.append(f"models: expected {MIN_MODELS} or more, got {models!r}")
    if isinstance(jobs, bool) or not isinstance(jobs, int | None) or (isinstance(jobs, int) and jobs < 1):
        wrong.append(f"jobs: expected a number of processes, got {jobs!r}")
    if not isinstance(cache, str | Path | None):
        wrong.append(f"cache: expected a folder, got {cache!r}")
    if not isinstance(recipe, Recipe | None):
        wrong.append(f"recipe: expected an efface.Recipe, got {recipe!r}")
    if method is not None and result is not None:
        wrong.append("method given beside a result, which holds it already")
    chosen = result.method if isinstance(result, Result) else None
    if method is not None and chosen is None:
        chosen = collect_errors(wrong, get, method)
    if level == Level.QUICK and given:
        wrong.append("references: level quick uses none; use level standard")
    if level in known and level != Level.STRONG:
        unused = [name for name, value in (("method", method), ("cache", cache)) if value is not None]
        wrong += [f"{name}: only level strong uses it" for name in unused]
    if wrong:
        raise RequestError(wrong)
    training = Training(recipe or Recipe(), None if cache is None else Path(cache), jobs, progress)  # type: ignore[arg-type]
    settings = result.settings if isinstance(result, Result) else Settings()
    remake = None if chosen is None else MethodSpec(chosen, settings)
    return Orders(Level(level), count, given, remake, models, training)  # type: ignore[arg-type]


def _check_call(
    seeds: Mapping[str, object],
    retrained: object,
    groups: object,
    retrain_cost: object,
    texts: Mapping[str, object],
    flags: Mapping[str, object],
) -> None:
    wrong = []
    if isinstance(retrained, nn.Module) or not isinstance(retrained, Sequence):
        wrong.append(f"retrained: expected a list of models, got {type(retrained).__name__}")
    if not isinstance(groups, Mapping | None):
        wrong.append(f"groups: expected record ids by the name of each group, got {type(groups).__name__}")
    if not isinstance(retrain_cost, PhaseCost | None):
        wrong.append(f"retrain_cost: expected an efface.runtime.cost.PhaseCost, got {type(retrain_cost).__name__}")
    for kind, values in ((int, seeds), (str, texts), (bool, flags)):
        wrong += [
            f"{name}: expected {_NAMES[kind]}, got {value!r}"
            for name, value in values.items()
            if value is not None and type(value) is not kind
        ]
    if wrong:
        raise RequestError(wrong)


_NAMES = {int: "an integer", str: "text", bool: "True or False"}
