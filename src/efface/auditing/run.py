"""Judging a model: training the models that the level needs, reading all models, and deciding the verdict."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from efface.attacks import ATTACKS
from efface.attacks.outputs import ModelOutputs, RecordSet, collect_outputs, copier, read_unseen
from efface.auditing.attack_rows import unmeasured
from efface.auditing.attack_tests import attack_tests
from efface.auditing.audit_test import AuditTest, adjust_tests
from efface.auditing.canaries import Canaries, plant, try_canaries
from efface.auditing.config import MAX_HEAD, TOLERANCE, Level, least_flagged
from efface.auditing.diagnostics import diagnostic_rows
from efface.auditing.distance_tests import count_distance_tests, distance_tests, recipe_mismatch
from efface.auditing.ensemble_outputs import read_ensembles
from efface.auditing.ensemble_rows import ensemble_rows
from efface.auditing.exchangeability import Exchangeability, compare, one_of_each_group
from efface.auditing.inputs import UNCHANGED, AuditInputs
from efface.auditing.next_steps import Circumstances, next_steps
from efface.auditing.readings import Metric
from efface.auditing.references import reference_models
from efface.auditing.rehearsal.candidates import NoRehearsalError
from efface.auditing.rehearsal.conclude import conclude
from efface.auditing.rehearsal.findings import Rehearsal
from efface.auditing.rehearsal.needed import NOT_NEEDED, shared, speaks, why_none
from efface.auditing.rehearsal.run import rehearsal
from efface.auditing.scores import MIN_TARGETS, Scores
from efface.auditing.shadow_models import Ensembles, make_ensembles
from efface.auditing.single.record_ranks import RecordRanks
from efface.auditing.single.run import single_record_ranks
from efface.auditing.table import Table
from efface.auditing.utility_rows import UtilitySet
from efface.auditing.verdict import UTILITY_FLOOR, Change, Forgotten, Status, Verdict, decide
from efface.errors import DivergedError, EffaceError, describe_error
from efface.methods.base import Method
from efface.models.checkpoint import weights_digest
from efface.models.running import logits_of
from efface.numerics.clusters import Clusters
from efface.runtime.cost import Meter
from efface.runtime.printing import Brief, how_many
from efface.runtime.seeds import derive_seed

MAX_TARGETS = 8  # limit of an ensemble's retrained models that attacks on single models are measured against
MIN_ALONE = 32  # with fewer retrained models, the p value of a single model cannot fall below its share of 5 %
BARRED = (
    "the forget set does not look like a random sample of the training set, so records that the model never saw are "
    "no fair comparison without reference models: use level standard"
)
CHOSEN = (
    "the forget set does not look like a random sample of the training set: without retrained models a test must show "
    f"an effect beyond {TOLERANCE:g} to fail the model, since difficulty is measured with error"
)
COUNTED = "the {:,} forget records belong to {:,} groups, such as persons: intervals and tests on them count groups"
HOLDOUT_GROUPS = (
    "each holdout record is taken to be of a group of its own; if several are of one person, tests err more often than "
    "stated: give Task.holdout_groups"
)
NO_METHOD = "no canaries: the method that made the model is not known, or cannot be run again"


@dataclass(frozen=True, repr=False)
class AuditResult(Brief):
    """The verdict of an audit, and everything that it rests on.

    Args:
        verdict: The conclusion.
        table: The tests, the scores of all models, and the rows made from them.
        exchangeable: Whether the request looks like a random sample; None if effects are measured against retrained
            models, since it then does not matter.
        canaries: The result of the canaries; None if there were none.
        ensembles: The models of level strong; None at other levels.
        rehearsal: What a rehearsal found; None if there was none.
        single_records: Looks at single requested records; empty for larger requests, and without reference models.
        references: Digests of the weights of the audit's reference models.
        notes: Further remarks for the report.
    """

    verdict: Verdict
    table: Table
    exchangeable: Exchangeability | None
    canaries: Canaries | None
    ensembles: Ensembles | None
    rehearsal: Rehearsal | None
    single_records: Sequence[RecordRanks]
    references: Sequence[str]
    notes: Sequence[str]


def judge(inputs: AuditInputs, meter: Meter) -> AuditResult:
    """Judge a model at the level in `inputs`; `meter` is charged with what is trained and read.

    Raises:
        RequestError: A given reference model is no better than chance.
        DivergedError: A model's logits are not finite.
    """
    notes: list[str] = []
    quick, strong = inputs.level is Level.QUICK, inputs.level is Level.STRONG
    # before anything is trained: whether there can be canaries is found by trying to read them
    planted = (NO_METHOD if inputs.method is None else plant(inputs)) if strong else ""
    references, missing_reason = reference_models(inputs, meter)
    ensembles, canaries = None, None
    distances, rows, mismatch = list[AuditTest](), list[Metric](), ""
    targets = list(inputs.retrained)
    if strong:
        ensembles = make_ensembles(inputs, meter)
        notes += ensembles.notes
        canaries = None if isinstance(planted, str) else try_canaries(inputs, planted, meter)
        notes += [planted] if isinstance(planted, str) else []
        distances, rows, mismatch = _distances(inputs, ensembles, notes, meter)
        targets += [] if mismatch else ensembles.retrained[:MAX_TARGETS]
    with meter.phase("scoring"):
        exchangeable = None if len(targets) >= MIN_TARGETS else _exchangeability(inputs, meter)
        chosen = exchangeable is not None and not exchangeable.is_exchangeable
        barred = chosen and quick
        notes += [CHOSEN] if chosen and not barred else []
        outputs = _outputs(inputs, targets, references, meter)
        scores = Scores(*outputs, inputs.kinds, missing_reason, quick, _clusters(inputs))
        attacks = [] if barred else attack_tests(scores, len(distances), chosen)
        tests = adjust_tests([*attacks, *distances])
        groups = scores.groups
        forgotten = Forgotten(len(inputs.request.forget), groups)
        is_small = inputs.options.rehearse and not barred and not speaks(tests, forgotten)
        no_rehearsal = why_none(inputs, references) if is_small else NOT_NEEDED if inputs.options.rehearse else ""
        tests = shared(tests) if is_small and not no_rehearsal else tests
        diagnostics = diagnostic_rows(inputs, scores, targets, references, meter)
        table = Table(scores, _utility_sets(inputs, targets, meter), tests, barred, [*diagnostics, *rows])
        change, records, barrier = table.utility_change(), len(inputs.request.forget), BARRED if barred else ""
        lost = Change(change, scores.rules.words.utility)
        verdict = decide(tests, lost, forgotten, scores.target, barrier, unmeasured(scores))
        at = _circumstances(inputs, groups, barred, lost_accuracy=change.high < -UTILITY_FLOOR)
        verdict = replace(verdict, next_steps=next_steps(verdict, tests, at))
    single_records, not_looked = _single_records(inputs, scores, targets, references, meter)
    notes += [not_looked] if not_looked else []
    found = None
    if is_small and verdict.status is Status.UNDECIDED and inputs.method is not None and not no_rehearsal:
        found, no_rehearsal = _rehearsed(inputs, inputs.method, references, scores, meter)
        if found is not None:
            verdict = conclude(verdict, found, forgotten)
            verdict = replace(verdict, next_steps=next_steps(verdict, found.tests, at))
    notes += [no_rehearsal] if no_rehearsal else []
    notes += [] if groups is None else [COUNTED.format(records, groups)]
    notes += [HOLDOUT_GROUPS] if groups not in (None, records) and scores.clusters[1] is None else []
    notes += [missing_reason] if missing_reason and not quick else []
    notes += _resolution(records, len(inputs.nonmembers)) if references else []
    digests = [weights_digest(m) for m in references]
    verdict = _with_changes(verdict, inputs)
    return AuditResult(verdict, table, exchangeable, canaries, ensembles, found, single_records, digests, notes)


def _single_records(
    inputs: AuditInputs, scores: Scores, targets: Sequence[nn.Module], references: Sequence[nn.Module], meter: Meter
) -> tuple[tuple[RecordRanks, ...], str]:
    """Looks at single records, or none and the reason, since what decides nothing must not lose the audit."""
    try:
        with meter.phase("single records"):
            return single_record_ranks(inputs, scores, targets, references, meter), ""
    except (EffaceError, RuntimeError) as error:  # a model may compute what has no gradient
        return (), f"single records were not looked at: {describe_error(error)}"


def _rehearsed(
    inputs: AuditInputs, method: Method, references: Sequence[nn.Module], scores: Scores, meter: Meter
) -> tuple[Rehearsal | None, str]:
    """A rehearsal, or the reason why there is none."""
    try:
        with meter.phase("rehearsal"):
            return rehearsal(inputs, method, references, scores, meter), ""
    except (NoRehearsalError, EffaceError) as error:  # the audit itself is made, and must not be lost with it
        return None, f"there is no rehearsal: {error}"


def _with_changes(verdict: Verdict, inputs: AuditInputs) -> Verdict:
    """The verdict; where the weights are the original's, as those of a control may be, that is its first reason."""
    is_unchanged = inputs.digests[0] == inputs.digests[1]
    return replace(verdict, reasons=(UNCHANGED, *verdict.reasons)) if is_unchanged else verdict


