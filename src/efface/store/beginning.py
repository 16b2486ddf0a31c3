"""How a run begins, with the requests that it can honour, or goes on; and how it ends without a version."""

from dataclasses import asdict, dataclass

import torch

from efface.errors import RequestError
from efface.runtime.printing import Brief
from efface.store.batch import training_records
from efface.store.context import StoreContext, Transaction
from efface.store.entries import RunRecord, Stage
from efface.store.failpoints import failpoint
from efface.store.gc import drop_orphans
from efface.store.intake import Intake, TrainingRecords, take_in
from efface.store.logs import log
from efface.store.plan import RunPlan
from efface.store.settle import settle_pending
from efface.task import Task


@dataclass(frozen=True, repr=False)
class RunSetting(Brief):
    """What all steps of a run share.

    Args:
        context: the open store.
        task: the task, whose ids `named_task` has read.
        plan: how the run is carried out.
        device: where models are made and judged.
        progress: whether to show progress; by default on a terminal.
    """

    context: StoreContext
    task: Task
    plan: RunPlan
    device: torch.device
    progress: bool | None = None


@dataclass(frozen=True, repr=False)
class Beginning(Brief):
    """A run that has begun.

    Args:
        record: the run, as the history describes it.
        records: the training records.
        intake: which of the pending requests it takes.
        resumed: whether it began before and was interrupted.
    """

    record: RunRecord
    records: TrainingRecords
    intake: Intake
    resumed: bool


def begin(setting: RunSetting) -> Beginning | None:
    """Resume the run that was interrupted, or begin one; None if there is nothing to do.

    Args:
        setting: what the run is carried out with; the caller holds the run lock of its store.

    Raises:
        RequestError: no request can be honoured so; the message says why each has to wait.
        DamagedError: a row was changed.
    """
    context, task, plan = setting.context, setting.task, setting.plan
    history = context.history()
    # options are compared by their values, since equal ones may have been given as text or as numbers
    unfinished, wanted = history.open_run, asdict(plan) | {"options": asdict(plan.chosen())}
    if unfinished is not None:
        if unfinished.plan == wanted and unfinished.parent == history.current:
            return _resume(context, task, unfinished, plan.retrain)
        end_run(context, unfinished, Stage.ABANDONED, "a run with other settings was asked for")
    asked = [r.number for r in history.pending]
    if not asked and not plan.retrain:
        return None
    records = training_records(context, task)
    intake = take_in(context, records, asked, plan.retrain)
    with context.writing() as transaction:
        history = transaction.history
        _note_deferred(transaction, intake)
        settle_pending(transaction)  # what waited for its groups alone
        # others may have been cancelled meanwhile
        requests = [n for n in intake.taken if history.requests[n].stage is Stage.PENDING]
        # a retraining without all of them would train on records that people asked to be left out
        is_refused = bool(intake.deferred) and (plan.retrain or not requests)
        is_needed = not is_refused and bool(requests or plan.retrain)
        if is_needed:
            number = len(history.runs) + 1
            began = {"number": number, "parent": history.current, "requests": requests, "plan": wanted}
            transaction.append("began", began)
            failpoint("began.before-commit")
    if is_refused:
        raise RequestError(intake.lines)
    if not is_needed:
        return None
    failpoint("run.began")
    return Beginning(history.runs[number], records, intake, resumed=False)


def end_run(context: StoreContext, record: RunRecord, stage: Stage, why: str) -> None:
    """End a run without a version, and remove the model that it made.

    Args:
        context: the open store.
        record: the run.
        stage: how it ended.
        why: the reason, in fixed words: the history is permanent.
    """
    with context.writing() as transaction:
        transaction.append("ended", {"number": record.number, "stage": str(stage), "why": why})
    drop_orphans(context)


def _resume(context: StoreContext, task: Task, record: RunRecord, retrain: bool) -> Beginning:
    """Look at the records again, which may have changed since the run was interrupted."""
    records = training_records(context, task)
    intake = take_in(context, records, record.requests, retrain)
    if intake.deferred:
        end_run(context, record, Stage.FAILED, "the records of its requests changed")
        raise RequestError(intake.lines)
    log(context.folder.path, "run %d goes on where it was interrupted", record.number)
    return Beginning(record, records, intake, resumed=True)


def _note_deferred(transaction: Transaction, intake: Intake) -> None:
    """Note in the history which requests wait, and why, unless it says so already."""
    pending = {r.number: r for r in transaction.history.pending}
    waiting = {number: why for number, why in intake.deferred.items() if number in pending}
    if waiting != {number: r.deferred for number, r in pending.items() if r.deferred is not None}:
        noted = {str(number): [why.why, why.records] for number, why in waiting.items()}
        transaction.append("deferred", {"requests": noted})
