"""The driver: one request from its checks to its result. It copies, seeds, times, looks at evidence and chooses."""

import copy
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from torch import nn
from torch.utils.data import Dataset

from efface.calibration.assumptions import assumptions
from efface.calibration.counterfactual import CalibrationRecords, CounterfactualLogits
from efface.calibration.reference import RECIPE, check_reference, reference_model
from efface.data.splits import Splits, make_splits
from efface.errors import DivergedError, RequestError, collect_errors
from efface.methods import get
from efface.methods.base import Method, Problem, Step
from efface.models.checkpoint import weights_digest
from efface.models.init import unfreeze
from efface.models.running import all_finite
from efface.models.training import Recipe
from efface.request import Request, check_request, make_task
from efface.runtime.cost import Meter
from efface.runtime.progress import track
from efface.runtime.seeds import derive_seed, seeded, unchanged_globals
from efface.task import Task
from efface.types import RecordId
from efface.unlearning.evidence import Evaluation, Evidence, Outcome
from efface.unlearning.observer import Observer
from efface.unlearning.result import Result, Settings
from efface.unlearning.stopping import Decision, StopRule, conclude, default_rule

# Coverage of the evidence over all evaluations of a run together: that of two one-sided tests at 5 %, which is what an
# interval wholly within a margin amounts to. Each evaluation gets its Bonferroni share of the rest.
LEVEL = 0.90
# Assumptions without which forget records and nonmembers of equal score are not alike once they are forgotten: the
# reference that scores them began at weights that knew them.
JUDGEABLE = {"alike", "classes stay"}
NOT_RANDOM = "the run's own evidence judges only requests that look drawn at random; an audit can tell"
NOTHING_DONE = "no step could be kept, so the weights are the original's: nothing was unlearned"


def unlearn(
    model: nn.Module,
    *,
    forget: Sequence[RecordId],
    task: Task | None = None,
    train: Dataset[Any] | None = None,
    holdout: Dataset[Any] | None = None,
    ids: Sequence[RecordId] | None = None,
    method: str | Method = "steer",
    seed: int = 0,
    stop: StopRule | None = None,
    evaluate: bool = True,
    checks: bool = True,
    reference: Recipe | None = None,
    splits: Splits | None = None,
    progress: bool | None = None,
) -> Result:
    """Erase training records from a copy of `model`.

    Give either a `task`, or `train` and `holdout` (and `ids`). `stop` is the stop rule (by default a utility floor,
    then an equivalence test); `evaluate=False` runs to the step limit with no evidence at all. `checks=False` compares
    no records: twins of forget records, holdout records seen in training and NaN then go unnoticed.
    `reference` is the recipe by which the reference model is trained. `splits` are who is used for
    what, by default drawn by `seed`: give those of another run of the same request to keep to its parts. `progress`
    shows a bar (by default on a terminal).

    Raises RequestError, with every problem, before any work; DivergedError if weights became NaN on the way. `model`
    and everything global are left as they were.
    """
    meter, used = Meter(), list[str]()
    with unchanged_globals(), meter.phase("other"):
        with meter.phase("checks"):
            problems: list[str] = []
            collect_errors(problems, _check_call, seed, stop, reference)
            chosen, request = _agree(problems, model, forget, method, task, train, holdout, ids, evaluate, checks)
            parts = splits or make_splits(request.forget, len(request.train), len(request.holdout), seed)
            if not np.array_equal(np.sort(request.forget), parts.forget):
                raise RequestError("splits: they are those of another request; leave them out, or give this one's own")
        # one seed for whatever draws from the global generators on the way, such as Dropout in a descent method
        with seeded(derive_seed(seed, "run")):

            @cache
            def expected() -> CounterfactualLogits:
                trained = _train_reference(model, request, parts, reference or RECIPE, seed, meter)
                used.append(weights_digest(trained))
                with meter.phase("targets"):
                    return CounterfactualLogits(
                        request.task,
                        model,
                        trained,
                        CalibrationRecords(
                            request.train, request.holdout, parts.members, parts.calibration, request.forget_classes
                        ),
                        meter,
                    )

            working = copy.deepcopy(model)
            frozen = _free(working)
            problem = Problem(
                task=request.task,
                model=working,
                original=model,
                train=request.train,
                holdout=request.holdout,
                forget=parts.forget,
                retain=np.setdiff1d(parts.retain, parts.audit_reference),
                all_retain=parts.retain,
                calibration=parts.calibration,
                forget_classes=request.forget_classes,
                counterfactual=expected,
                seed=seed,
                meter=meter,
            )
            observer = None
            if evaluate and chosen.max_evaluations:
                level = 1 - (1 - LEVEL) / chosen.max_evaluations
                observer = Observer(request, parts, expected(), meter, level)
            supposed = assumptions(expected(), request, parts.forget) if observer or chosen.needs_fresh else ()
            odd = next((a.sentence for a in supposed if not a.met and a.name in JUDGEABLE), None)
            evidence = _run(chosen, problem, observer, stop or default_rule(), progress, odd)
            _restore(working, frozen)
    warnings = (*request.warnings, *([NOTHING_DONE] if evidence.evaluations and not evidence.chosen_step else []))
    warnings += tuple(a.sentence for a in supposed if not a.met and not chosen.is_control)
    return Result(
        model=working,
        original=model,
        task=request.task,
        forget=request.ids,
        method=chosen,
        splits=parts,
        cost=meter.cost(),
        evidence=evidence,
        seed=seed,
        reference=used[0] if used else None,
        settings=Settings(stop, evaluate, reference),
        warnings=warnings,
        assumptions=supposed,
    )