def _circumstances(inputs: AuditInputs, groups: int | None, barred: bool, lost_accuracy: bool) -> Circumstances:
    return Circumstances(
        level=inputs.level,
        records=len(inputs.request.forget) if groups is None else groups,
        retrained=len(inputs.retrained),
        models=inputs.options.models,
        method=inputs.method,
        unchanged=inputs.digests[0] == inputs.digests[1],
        barred=barred,
        lost_accuracy=lost_accuracy,
        rehearsed=inputs.options.rehearse,
    )


def _distances(
    inputs: AuditInputs, ensembles: Ensembles, notes: list[str], meter: Meter
) -> tuple[list[AuditTest], list[Metric], str]:
    """Tests and rows made from distances, and the reason why they say nothing; empty if they do say something."""
    with meter.phase("scoring"):
        statistics = read_ensembles(inputs, ensembles, meter)
        mismatch = recipe_mismatch(statistics)
        test_count = sum(a.decides[0] for a in ATTACKS) + count_distance_tests(ensembles.of_method)
        tests = distance_tests(statistics, test_count, mismatch, inputs.seed)
        rows = ensemble_rows(statistics)
    notes += [mismatch] if mismatch else []
    if inputs.options.models < MIN_ALONE:
        notes.append(
            f"{inputs.options.models} retrained models are too few for one unlearned model to be distinguished from "
            f"them by distance at 5 %: that takes {MIN_ALONE}"
        )
    return tests, rows, mismatch


