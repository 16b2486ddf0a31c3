"""A run: it unlearns all pending requests as one batch, judges the new model and puts it into service or rejects it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from efface.data.twins import TWINS_WAY_OUT
from efface.errors import DivergedError, RequestError
from efface.models.checkpoint import weights_digest
from efface.runtime.notices import quietly
from efface.runtime.seeds import unchanged_globals
from efface.store.assessment import Assessment, take_it
from efface.store.batch import DeletionBatch, find_batch
from efface.store.beginning import Beginning, RunSetting, begin, end_run
from efface.store.build import load, retrain_without, save, unlearn_batch
from efface.store.content import TrainedOn, content_update, read_trained_on
from efface.store.drift import answers_of
from efface.store.entries import Stage, Version
from efface.store.failpoints import failpoint
from efface.store.first_outputs import add_outputs, lineage_outputs, outputs_of
from efface.store.gc import finish, recover
from efface.store.in_service import GO_ON, check_holdout_stays, check_in_service
from efface.store.judging import Judge, Measured
from efface.store.pending import PendingRecords, read_pending
from efface.store.plan import NOTHING_UNLEARNED, RunOutcome, check_plan
from efface.store.returned import check_joined, check_returned
from efface.store.settings import DriftLimits
from efface.store.settle import delete_ids, settle_pending
from efface.unlearning.next_steps import OTHER_METHOD, RETRAIN, UNCHANGED_BY_RETRAINING
from efface.unlearning.nothing import NothingUnlearnedError

ASK_FOR_TWINS = (
    "ask for the twins too, so that they are forgotten together (store.add([...]), efface request add), or cancel the "
    "request that names such records (store.cancel, efface request cancel)"
)

UNCLEARED = (
    "ids that were deleted may still stand in the database or its log, since another process reads from it: close that "
    "process, and call efface run again, which empties them"
)


@quietly()  # warnings name records by tags, which the outcome has replaced by ids
def run(setting: RunSetting, wait_s: float = 0.0) -> RunOutcome:
    """Honour all pending requests, or resume a run that was interrupted.

    If an error is raised, the version in service does not change.

    Args:
        setting: what the run is carried out with.
        wait_s: seconds to wait for another run.

    Raises:
        RequestError: the plan cannot be carried out, or not on these records.
        BusyError: another run is in progress.
        DamagedError: a row or a checkpoint was changed.
        DivergedError: weights became NaN or infinite.
    """
    context = setting.context
    check_plan(setting.plan, setting.task)
    with context.folder.locked(wait_s), unchanged_globals():
        failpoint("run.locked")
        context.check_open()
        recover(context)
        failpoint("run.recovered")
        begun = begin(setting)
        if begun is None:
            return RunOutcome("nothing")
        return StoreRun(setting, begun).carry_out()


class StoreRun:
    """One run, with the values that its steps share.

    Each step is noted in the history before the next begins, so that an interrupted run resumes after its last step.

    Args:
        setting: what the run is carried out with; the caller holds the run lock of its store.
        begun: what `begin` gave.
    """

    def __init__(self, setting: RunSetting, begun: Beginning) -> None:
        self.setting, self.begun, self.record = setting, begun, begun.record
        self.context, self.task, self.plan = setting.context, setting.task, setting.plan
        self.warnings: list[str] = []  # about the records, and the version that the run starts from
        self.parent: Version  # the version that the run starts from
        self.limits: DriftLimits
        self.pending: PendingRecords
        self.batch: DeletionBatch
        self.judge: Judge
        self.trained_on: TrainedOn | None = None  # by a retraining

    def carry_out(self) -> RunOutcome:
        """Make the new model, judge it, and put it into service if it passes."""
        history = self.context.history()
        self.parent, self.limits = history.versions[self.record.parent], DriftLimits(**history.settings["limits"])
        self.pending = read_pending(self.context, self.record.requests)
        try:
            return self._carry_out()
        except NothingUnlearnedError as error:
            found = Assessment(NOTHING_UNLEARNED, [error.reason], {}, next_steps=error.next_steps)
            return self._changed_nothing(found, error.warnings)
        except (RequestError, DivergedError) as error:
            # only the type of the error: the history is permanent, and a message of the user's code may hold an id
            self._end(Stage.FAILED, type(error).__name__)
            if isinstance(error, RequestError):
                lines = [line.replace(TWINS_WAY_OUT, ASK_FOR_TWINS) for line in error.problems]
                raise RequestError([self.pending.restore_ids(line, self.task) for line in lines]) from error
            raise

    def _carry_out(self) -> RunOutcome:
        self.batch = find_batch(self.context, self.begun.records, self.pending, self.plan.retrain)
        if not self.plan.allow_returned:
            asked = self.begun.intake.asked
            self.warnings += check_returned(self.context, self.begun.records, asked, self.plan.retrain)
            check_joined(self.context, self.begun.records, self.batch)
        self.judge = Judge(self.setting, self.parent, self.batch)
        failpoint("run.task-read")
        original = self._original()
        model = self._model(original)
        # Task.fit may rightly give the same weights twice, on records that do not matter to it
        repeats = self.plan.retrain and self.parent.kind == "retrained"
        if (self.record.model or {})["weights"] == self.parent.weights and self.batch.leaving and not repeats:
            why = f"the weights are bit for bit those of {self.parent.title}, which knows the records"
            steps = UNCHANGED_BY_RETRAINING if self.plan.retrain else (OTHER_METHOD, RETRAIN)
            return self._changed_nothing(Assessment(NOTHING_UNLEARNED, [why], {}, next_steps=steps))
        measured = self.judge.measure(model)
        failpoint("run.drift-read")
        found = self.judge.hold_to_limits(self._conclude(model), measured.drift)
        failpoint("run.judged")
        outcome = self._outcome(found)
        if not found.passes(self.plan.accept):
            self._end(Stage.REJECTED, found.why_not(self.plan.accept))
            return replace(outcome, next_steps=tuple(dict.fromkeys([*outcome.next_steps, take_it(found)])))
        version = self._commit(model, found, measured)
        failpoint("run.committed")
        finish(self.context)
        failpoint("run.finished")
        if self.context.history().uncleared:
            outcome = replace(outcome, warnings=(*outcome.warnings, UNCLEARED))
        return replace(outcome, version=version, retraining=tuple(self.limits.exceeded(version.drift)))

    def _changed_nothing(self, found: Assessment, warnings: Sequence[str] | None = None) -> RunOutcome:
        """End the run as rejected, since no version without a change may honour a request; `accept` does not matter."""
        self._end(Stage.REJECTED, "nothing was unlearned")
        return self._outcome(found, warnings)

    def _original(self) -> nn.Module | None:
        """The version in service, if the run unlearns from it; checked to answer as when it was made."""
        if self.plan.retrain:
            found, model = check_holdout_stays(self.context, self.task, self.parent), None
        else:
            model = self._load(self.parent.file, self.parent.title)
            failpoint("run.checkpoint-read")
            found = check_in_service(self.context, self.task, self.parent, model)
        if found and self.plan.accept != "any":
            raise RequestError([f"{line}; {GO_ON}" for line in found])
        self.warnings += found
        return model

    def _model(self, original: nn.Module | None) -> nn.Module:
        """The new model: loaded if it was stored before the run was interrupted, else made and stored now."""
        made = self.record.model
        if self.plan.retrain:
            noted = None if made is None else made["contents"]
            self.trained_on = read_trained_on(self.context, self.task, self.batch, noted)
        if made is not None:
            return self._load(made["file"], f"unfinished run {self.record.number}")
        if original is None:
            model, facts = retrain_without(self.batch, self.plan.seed, self.setting.device, self.setting.progress)
            outputs = outputs_of(self.task, model, self.batch.staying, self.context.key)
        else:
            first, progress = lineage_outputs(self.context, self.task, self.batch), self.setting.progress
            given = None if first is None else first.given
            result, facts = unlearn_batch(original, self.batch, self.plan, given, progress)
            model, outputs = result.model, None if first is None else first.left(result.first_outputs)
        failpoint("run.unlearned")
        file = self.context.folder.add("checkpoints", lambda path: save(model, path))
        contents = None if self.trained_on is None else self.trained_on.sum
        facts |= {"file": file, "weights": weights_digest(model), "contents": contents}
        facts |= {"first_outputs": add_outputs(self.context.folder, outputs)}
        self._note("made", model=facts)
        failpoint("run.made")
        return self._load(file, f"run {self.record.number}")  # which is what will be served

    def _conclude(self, model: nn.Module) -> Assessment:
        """Let an audit judge the new model, unless it did so before the run was interrupted, and note it."""
        if self.record.audit:
            return Assessment(**self.record.audit)
        found = self.judge.conclude(model, self.record)
        if found.files:
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
            warnings=tuple(
                self.pending.restore_ids(line, self.task)
                for line in dict.fromkeys([*self.begun.intake.warnings, *self.warnings, *warnings])
            ),
            deferred=tuple(r.deferred.line(r.number) for r in self.context.history().pending if r.deferred),
            resumed=self.begun.resumed,
        )

    def _commit(self, model: nn.Module, found: Assessment, measured: Measured) -> Version:
        """Put the model into service and delete the ids of the records that it has forgotten, in one transaction."""
        given, retrained = measured.answers, self.plan.retrain
        if given is None or retrained:  # a new lineage may begin on another holdout
            given = answers_of(self.task, model)
        answers = self.context.folder.add("baselines", given.write)
        lineages = {v.lineage for v in self.context.history().versions.values()}
        made = self.record.model or {}
        update = content_update(self.context, self.task, self.batch, self.record.requests, self.trained_on)
        with self.context.writing() as transaction:
            sums, contents = update.apply(transaction)
            failpoint("version.fingerprints")
            number = len(transaction.history.versions) + 1
            transaction.append(
                "version",
                {
                    "number": number,
                    "parent": self.parent.number,
                    "lineage": 1 + max(lineages) if retrained else self.parent.lineage,
                    "kind": "retrained" if retrained else "unlearned",
                    "run": self.record.number,
                    "file": made["file"],
                    "weights": made["weights"],
                    "requests": list(self.record.requests),
                    "baseline": answers if retrained else self.parent.baseline,
                    "answers": answers,
                    "first_outputs": made.get("first_outputs"),
                    "contents": contents,
                    "drift": None if retrained else measured.drift,
                    "audit": found.noted,
                    "fingerprints": sums.noted(),
                },
            )
            failpoint("version.appended")
            delete_ids(transaction, self.record.requests)
            failpoint("version.ids-deleted")
            settle_pending(transaction)
            failpoint("version.before-commit")
        return transaction.history.versions[number]

    def _load(self, file: str, what: str) -> nn.Module:
        return load(self.task, self.context.folder.checked("checkpoints", file, what), self.setting.device)

    def _note(self, kind: str, **body: Any) -> None:
        """Note a step in the history."""
        with self.context.writing() as transaction:
            transaction.append(kind, {"number": self.record.number, **body})
            failpoint(f"{kind}.before-commit")
        self.record = transaction.history.runs[self.record.number]

    def _end(self, stage: Stage, why: str) -> None:
        end_run(self.context, self.record, stage, why)
