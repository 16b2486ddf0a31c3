"""A run: it unlearns all pending requests as one batch, judges the new model and puts it into service or rejects it."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import nn

from efface.auditing.api import audit_models
from efface.auditing.options import AuditOptions
from efface.errors import DivergedError, RequestError
from efface.models.checkpoint import weights_digest
from efface.runtime.notices import quietly
from efface.runtime.seeds import unchanged_globals
from efface.store.assessment import SEE_TO_FIT, VERIFY, Assessment, take_it
from efface.store.batch import DeletionBatch, PendingRecords, find_batch, read_pending
from efface.store.build import load, retrain_without, save, unlearn_batch
from efface.store.context import StoreContext
from efface.store.drift import drift_of, write_answers
from efface.store.entries import RunRecord, Stage, Version
from efface.store.failpoints import failpoint
from efface.store.gc import drop_orphans, finish, recover
from efface.store.history import baseline_title
from efface.store.plan import NOT_AUDITED, NOTHING_UNLEARNED, RETRAINED, RunOutcome, RunPlan, check_plan
from efface.store.settings import DriftLimits
from efface.store.settle import delete_ids, settle_pending
from efface.task import Task
from efface.unlearning.next_steps import OTHER_METHOD, RETRAIN, UNCHANGED_BY_RETRAINING
from efface.unlearning.nothing import NothingUnlearnedError


@quietly()  # warnings name records by tags, which the outcome has replaced by ids
def run(
    context: StoreContext,
    task: Task,
    plan: RunPlan,
    device: torch.device,
    wait_s: float = 0.0,
    progress: bool | None = None,
) -> RunOutcome:
    """Honour all pending requests, or resume a run that was interrupted.

    If an error is raised, the version in service does not change.

    Args:
        context: the open store.
        task: the task as the user gave it.
        plan: how the run is carried out.
        device: where models are made and judged.
        wait_s: seconds to wait for another run.
        progress: whether to show progress; by default on a terminal.

    Raises:
        RequestError: the plan cannot be carried out, or not on these records.
        BusyError: another run is in progress.
        DamagedError: a row or a checkpoint was changed.
        DivergedError: weights became NaN or infinite.
    """
    check_plan(plan, task)
    with context.folder.locked(wait_s), unchanged_globals():
        failpoint("run.locked")
        context.key  # noqa: B018  refuse a retired store
        recover(context)
        failpoint("run.recovered")
        begun = StoreRun(context, task, plan, device, progress).begin()
        return RunOutcome("nothing") if begun is None else begun.carry_out()


class StoreRun:
    """One run, with the values that its steps share.

    Each step is noted in the history before the next begins, so that an interrupted run resumes after its last step.

    Args:
        context: the open store; the caller holds its run lock.
        task: the task as the user gave it.
        plan: how the run is carried out.
        device: where models are made and judged.
        progress: whether to show progress; by default on a terminal.
    """

    def __init__(
        self, context: StoreContext, task: Task, plan: RunPlan, device: torch.device, progress: bool | None
    ) -> None:
        self.context, self.task, self.plan, self.device, self.progress = context, task, plan, device, progress
        self.resumed = False
        self.record: RunRecord
        self.parent: Version  # the version that the run starts from
        self.limits: DriftLimits
        self.pending: PendingRecords
        self.batch: DeletionBatch

    def begin(self) -> "StoreRun | None":
        """Resume the run that was interrupted, or begin one; None if there is nothing to do."""
        history = self.context.history()
        # options are compared by their values, since equal ones may have been given as text or as numbers
        unfinished, wanted = history.open_run, asdict(self.plan) | {"options": asdict(self.plan.chosen())}
        if unfinished is not None:
            self.record = unfinished
            if unfinished.plan == wanted and unfinished.parent == history.current:
                self.resumed = True
                return self
            self._end(Stage.ABANDONED, "a run with other settings was asked for")
        with self.context.writing() as transaction:
            history = transaction.history
            requests = [r.number for r in history.pending]
            if not requests and not self.plan.retrain:
                return None
            number = len(history.runs) + 1
            began = {"number": number, "parent": history.current, "requests": requests, "plan": wanted}
            transaction.append("began", began)
            failpoint("began.before-commit")
        failpoint("run.began")
        self.record = history.runs[number]
        return self

    def carry_out(self) -> RunOutcome:
        """Make the new model, judge it, and put it into service if it passes."""
        history = self.context.history()
        self.parent, self.limits = history.versions[self.record.parent], DriftLimits(**history.settings["limits"])
        self.pending = read_pending(self.context, self.record)
        try:
            return self._carry_out()
        except NothingUnlearnedError as error:
            found = Assessment(NOTHING_UNLEARNED, [error.reason], {}, next_steps=error.next_steps)
            return self._changed_nothing(found, error.warnings)
        except (RequestError, DivergedError) as error:
            # only the type of the error: the history is permanent, and a message of the user's code may hold an id
            self._end(Stage.FAILED, type(error).__name__)
            if isinstance(error, RequestError):
                raise RequestError([self.pending.restore_ids(line, self.task) for line in error.problems]) from error
            raise

    def _carry_out(self) -> RunOutcome:
        self.batch = find_batch(self.context, self.task, self.pending, self.plan.retrain)
        failpoint("run.task-read")
        model = self._model()
        # Task.fit may rightly give the same weights twice, on records that do not matter to it
        repeats = self.plan.retrain and self.parent.kind == "retrained"
        if (self.record.model or {})["weights"] == self.parent.weights and self.batch.leaving and not repeats:
            why = f"the weights are bit for bit those of {self.parent.title}, which knows the records"
            steps = UNCHANGED_BY_RETRAINING if self.plan.retrain else (OTHER_METHOD, RETRAIN)
            return self._changed_nothing(Assessment(NOTHING_UNLEARNED, [why], {}, next_steps=steps))
        found = self._assess(model)
        failpoint("run.judged")
        outcome = self._outcome(found)
        if not found.passes(self.plan.accept):
            self._end(Stage.REJECTED, f"{found.status}, and {self.plan.accept} was asked for")
            return replace(outcome, next_steps=tuple(dict.fromkeys([*outcome.next_steps, take_it(outcome.status)])))
        version = self._commit(model, found)
        failpoint("run.committed")
        finish(self.context)
        failpoint("run.finished")
        return replace(outcome, version=version, retraining=tuple(self.limits.exceeded(version.drift)))

    def _changed_nothing(self, found: Assessment, warnings: Sequence[str] | None = None) -> RunOutcome:
        """End the run as rejected, since no version without a change may honour a request; `accept` does not matter."""
        self._end(Stage.REJECTED, "nothing was unlearned")
        return self._outcome(found, warnings)

    def _model(self) -> nn.Module:
        """The new model: loaded if it was stored before the run was interrupted, else made and stored now."""
        if self.record.model is not None:
            return self._load(self.record.model["file"], f"unfinished run {self.record.number}")
        if self.plan.retrain:
            model, noted = retrain_without(self.batch, self.plan.seed, self.device, self.progress)
        else:
            original = self._load(self.parent.file, self.parent.title)
            failpoint("run.checkpoint-read")
            model, noted = unlearn_batch(original, self.batch, self.plan, self.progress)
        failpoint("run.unlearned")
        file = self.context.folder.add("checkpoints", lambda path: save(model, path))
        noted = {"file": file, "weights": weights_digest(model), **noted}
        self._note("made", model=noted)
        failpoint("run.made")
        return model

    def _assess(self, model: nn.Module) -> Assessment:
        """Compare a retrained model with the one before, or audit an unlearned model unless that was done before."""
        if self.plan.retrain:
            return self._compare(model)
        if self.plan.level is None:
            return Assessment(NOT_AUDITED, ["no audit was asked for"], {}, next_steps=(VERIFY,))
        return Assessment(**self.record.audit) if self.record.audit else self._audit(model, self.plan.level)

    def _compare(self, model: nn.Module) -> Assessment:
        """Compare a retrained model's holdout accuracy with that of the first model of the previous lineage."""
        drift = self._drift(model)
        if "missing" in drift:
            said = f"trained anew without the records; not compared: {drift['missing']}"
            return Assessment(RETRAINED, [said], {})
        limit = self.limits.accuracy
        said = (
            "trained anew without the records; holdout accuracy "
            f"{drift['accuracy']:+.3f} against the first model before"
        )
        if -drift["accuracy"] <= limit:
            return Assessment(RETRAINED, [said], {})
        said = f"{said}, which is past the limit of {limit:.3f}"
        return Assessment(RETRAINED, [said], {}, within_limits=False, next_steps=(SEE_TO_FIT,))

    def _audit(self, model: nn.Module, level: str) -> Assessment:
        """Audit the new model and store the report, in which tags replace the ids of records."""
        original = self._load(self.parent.file, self.parent.title)
        report = audit_models(
            original=original,
            unlearned=model,
            forget=self.batch.forget,
            task=self.batch.task,
            level=level,
            references=self.plan.references,
            options=AuditOptions(
                method=self.plan.chosen() if level == "strong" else None,
                run_seed=self.plan.seed,
                used_reference=(self.record.model or {}).get("reference"),
                title=f"Run {self.record.number}: requests {', '.join(map(str, self.record.requests))}",
                progress=self.progress,
                show_positions=False,
            ),
        )
        failpoint("run.audited")
        files = self.context.folder.add_report(self.record.number, report.save)
        verdict = report.verdict
        found = Assessment(str(verdict.status), list(verdict.reasons), files, next_steps=verdict.next_steps)
        self._note("audited", audit=found.noted)
        return found

    def _outcome(self, found: Assessment, warnings: Sequence[str] | None = None) -> RunOutcome:
        if warnings is None:
            warnings = (self.record.model or {}).get("warnings", ())
        return RunOutcome(
            status=found.status,
            reasons=tuple(self.pending.restore_ids(line, self.task) for line in found.reasons),
            next_steps=found.next_steps,
            run=self.record.number,
            requests=self.record.requests,
            records=len(self.pending.names),
            warnings=tuple(self.pending.restore_ids(line, self.task) for line in warnings),
            resumed=self.resumed,
        )

    def _commit(self, model: nn.Module, found: Assessment) -> Version:
        """Put the model into service and delete the ids of the records that it has forgotten, in one transaction."""
        lineage, kind, drift, baseline = self.parent.lineage, "unlearned", None, self.parent.baseline
        if self.plan.retrain:
            baseline = self.context.folder.add("baselines", lambda path: write_answers(self.task, model, path))
            lineage, kind = 1 + max(v.lineage for v in self.context.history().versions.values()), "retrained"
        else:
            drift = self._drift(model)
        failpoint("run.drift-read")
        made = self.record.model or {}
        with self.context.writing() as transaction:
            number = len(transaction.history.versions) + 1
            transaction.append(
                "version",
                {
                    "number": number,
                    "parent": self.parent.number,
                    "lineage": lineage,
                    "kind": kind,
                    "run": self.record.number,
                    "file": made["file"],
                    "weights": made["weights"],
                    "requests": list(self.record.requests),
                    "baseline": baseline,
                    "drift": drift,
                    "audit": found.noted,
                },
            )
            failpoint("version.appended")
            delete_ids(transaction, self.record.requests)
            failpoint("version.ids-deleted")
            settle_pending(transaction)
            failpoint("version.honoured")
            failpoint("version.before-commit")
        return transaction.history.versions[number]

    def _load(self, file: str, what: str) -> nn.Module:
        return load(self.task, self.context.folder.checked("checkpoints", file, what), self.device)

    def _drift(self, model: nn.Module) -> dict[str, Any]:
        """How far a model moved from the first model of the lineage in service."""
        first = self.context.folder.checked("baselines", self.parent.baseline, baseline_title(self.parent))
        return drift_of(self.task, model, first, self.batch.forget_classes)

    def _note(self, kind: str, **body: Any) -> None:
        """Note a step in the history."""
        with self.context.writing() as transaction:
            transaction.append(kind, {"number": self.record.number, **body})
            failpoint(f"{kind}.before-commit")
        self.record = transaction.history.runs[self.record.number]

    def _end(self, stage: Stage, why: str) -> None:
        """End the run without a version, and remove the model that it made."""
        with self.context.writing() as transaction:
            transaction.append("ended", {"number": self.record.number, "stage": str(stage), "why": why})
        drop_orphans(self.context)
