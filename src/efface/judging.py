"""How a subject is judged at each level: which models are made, what is read of them, and the verdict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from efface.attacks import ATTACKS
from efface.attacks.views import Sight, copier, sights, view
from efface.canaries import Canaries, try_canaries
from efface.checkpoint import weights_digest
from efface.data.checks import Findings
from efface.ensembles import Training
from efface.ensembles.cache import check_cache
from efface.errors import DivergedError, RequestError, attempt
from efface.evidence import check_reference
from efface.exchange import Exchangeable, compare
from efface.models import fresh_model, logits_of, train
from efface.progress import track
from efface.requests import check_fresh
from efface.runtime import Meter, derive_seed
from efface.scores import FEWEST_TARGETS, TOLERANCE, Scores
from efface.shadows import Ensembles, Remake, make_ensembles
from efface.strong.reading import read_ensembles
from efface.strong.rows import metrics_of
from efface.strong.rungs import DECIDING, of_another_recipe, rungs_of
from efface.subject import Subject
from efface.tables import Place, Table
from efface.traces import hidden_traces
from efface.types import Level, Metric, PhaseCost, Verdict
from efface.verdict import ALPHA, Rung, decide, ladder

UTILITY_FLOOR = 0.03
FEWEST_REFERENCE_RECORDS = 50
MOST_HEAD = 2000  # retain records that a last layer is fitted to
MOST_TARGETS = 8  # retrained models of an ensemble that single-model tests are measured against
FEWEST_ALONE = 32  # retrained models beside which the p value of a single one can fall below its share of 5 %
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
    remake: Remake | None
    models: int
    training: Training

    def check(self, subject: Subject) -> None:
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
        if request.emptied and self.remake is not None:
            found.problems.append("level strong cannot run a method on whole classes yet: leave `method` out")
        if self.training.cache is not None:
            attempt(found.problems, check_cache, self.training.cache)
        if found.problems:
            raise RequestError(found.problems)


@dataclass(frozen=True)
class Judgement:
    """What was found: the verdict and all that it rests on.

    `remake` is how shadows were unlearned, and `references` the digests of the audit's reference models.
    `exchangeable` is set without retrained models, `canaries` and `ensembles` at level strong.
    """

    verdict: Verdict
    rungs: Sequence[Rung]
    table: Table
    exchangeable: Exchangeable | None
    canaries: Canaries | None
    ensembles: Ensembles | None
    remake: Remake | None
    references: Sequence[str]
    given: bool
    notes: Sequence[str]

    @property
    def retrain_cost(self) -> PhaseCost | None:
        """What one retraining of the ensemble cost, where one was made now."""
        return None if self.ensembles is None else self.ensembles.each


def judge(subject: Subject, orders: Orders, seed: int, meter: Meter) -> Judgement:
    """Judge a subject at the level ordered."""
    notes: list[str] = []
    references, why = _references(subject, orders, seed, meter)
    made, caught, found = None, None, Found()
    targets = list(subject.retrained)
    if orders.level is Level.STRONG:
        made = make_ensembles(subject, orders.remake, orders.models, orders.training, seed, meter)
        caught = _canaries(subject, orders, notes, seed, meter)
        found = _distances(subject, orders, made, notes, seed, meter)
        targets += [] if found.foreign else made.retrained[:MOST_TARGETS]
    with meter.phase("scoring"):
        alike = None if len(targets) >= FEWEST_TARGETS else _exchangeable(subject, seed, meter)
        chosen = alike is not None and not alike.looks
        barred = chosen and orders.level is Level.QUICK
        notes += [CHOSEN] if chosen and not barred else []
        sights_of = _sights(subject, targets, references, seed, meter)
        quick = orders.level is Level.QUICK
        scores = Scores(*sights_of, subject.groups, why, quick, chosen, len(found.rungs))
        rungs = ladder([*([] if barred else scores.rungs), *found.rungs])
        traced = hidden_traces(subject, scores, targets, references, seed, meter)
        table = Table(scores, _plain(subject, targets, meter), rungs, barred, [*traced, *found.rows])
        change, records = table.utility_change(), len(subject.request.forget)
        verdict = decide(rungs, change, UTILITY_FLOOR, records, scores.target, BARRED if barred else "")
    notes += [why] if why and not quick else []
    notes += _resolution(records, len(subject.strangers)) if references else []
    digests = [weights_digest(m) for m in references]
    return Judgement(verdict, rungs, table, alike, caught, made, orders.remake, digests, bool(orders.references), notes)


@dataclass(frozen=True)
class Found:
    """What distances gave: rungs, rows, and why they say nothing, if so."""

    rungs: Sequence[Rung] = ()
    rows: Sequence[Metric] = ()
    foreign: str = ""


def _distances(subject: Subject, orders: Orders, made: Ensembles, notes: list[str], seed: int, meter: Meter) -> Found:
    with meter.phase("scoring"):
        seen = read_ensembles(subject, made, seed, meter, orders.training.progress)
        foreign = of_another_recipe(seen)
        tests = sum(a.decides[0] for a in ATTACKS) + len(DECIDING) * (2 if made.remade else 1)
        rungs, rows = rungs_of(seen, tests, foreign, seed), metrics_of(seen)
    notes += [foreign] if foreign else []
    if orders.models < FEWEST_ALONE:
        notes.append(
            f"{orders.models} retrained models are too few for one unlearned model to be told from them by distance at "
            f"5 %: that takes {FEWEST_ALONE}"
        )
    return Found(rungs, rows, foreign)


def _canaries(subject: Subject, orders: Orders, notes: list[str], seed: int, meter: Meter) -> Canaries | None:
    if orders.remake is None:
        notes.append("no canaries: the method that made the model is not known, or cannot be run again")
        return None
    tried = try_canaries(subject, orders.remake, orders.models // 2, orders.training, seed, meter)
    if isinstance(tried, Canaries):
        return tried
    notes.append(tried)
    return None


def _resolution(records: int, strangers: int) -> list[str]:
    """That single records cannot be flagged but several at once, where strangers are few; see Benjamini, Hochberg."""
    least = math.ceil(records / (ALPHA * (strangers + 1)))
    if least < 2:
        return []
    return [f"with {strangers} never-seen records, fewer than {least} of {records} forget records cannot be flagged"]


def _references(subject: Subject, orders: Orders, seed: int, meter: Meter) -> tuple[list[nn.Module], str]:
    """Models that saw neither forget nor holdout records, nor any record of the method's; and why there are none."""
    if orders.level is Level.QUICK:
        return [], "level quick has no reference models: use level standard"
    with meter.phase("references"):
        if orders.references:
            problems = [check_reference(subject.request, subject.strangers, m, meter) for m in orders.references]
            bad = [f"references[{i}]: {p}" for i, p in enumerate(problems) if p]
            if bad:
                raise RequestError(bad)
            return list(orders.references), ""
        return _trained(subject, orders, seed, meter)


