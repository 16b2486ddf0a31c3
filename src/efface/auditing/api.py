"""The audit: judges an unlearned model from any tool on records and models that the unlearning did not use."""

import dataclasses
import logging
from collections.abc import Sequence

from torch import nn

from efface.auditing.checks import AuditCall, ModelPair
from efface.auditing.config import REFERENCES, Level
from efface.auditing.inputs import OTHER_SEED, prepare
from efface.auditing.options import DEFAULT_OPTIONS, AuditOptions
from efface.auditing.report.build import Report
from efface.auditing.run import judge
from efface.data.ids import Forget
from efface.errors import RequestError, kind_of
from efface.models.running import counted
from efface.models.wrappers import plain_networks
from efface.runtime.cost import Meter
from efface.runtime.notices import warn_caller
from efface.runtime.options import as_integer, clear_calls
from efface.runtime.seeds import seeded, unchanged_globals
from efface.runtime.timed import timed
from efface.task import Task
from efface.types import SizedDataset
from efface.unlearning.result import Result

__all__ = ["audit", "audit_models"]


MODELS_ARE_JUDGED_BY = "two models are judged by efface.audit_models(original, unlearned, forget=..., task=...)"


@clear_calls(instead=MODELS_ARE_JUDGED_BY, options=AuditOptions)
def audit(
    result: Result,
    *,
    test: SizedDataset | None = None,
    level: Level | str = Level.STANDARD,
    references: int | Sequence[nn.Module] = REFERENCES,
    retrained: Sequence[nn.Module] = (),
    seed: int | None = None,
    options: AuditOptions = DEFAULT_OPTIONS,
) -> Report:
    """Judge the unlearned model of a run.

    Holdout records that the method or its stop rule used are left out.

    Args:
        result: The result of `efface.unlearn`.
        test: Records on which utility is measured, and that no model was trained on, each of a group of its own; by
            default the task's `test`.
        level: `quick` trains nothing, and judges only requests that look like a random sample; `standard` compares
            records of equal difficulty, which a few reference models estimate; `strong` adds ensembles that `Task.fit`
            trains.
        references: How many reference models to train on retain records that the method did not use, or the reference
            models themselves, which must have seen neither forget nor holdout records. Not used at level `quick`.
        retrained: Models trained without the forget set; with two or more, effects are measured against them.
        seed: Seed of the audit's random draws; by default that of the run.
        options: Kinds of records, the report, and how ensembles are made.

    Returns:
        The report: the verdict, its tests, and a table of all scores.

    Raises:
        RequestError: The audit cannot be made. All problems are listed, and no work was done.
        DivergedError: A model's logits are not finite.
    """
    if not isinstance(result, Result):
        raise RequestError(f"result: expected what efface.unlearn gives, got {kind_of(result)}; {MODELS_ARE_JUDGED_BY}")
    if test is not None:
        result = dataclasses.replace(result, task=dataclasses.replace(result.task, test=test, test_groups=None))
    return _audit(AuditCall(result, level, as_integer(references), retrained, as_integer(seed), options))


@clear_calls("task", options=AuditOptions, task=Task)
def audit_models(
    original: nn.Module,
    unlearned: nn.Module,
    *,
    forget: Forget,
    task: Task,
    level: Level | str = Level.STANDARD,
    references: int | Sequence[nn.Module] = REFERENCES,
    retrained: Sequence[nn.Module] = (),
    seed: int | None = None,
    options: AuditOptions = DEFAULT_OPTIONS,
) -> Report:
    """Judge an unlearned model of any origin.

    The caller must make sure that the unlearning did not use the holdout, unless `AuditOptions.run_seed` names the
    efface run that made the unlearned model.

    Args:
        original: The model before unlearning.
        unlearned: The model after it.
        forget: Ids of the training records that were erased, or their groups.
        task: The problem; utility is measured on its `test` records if it has any.
        level: As in `efface.audit`.
        references: As in `efface.audit`.
        retrained: As in `efface.audit`.
        seed: Seed of the audit's random draws; by default 0.
        options: As in `efface.audit`.

    Returns:
        The report, as in `efface.audit`.

    Raises:
        RequestError: The audit cannot be made. All problems are listed, and no work was done.
        DivergedError: A model's logits are not finite.
    """
    original, unlearned = plain_networks([original, unlearned])
    judged = ModelPair(original, unlearned, forget, task)
    return _audit(AuditCall(judged, level, as_integer(references), retrained, as_integer(seed), options))


def _audit(call: AuditCall) -> Report:
    call = dataclasses.replace(
        call, references=plain_networks(call.references), retrained=plain_networks(call.retrained)
    )
    meter = Meter()
    with unchanged_globals(), seeded(call.draws_seed), meter.phase("other"):
        with meter.phase("checks"), counted(meter):
            inputs = prepare(call)
        with timed(logging.getLogger("efface.auditing"), f"audit of level {inputs.level}") as work:
            findings = judge(inputs, meter)
            work.result = str(findings.verdict.status)
    report = Report(inputs, findings, meter.cost())
    warned = () if inputs.result is None else inputs.result.warnings  # by the run, when it was made
    warn_caller(note for note in report.notes if note not in warned and not note.startswith(OTHER_SEED))
    return report
