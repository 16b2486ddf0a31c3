"""How a subject is judged at each level: which models are made, what is read of them, and the verdict."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from efface.attacks.views import copier, sights, view
from efface.canaries import Canaries, try_canaries
from efface.checkpoint import weights_digest
from efface.data.checks import Findings
from efface.ensembles.cache import check_cache
from efface.errors import DivergedError, RequestError, attempt
from efface.evidence import check_reference
from efface.exchange import Exchangeable, compare
from efface.models import fresh_model, logits_of, train
from efface.progress import track
from efface.requests import check_fresh
from efface.runtime import Meter, derive_seed
from efface.scores import FEWEST_TARGETS, TOLERANCE, Scores
from efface.shadows import Ensembles, Remake, Training, make_ensembles
from efface.strong import metrics_of, read_ensembles, rungs_of
from efface.subject import Subject
from efface.tables import Place, Table
from efface.traces import hidden_traces
from efface.types import Level, Metric, PhaseCost, Verdict
from efface.verdict import Rung, decide, ladder

UTILITY_FLOOR = 0.03
FEWEST_REFERENCE_RECORDS = 50
MOST_HEAD = 2000  # retain records that a last layer is fitted to
MOST_TARGETS = 8  # retrained models of an ensemble that single-model tests are measured against
FEWEST_ALONE = 24  # retrained models beside which the p value of a single one can fall below its share of 5 %
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

    `references` are the digests of the audit's reference models. `exchangeable` is set without retrained models,
    `canaries` and `ensembles` at level strong.
    """

    verdict: Verdict
    rungs: Sequence[Rung]
    table: Table
    exchangeable: Exchangeable | None
    canaries: Canaries | None
    ensembles: Ensembles | None
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
    made: Ensembles | None = None
    caught: Canaries | None = None
    extra: list[Metric] = []
    rungs: list[Rung] = []
    targets = list(subject.retrained)
    if orders.level is Level.STRONG:
        made = make_ensembles(subject, orders.remake, orders.models, orders.training, seed, meter)
        with meter.phase("scoring"):
            seen = read_ensembles(subject, made, seed, meter, orders.training.progress)
            rungs, extra = rungs_of(seen, seed), metrics_of(seen)
        targets += made.retrained[:MOST_TARGETS]
        if not made.remade and orders.models < FEWEST_ALONE:
            notes.append(f"one unlearned model can be told from retrained ones by distance with {FEWEST_ALONE} of them")
        if orders.remake is None:
            notes.append("no canaries: the method that made the model is not known, or cannot be run again")
        else:
            tried = try_canaries(subject, orders.remake, orders.models // 2, orders.training, seed, meter)
            if isinstance(tried, Canaries):
                caught = tried
            else:
                notes.append(tried)
    with meter.phase("scoring"):
        alike = None if len(targets) >= FEWEST_TARGETS else _exchangeable(subject, seed, meter)
        chosen = alike is not None and not alike.looks
        barred = chosen and orders.level is Level.QUICK
        if chosen and not barred:
            notes.append(CHOSEN)
        scores = _scores(subject, targets, references, why, orders.level, chosen, seed, meter)
        rungs = ladder([*([] if barred else scores.rungs), *rungs])
        traced = hidden_traces(subject, scores, targets, references, seed, meter)
        table = Table(scores, _plain(subject, targets, meter), rungs, barred, [*traced, *extra])
        verdict = decide(
            rungs,
            table.utility_change(),
            UTILITY_FLOOR,
            len(subject.request.forget),
            scores.target,
            BARRED if barred else "",
        )
    digests = [weights_digest(m) for m in references]
    return Judgement(
        verdict,
        rungs,
        table,
        alike,
        caught,
        made,
        digests,
        bool(orders.references),
        [*notes, *([why] if why and orders.level is not Level.QUICK else [])],
    )


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


def _scores(
    subject: Subject,
    targets: Sequence[nn.Module],
    references: Sequence[nn.Module],
    why: str,
    level: Level,
    chosen: bool,
    seed: int,
    meter: Meter,
) -> Scores:
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
    return Scores(seen[0], seen[1], seen[2:k], seen[k:], subject.groups, why, level is Level.QUICK, chosen)


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
