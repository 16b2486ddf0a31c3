"""Judging the new model of a run: an audit of what it knows, and its answers to holdout records."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from efface.auditing.api import audit_models
from efface.auditing.options import AuditOptions
from efface.auditing.report.document import write
from efface.runtime.printing import Brief
from efface.store.accuracy import accuracy_problem
from efface.store.assessment import SEE_TO_FIT, VERIFY, Assessment
from efface.store.batch import DeletionBatch
from efface.store.beginning import RunSetting
from efface.store.build import load
from efface.store.drift import HoldoutAnswers, answers_of, drift_of, fits_holdout, read_answers
from efface.store.entries import RunRecord, Version
from efface.store.failpoints import failpoint
from efface.store.first_outputs import lineage_outputs
from efface.store.history import baseline_title
from efface.store.noted_ranks import noted_ranks
from efface.store.plan import NOT_AUDITED, RETRAINED
from efface.store.settings import DriftLimits
from efface.store.wording import numbered
from efface.unlearning.next_steps import OTHER_METHOD, RETRAIN, less_far


@dataclass(frozen=True, repr=False)
class Measured(Brief):
    """The answers of a new model to holdout records.

    Args:
        answers: the answers; None if the holdout does not hold these records any more.
        drift: how far it moved from the first model of the lineage in service, as `drift.drift_of` returns it.
    """

    answers: HoldoutAnswers | None
    drift: dict[str, Any]


@dataclass(frozen=True, repr=False)
class Judge(Brief):
    """What the new model of a run is judged with.

    Args:
        setting: what the run is carried out with.
        parent: the version that the run starts from.
        batch: the records that the run forgets.
    """

    setting: RunSetting
    parent: Version
    batch: DeletionBatch

    def measure(self, model: nn.Module) -> Measured:
        """Let the new model answer the holdout records of the lineage in service, and compare the answers.

        Raises:
            RequestError: the model cannot read the holdout records.
        """
        file = self.setting.context.folder.checked("baselines", self.parent.baseline, baseline_title(self.parent))
        first = read_answers(file)
        if not fits_holdout(self.setting.task, first.rows):
            why = "the holdout is shorter than at the beginning of the lineage: give the same records"
            return Measured(None, {"missing": why})
        now = answers_of(self.setting.task, model, first.rows)
        if not torch.equal(now.labels, first.labels):
            why = "the holdout holds other records than at the beginning of the lineage: give the same records"
            return Measured(None, {"missing": why})
        return Measured(now, drift_of(self.setting.task, now, first, self.batch.forget_classes))

    def conclude(self, model: nn.Module, run: RunRecord) -> Assessment:
        """Audit an unlearned model; a retrained one needs no audit.

        Args:
            model: the new model.
            run: the run that made it.
        """
        if self.setting.plan.retrain:
            return Assessment(RETRAINED, ["trained anew without the records"], {})
        if self.setting.plan.level is None:
            return Assessment(NOT_AUDITED, ["no audit was asked for"], {}, next_steps=(VERIFY,))
        return self._audit(model, self.setting.plan.level, run)

    def hold_to_limits(self, found: Assessment, drift: Mapping[str, Any]) -> Assessment:
        """Hold a model to the limit of lost holdout accuracy, whatever an audit says of it.

        Args:
            found: what was concluded so far.
            drift: how far the model moved, as `drift.drift_of` returns it.
        """
        limit = DriftLimits(**self.setting.context.history().settings["limits"]).accuracy
        if "missing" in drift:
            return self._with(found, f"holdout accuracy not compared: {drift['missing']}")
        if problem := accuracy_problem(drift, limit):
            mend = (
                (SEE_TO_FIT,)
                if self.setting.plan.retrain
                else (*less_far(self.setting.plan.chosen()), OTHER_METHOD, RETRAIN)
            )
            steps = tuple(dict.fromkeys([*mend, *found.next_steps]))
            return replace(self._with(found, problem), within_limits=False, next_steps=steps)
        if self.setting.plan.retrain:
            return self._with(found, f"holdout accuracy {drift['accuracy']:+.3f} against the first model before")
        return found

    def _with(self, found: Assessment, said: str) -> Assessment:
        """An assessment with one more reason; that of a retraining stays one line."""
        reasons = ["; ".join([*found.reasons, said])] if self.setting.plan.retrain else [*found.reasons, said]
        return replace(found, reasons=reasons)

    def _audit(self, model: nn.Module, level: str, run: RunRecord) -> Assessment:
        """Audit the new model and store the report, in which tags replace the ids of records."""
        plan = self.setting.plan
        first = self.setting.context.folder.checked("checkpoints", self.parent.file, self.parent.title)
        outputs = lineage_outputs(self.setting.context, self.setting.task, self.batch) if plan.rehearse else None
        report = audit_models(
            original=load(self.setting.task, first, self.setting.device),
            unlearned=model,
            forget=self.batch.forget,
            task=self.batch.task,
            level=level,
            references=plan.references,
            options=AuditOptions(
                method=self.setting.plan.chosen() if level == "strong" or plan.rehearse else None,
                rehearse=plan.rehearse,
                run_seed=plan.seed,
                first_outputs=None if outputs is None else outputs.given,
                used_reference=(run.model or {}).get("reference"),
                title=f"Run {run.number}: {numbered('request', run.requests)}",
                progress=self.setting.progress,
                show_positions=False,
            ),
        )
        failpoint("run.audited")
        # without a receipt: a run may honour the requests of several people, and `export` makes one for each of them
        files = self.setting.context.folder.add_report(
            run.number, lambda folder: write(report.document, folder, receipt=False)
        )
        verdict = report.verdict
        ranks = noted_ranks(self.setting.context, run, report, self.setting.task.holdout)
        return Assessment(str(verdict.status), list(verdict.reasons), files, next_steps=verdict.next_steps, ranks=ranks)
