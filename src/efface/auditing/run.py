"""How a subject is judged at each level: which models are made, what is read of them, and the verdict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from efface.attacks import ATTACKS
from efface.attacks.outputs import ModelOutputs, collect_outputs, copier, view
from efface.auditing.attack_tests import MIN_TARGETS, TOLERANCE, Scores
from efface.auditing.canaries import Canaries, try_canaries
from efface.auditing.config import Level
from efface.auditing.diagnostics import diagnostic_rows
from efface.auditing.distance_rows import metrics_of
from efface.auditing.distance_tests import DECIDING, distance_tests, recipe_mismatch
from efface.auditing.ensemble_outputs import read_ensembles
from efface.auditing.exchangeability import Exchangeability, compare
from efface.auditing.inputs import AuditInputs
from efface.auditing.readings import Metric
from efface.auditing.shadow_models import Ensembles, MethodSpec, make_ensembles
from efface.auditing.table import Place, Table
from efface.auditing.verdict import ALPHA, AuditTest, Verdict, decide, ladder
from efface.calibration.reference import check_reference
from efface.data.checks import Findings
from efface.ensembles import Training
from efface.ensembles.cache import check_cache
from efface.errors import DivergedError, RequestError, collect_errors
from efface.models.checkpoint import weights_digest
from efface.models.init import fresh_model
from efface.models.running import logits_of
from efface.models.training import train
from efface.request import check_fresh
from efface.runtime.cost import Meter, PhaseCost
from efface.runtime.progress import track
from efface.runtime.seeds import derive_seed

UTILITY_FLOOR = 0.03
MIN_REFERENCE_RECORDS = 50
MAX_HEAD = 2000  # retain records that a last layer is fitted to
MAX_TARGETS = 8  # retrained models of an ensemble that single-model tests are measured against
MIN_ALONE = 32  # retrained models beside which the p value of a single one can fall below its share of 5 %
BARRED = (
    "the forget set does not look like a random sample of the training set, so records that the model never saw are "
    "no fair comparison without reference models: use level standard"
)


CHOSEN = (
    "the forget set does not look like a random sample of the training set: without retrained models a test must show "
    f"an effect beyond {TOLERANCE:g} to fail the model, since difficulty is measured with error"
)


@dataclass(frozen=True)
class Orders:
    """What an audit was asked for: its level, references to train (`count`) or given, and what ensembles need."""

    level: Level
    count: int
    references: Sequence[nn.Module]
    remake: MethodSpec | None
    models: int
    training: Training

    def check(self, subject: AuditInputs) -> None:
        """Whether what must be trained can be; RequestError otherwise."""
        if self.level is not Level.STRONG:
            return
        found = Findings()
        request = subject.request
        check_fresh(subject.original, request.task, request.train, request.classes, found)
        if request.task.fit is None:
            found.problems.append(
                "level strong trains models as the original was trained: give Task.fit, or use level standard"
            )
        if request.forget_classes and self.remake is not None:
            found.problems.append("level strong cannot run a method on whole classes yet: leave `method` out")
        if self.training.cache is not None:
            collect_errors(found.problems, check_cache, self.training.cache)
        if found.problems:
            raise RequestError(found.problems)


@dataclass(frozen=True)
class AuditResult:
    """What was found: the verdict and all that it rests on.

    `remake` is how shadows were unlearned, and `references` the digests of the audit's reference models.
    `exchangeable` is set without retrained models, `canaries` and `ensembles` at level strong.
    """

    verdict: Verdict
    tests: Sequence[AuditTest]
    table: Table
    exchangeable: Exchangeability | None
    canaries: Canaries | None
    ensembles: Ensembles | None
    remake: MethodSpec | None
    references: Sequence[str]
    given: bool
    notes: Sequence[str]

    @property
    def retrain_cost(self) -> PhaseCost | None:
        """What one retraining of the ensemble cost, where one was made now."""
        return None if self.ensembles is None else self.ensembles.each


def judge(subject: AuditInputs, orders: Orders, seed: int, meter: Meter) -> AuditResult:
    """Judge a subject at the level ordered."""
    notes: list[str] = []
    references, why = _references(subject, orders, seed, meter)
    made, caught, found = None, None, Found()
    targets = list(subject.retrained)
    if orders.level is Level.STRONG:
        made = make_ensembles(subject, orders.remake, orders.models, orders.training, seed, meter)
        caught = _canaries(subject, orders, notes, seed, meter)
        found = _distances(subject, orders, made, notes, seed, meter)
        targets += [] if found.foreign else made.retrained[:MAX_TARGETS]
    with meter.phase("scoring"):
        alike = None if len(targets) >= MIN_TARGETS else _exchangeable(subject, seed, meter)
        chosen = alike is not None and not alike.is_exchangeable
        barred = chosen and orders.level is Level.QUICK
        notes += [CHOSEN] if chosen and not barred else []
        outputs_of = _sights(subject, targets, references, seed, meter)
        quick = orders.level is Level.QUICK
        scores = Scores(*outputs_of, subject.groups, why, quick, chosen, len(found.tests))
        tests = ladder([*([] if barred else scores.tests), *found.tests])
        traced = diagnostic_rows(subject, scores, targets, references, seed, meter)
        table = Table(scores, _plain(subject, targets, meter), tests, barred, [*traced, *found.rows])
        change, records = table.utility_change(), len(subject.request.forget)
        verdict = decide(tests, change, UTILITY_FLOOR, records, scores.target, BARRED if barred else "")
    notes += [why] if why and not quick else []
    notes += _resolution(records, len(subject.nonmembers)) if references else []
    digests = [weights_digest(m) for m in references]
    return AuditResult(
        verdict, tests, table, alike, caught, made, orders.remake, digests, bool(orders.references), notes
    )


@dataclass(frozen=True)
class Found:
    """What distances gave: tests, rows, and why they say nothing, if so."""

    tests: Sequence[AuditTest] = ()
    rows: Sequence[Metric] = ()
    foreign: str = ""


def _distances(
    subject: AuditInputs, orders: Orders, made: Ensembles, notes: list[str], seed: int, meter: Meter
) -> Found:
    with meter.phase("scoring"):
        seen = read_ensembles(subject, made, seed, meter, orders.training.progress)
        foreign = recipe_mismatch(seen)
        test_count = sum(a.decides[0] for a in ATTACKS) + len(DECIDING) * (2 if made.remade else 1)
        tests, rows = distance_tests(seen, test_count, foreign, seed), metrics_of(seen)
    notes += [foreign] if foreign else []
    if orders.models < MIN_ALONE:
        notes.append(
            f"{orders.models} retrained models are too few for one unlearned model to be told from them by distance at "
            f"5 %: that takes {MIN_ALONE}"
        )
    return Found(tests, rows, foreign)


def _canaries(subject: AuditInputs, orders: Orders, notes: list[str], seed: int, meter: Meter) -> Canaries | None:
    if orders.remake is None:
        notes.append("no canaries: the method that made the model is not known, or cannot be run again")
        return None
    tried = try_canaries(subject, orders.remake, orders.models // 2, orders.training, seed, meter)
    if isinstance(tried, Canaries):
        return tried
    notes.append(tried)
    return None


def _resolution(records: int, nonmembers: int) -> list[str]:
    """That single records cannot be flagged but several at once, where nonmembers are few; see Benjamini, Hochberg."""
    least = math.ceil(records / (ALPHA * (nonmembers + 1)))
    if least < 2:
        return []
    return [f"with {nonmembers} never-seen records, fewer than {least} of {records} forget records cannot be flagged"]


def _references(subject: AuditInputs, orders: Orders, seed: int, meter: Meter) -> tuple[list[nn.Module], str]:
    """Models that saw neither forget nor holdout records, nor any record of the method's; and why there are none."""
    if orders.level is Level.QUICK:
        return [], "level quick has no reference models: use level standard"
    with meter.phase("references"):
        if orders.references:
            problems = [check_reference(subject.request, subject.nonmembers, m, meter) for m in orders.references]
            bad = [f"references[{i}]: {p}" for i, p in enumerate(problems) if p]
            if bad:
                raise RequestError(bad)
            return list(orders.references), ""
        return _trained(subject, orders, seed, meter)


