"""A new audit of the model in service, on all records that its lineage has forgotten."""

from dataclasses import dataclass

from torch import nn

from efface.attacks import by_key
from efface.auditing.api import audit_models
from efface.auditing.audit_test import EQUIVALENCE
from efface.auditing.config import REFERENCES
from efface.auditing.options import AuditOptions
from efface.auditing.report.build import Report
from efface.errors import RequestError
from efface.models.running import device_of
from efface.runtime.printing import Brief
from efface.store.build import load
from efface.store.context import StoreContext
from efface.store.entries import Stage
from efface.store.history import History
from efface.store.keys import short_tag
from efface.store.tag_rows import tags_of
from efface.store.task_view import ids_of, remaining_task
from efface.task import Task
from efface.types import Estimate


@dataclass(frozen=True)
class ReauditOptions:
    """Options of a new audit of the model in service.

    Args:
        references: how many reference models the audit trains.
        original: the first model of the lineage, needed only if the store no longer has it.
        progress: whether to show progress; by default on a terminal.
    """

    references: int = REFERENCES
    original: nn.Module | None = None
    progress: bool | None = None


@dataclass(frozen=True)
class Remeasured:
    """How the version in service ranks the records that its lineage has forgotten, in one new measurement.

    Its intervals are those of a single look, unlike those of `ProcessEvidence`.

    Args:
        version: number of the version in service.
        records: how many of the records are still in the training set, so that they could be ranked.
        forgotten: how many its lineage has forgotten.
        effect: their mean rank among never-seen records of equal difficulty less 0.5, by the LiRA score.
        original: the same under the first model of the lineage.
    """

    version: int
    records: int
    forgotten: int
    effect: Estimate
    original: Estimate


@dataclass(frozen=True, repr=False)
class Reaudit(Brief):
    """What came of a new audit.

    Args:
        report: the report; None if no audit was made.
        why: why no audit was made; empty if one was.
        remeasured: the ranks of all records; None if no audit was made, or not at equal difficulty.
    """

    report: Report | None
    why: str = ""
    remeasured: Remeasured | None = None


def reaudit(
    context: StoreContext, history: History, task: Task, model: nn.Module, level: str, options: ReauditOptions
) -> Reaudit:
    """Audit all records that were forgotten since the lineage in service began.

    Args:
        context: the open store.
        history: its history.
        task: the task as the user gave it.
        model: the model in service according to `history`.
        level: level of the audit: quick, standard or strong.
        options: further options.
    """
    serving, first = history.serving, history.first_of(history.serving.lineage)
    if not history.unlearned_in_lineage:
        retrained = "it began with a model trained without them"
        why = retrained if first.kind == "retrained" else "no request was honoured yet"
        return Reaudit(None, f"nothing was unlearned in this lineage: {why}")
    original = options.original
    if original is None and first.removed:
        return Reaudit(
            None,
            f"{first.title}, which the lineage began with, was removed because it knew the records: give your "
            "own copy to compare with (original, or --original), if you still have one",
        )
    if original is None:
        original = load(task, context.folder.checked("checkpoints", first.file, first.title), device_of(model))
    with context.reading() as snapshot:
        before = tags_of(snapshot, history.honoured_by(first.number))
        wanted = tags_of(snapshot, history.unlearned_in_lineage) - before
    view = remaining_task(task, context.key, before)
    tags = {position: tag for position, tag in enumerate(map(context.key.tag, ids_of(task))) if tag in wanted}
    if not tags:
        return Reaudit(
            None, "none of the forgotten records is in the training set any more, so nothing can be read of them"
        )
    seeds = {run.plan["seed"] for run in history.runs.values() if run.stage is Stage.DONE}
    try:
        report = audit_models(
            original=original,
            unlearned=model,
            forget=[short_tag(tag) for tag in sorted(tags.values())],
            task=view.with_tags({position: short_tag(tag) for position, tag in tags.items()}),
            level=level,
            references=options.references,
            options=AuditOptions(
                run_seed=seeds.pop() if len(seeds) == 1 else None,
                title=f"Version {serving.number}: all that was forgotten since version {first.number}",
                progress=options.progress,
                show_positions=False,
            ),
        )
    except RequestError as error:
        return Reaudit(None, "; ".join(error.problems))
    return Reaudit(report, remeasured=_remeasured(report, serving.number, len(wanted)))


def _remeasured(report: Report, version: int, forgotten: int) -> Remeasured | None:
    scores, lira = report.table.scores, by_key("lira")
    original, unlearned = (scores.auc_result(lira, k) for k in (0, 1))
    if scores.marginal or original is None or unlearned is None:
        return None
    now, first = (result.effect().estimate(EQUIVALENCE) for result in (unlearned, original))
    return Remeasured(version, len(unlearned.ranks), forgotten, now, first)