def _trained(subject: Subject, orders: Orders, seed: int, meter: Meter) -> tuple[list[nn.Module], str]:
    request = subject.request
    if len(subject.references) < FEWEST_REFERENCE_RECORDS:
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
            problem = check_reference(request, subject.strangers, model, meter)
            if problem:
                return [], problem
            models.append(model)
            advance()
    return models, ""


def _exchangeable(subject: Subject, seed: int, meter: Meter) -> Exchangeable:
    request = subject.request
    perturb = copier(request.task, request.train)
    ours, theirs = (
        view(request.task, subject.original, request.train, at, derive_seed(seed, "forget"), meter, perturb)
        for at in (request.forget, subject.retain)
    )
    return compare(ours, theirs, derive_seed(seed, "exchangeable"))


def _sights(
    subject: Subject,
    targets: Sequence[nn.Module],
    references: Sequence[nn.Module],
    seed: int,
    meter: Meter,
) -> tuple[Sight, Sight, Sequence[Sight], Sequence[Sight]]:
    """Sights of the original, the unlearned, the retrained and the reference models."""
    request = subject.request
    models = [subject.original, subject.unlearned, *targets, *references]
    seen = sights(
        request.task,
        models,
        request.train,
        request.forget,
        request.holdout,
        subject.strangers,
        subject.references[:MOST_HEAD],
        seed,
        meter,
    )
    names = ["original", "unlearned", *(f"retrained[{i}]" for i in range(len(targets)))]
    names += [f"references[{i}]" for i in range(len(references))]
    broken = [
        name
        for name, s in zip(names, seen, strict=True)
        if not (s.forget.logits.isfinite().all() and s.strangers.logits.isfinite().all())
    ]
    if broken:
        raise DivergedError(f"{', '.join(broken)}: the logits hold NaN or infinite values, so nothing can be compared")
    k = 2 + len(targets)
    return seen[0], seen[1], seen[2:k], seen[k:]


def _plain(subject: Subject, targets: Sequence[nn.Module], meter: Meter) -> dict[str, Place]:
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