def _trained(subject: AuditInputs, orders: Orders, seed: int, meter: Meter) -> tuple[list[nn.Module], str]:
    request = subject.request
    if len(subject.references) < MIN_REFERENCE_RECORDS:
        return [], f"only {len(subject.references)} retain records are left for reference models of the audit"
    found = Findings()
    check_fresh(subject.original, request.task, request.train, request.classes, found)
    if found.problems:
        return [], "; ".join(found.problems)
    models: list[nn.Module] = []
    with track("training reference models of the audit", orders.count, orders.training.progress) as advance:
        for k in range(orders.count):
            own = derive_seed(seed, "reference", str(k))
            start = fresh_model(request.task, subject.original, own)
            model = train(request.task, start, request.train, subject.references, orders.training.recipe, own, meter)
            problem = check_reference(request, subject.nonmembers, model, meter)
            if problem:
                return [], problem
            models.append(model)
            advance()
    return models, ""


def _exchangeable(subject: AuditInputs, seed: int, meter: Meter) -> Exchangeability:
    request = subject.request
    perturb = copier(request.task, request.train)
    ours, theirs = (
        view(request.task, subject.original, request.train, at, derive_seed(seed, "forget"), meter, perturb)
        for at in (request.forget, subject.retain)
    )
    return compare(ours, theirs, derive_seed(seed, "exchangeable"))


def _sights(
    subject: AuditInputs,
    targets: Sequence[nn.Module],
    references: Sequence[nn.Module],
    seed: int,
    meter: Meter,
) -> tuple[ModelOutputs, ModelOutputs, Sequence[ModelOutputs], Sequence[ModelOutputs]]:
    """Sights of the original, the unlearned, the retrained and the reference models."""
    request = subject.request
    models = [subject.original, subject.unlearned, *targets, *references]
    seen = collect_outputs(
        request.task,
        models,
        request.train,
        request.forget,
        request.holdout,
        subject.nonmembers,
        subject.references[:MAX_HEAD],
        seed,
        meter,
    )
    names = ["original", "unlearned", *(f"retrained[{i}]" for i in range(len(targets)))]
    names += [f"references[{i}]" for i in range(len(references))]
    broken = [
        name
        for name, s in zip(names, seen, strict=True)
        if not (s.forget.logits.isfinite().all() and s.nonmembers.logits.isfinite().all())
    ]
    if broken:
        raise DivergedError(f"{', '.join(broken)}: the logits hold NaN or infinite values, so nothing can be compared")
    k = 2 + len(targets)
    return seen[0], seen[1], seen[2:k], seen[k:]


def _plain(subject: AuditInputs, targets: Sequence[nn.Module], meter: Meter) -> dict[str, Place]:
    """Records for utility alone."""
    request = subject.request
    places = {"retain": (request.train, subject.retain)}
    if request.test is not None:
        places["test"] = (request.test, np.arange(len(request.test)))
    plain: dict[str, Place] = {}
    for name, (records, at) in places.items():
        models = [subject.original, subject.unlearned, *targets]
        before, after, *again = (logits_of(request.task, m, records, at, meter) for m in models)
        plain[name] = (records.targets(at), before, after, again)
    return plain