def _resolution(records: int, nonmembers: int) -> list[str]:
    """A note if nonmembers are so few that Benjamini and Hochberg's method cannot flag a single record; else empty."""
    least = least_flagged(records, nonmembers)
    if least < 2:
        return []
    return [
        f"the audit has {how_many(nonmembers, 'never-seen record')}, too few to flag forget records one by one: only "
        f"{least} or more of the {records} together can be flagged"
    ]


def _exchangeability(inputs: AuditInputs, meter: Meter) -> Exchangeability:
    request, seed = inputs.request, derive_seed(inputs.seed, "forget")
    perturb = copier(request.task, request.train)
    drawn = derive_seed(inputs.seed, "one of each group")
    forget, retain = (
        read_unseen(
            request.task,
            inputs.original,
            RecordSet(request.train, one_of_each_group(at, request.clusters_of(at), drawn), seed),
            meter,
            perturb,
            request=len(request.forget),
        )
        for at in (request.forget, inputs.retain)
    )
    return compare(forget, retain, derive_seed(inputs.seed, "exchangeable"))


def _clusters(inputs: AuditInputs) -> Clusters:
    request = inputs.request
    return request.clusters_of(request.forget), request.clusters_of(inputs.nonmembers, "holdout")


def _outputs(
    inputs: AuditInputs, targets: Sequence[nn.Module], references: Sequence[nn.Module], meter: Meter
) -> tuple[ModelOutputs, ModelOutputs, Sequence[ModelOutputs], Sequence[ModelOutputs]]:
    """Outputs of the original, the unlearned, the retrained and the reference models."""
    request = inputs.request
    models = {"original": inputs.original, "unlearned": inputs.unlearned}
    models |= {f"retrained[{i}]": m for i, m in enumerate(targets)}
    models |= {f"references[{i}]": m for i, m in enumerate(references)}
    outputs = collect_outputs(
        request.task,
        list(models.values()),
        RecordSet(request.train, request.forget),
        RecordSet(request.holdout, inputs.nonmembers),
        RecordSet(request.train, inputs.reference_records[:MAX_HEAD]),
        inputs.seed,
        meter,
    )
    diverged = [
        name
        for name, o in zip(models, outputs, strict=True)
        if not (o.forget.logits.isfinite().all() and o.nonmembers.logits.isfinite().all())
    ]
    if diverged:
        raise DivergedError(
            f"{', '.join(diverged)}: the logits hold NaN or infinite values, so nothing can be compared"
        )
    k = 2 + len(targets)
    return outputs[0], outputs[1], outputs[2:k], outputs[k:]


def _utility_sets(inputs: AuditInputs, targets: Sequence[nn.Module], meter: Meter) -> dict[str, UtilitySet]:
    """Retain and test records, which are used for utility only."""
    request = inputs.request
    places = {"retain": RecordSet(request.train, inputs.retain)}
    if request.test is not None:
        places["test"] = RecordSet(request.test, np.arange(len(request.test)))
    found = {}
    for name, place in places.items():
        models = [inputs.original, inputs.unlearned, *targets]
        before, after, *retrained = (logits_of(request.task, m, place.records, place.positions, meter) for m in models)
        clusters = request.clusters_of(place.positions, "train" if name == "retain" else name)
        labels = place.records.targets(place.positions)
        found[name] = UtilitySet(labels, before, after, retrained, clusters, request.task.rules)
    return found