def _agree(
    problems: list[str],
    model: nn.Module,
    forget: Sequence[RecordId],
    method: str | Method,
    task: Task | None,
    train: Dataset[Any] | None,
    holdout: Dataset[Any] | None,
    ids: Sequence[RecordId] | None,
    evaluate: bool,
    checks: bool,
) -> tuple[Method, Request]:
    """The method and the request; RequestError with `problems` and theirs where there are any."""
    chosen = collect_errors(problems, get, method)
    whole = collect_errors(problems, make_task, task, train, holdout, ids=ids)
    request = None
    if whole is not None:
        fresh = chosen is not None and (chosen.needs_fresh or (evaluate and chosen.max_evaluations > 0))
        request = collect_errors(problems, check_request, model, whole, forget, full=checks, fresh=fresh)
    if problems or chosen is None or request is None:
        raise RequestError(problems)
    return chosen, request


def _check_call(seed: object, stop: object, reference: object) -> None:
    wrong = [] if isinstance(seed, int) else [f"seed: expected an integer, got {seed!r}"]
    if not isinstance(stop, StopRule | None):
        wrong.append(f"stop: expected a rule of efface.unlearning.stopping, got {stop!r}")
    if not isinstance(reference, Recipe | None):
        wrong.append(f"reference: expected an efface.Recipe, got {reference!r}")
    if wrong:
        raise RequestError(wrong)


def _run(
    method: Method,
    problem: Problem,
    observer: Observer | None,
    rule: StopRule,
    progress: bool | None,
    odd: str | None,
) -> Evidence:
    """Step until the rule decides or the method ends; leaves the chosen weights in `problem.model`.

    `odd` is why the request is none that the conditional AUC can judge; then only lost utility ends the loop early.
    """
    model, step = problem.model, Step(0, float("nan"))
    evaluations = [observer.evaluate(model, step)] if observer else []
    decision: Decision | None = None
    best = _Best(model, rule.target)
    steps = method.run(problem)
    with track(f"unlearning by {method.key}", method.most_steps(len(problem.forget)), progress) as advance:
        while decision is None:
            with problem.meter.phase("steps"):
                following = next(steps, None)
            if following is None:
                break
            step = following
            advance()
            if not step.is_eval_point:
                continue
            if not all_finite(model):
                raise DivergedError(
                    f"{method.key} gave NaN or infinite weights at step {step.index}; nothing was saved"
                )
            if observer is not None:
                evaluations.append(observer.evaluate(model, step))
                decision = None if method.is_control else rule.check(evaluations)
                if odd and decision is not None and decision.outcome is not Outcome.UTILITY_FLOOR:
                    decision = None
                if decision is None or decision.outcome is not Outcome.UTILITY_FLOOR:
                    best.offer(model, evaluations[-1])
    if not evaluations:
        return Evidence((), Outcome.NOT_JUDGED, "no evidence was looked at", step.index, rule.target, rule.margin, 0)
    if odd and decision is None:
        decision = Decision(Outcome.NOT_JUDGED, f"{NOT_RANDOM}: {odd}")
    decision = decision or conclude(evaluations, rule.target)
    chosen = step.index
    if decision.outcome in (Outcome.UTILITY_FLOOR, Outcome.OVER_UNLEARNED) and not method.is_control:
        chosen = best.restore(model)
    return Evidence(
        tuple(evaluations), decision.outcome, decision.reason, chosen, rule.target, rule.margin, method.max_evaluations
    )


class _Best:
    """The weights at the evaluation whose conditional AUC was nearest to the target, to go back to after a step too far.

    The original's are kept only for want of any other.
    """

    def __init__(self, model: nn.Module, target: float) -> None:
        self._target, self._distance, self._step = target, float("inf"), 0
        self._keep(model)

    def offer(self, model: nn.Module, evaluation: Evaluation) -> None:
        if (distance := abs(evaluation.auc.value - self._target)) < self._distance:
            self._distance, self._step = distance, evaluation.step
            self._keep(model)

    def _keep(self, model: nn.Module) -> None:
        self._state = {name: value.clone() for name, value in model.state_dict().items()}

    def restore(self, model: nn.Module) -> int:
        model.load_state_dict(self._state)
        return self._step


def _train_reference(
    model: nn.Module, request: Request, splits: Splits, recipe: Recipe, seed: int, meter: Meter
) -> nn.Module:
    """A model that was trained on no forget, member or holdout record; refused if it learned nothing."""
    with meter.phase("reference"):
        done = reference_model(request.task, model, request.train, splits.reference, recipe, seed, meter)
        problem = check_reference(request, splits.calibration, done, meter)
    if problem is not None:
        raise RequestError(problem)
    return done


def _free(model: nn.Module) -> list[bool]:
    """Let every parameter move if none may: a deployed model often has all flags off. Gives the flags before."""
    flags = [p.requires_grad for p in model.parameters()]
    if not any(flags):
        unfreeze(model)
    return flags


def _restore(model: nn.Module, flags: Sequence[bool]) -> None:
    for parameter, flag in zip(model.parameters(), flags, strict=True):
        parameter.requires_grad_(flag)
        parameter.grad = None
