"""Judging the new model of a run: an audit of what it knows, and its answers to holdout records."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from efface.auditing.api import audit_models
from efface.auditing.options import AuditOptions
from efface.runtime.printing import Brief
from efface.store.assessment import SEE_TO_FIT, VERIFY, Assessment
from efface.store.batch import DeletionBatch
from efface.store.build import load
from efface.store.context import StoreContext
from efface.store.drift import drift_of
from efface.store.entries import RunRecord, Version
from efface.store.failpoints import failpoint
from efface.store.history import baseline_title
from efface.store.plan import NOT_AUDITED, RETRAINED, RunPlan
from efface.store.settings import DriftLimits
from efface.task import Task


@dataclass(frozen=True, repr=False)
class Judge(Brief):
    """What the new model of a run is judged with.

    Args:
        context: the open store.
        task: the task as the user gave it.
        plan: how the run is carried out.
        device: where the models are.
        progress: whether to show progress; by default on a terminal.
        parent: the version that the run starts from.
        batch: the records that the run forgets.
    """

    context: StoreContext
    task: Task
    plan: RunPlan
    device: torch.device
    progress: bool | None
    parent: Version
    batch: DeletionBatch

    def assess(self, model: nn.Module, run: RunRecord) -> Assessment:
        """Compare a retrained model with the one before, or audit an unlearned model.

        Args:
            model: the new model.
            run: the run that made it.
        """
        if self.plan.retrain:
            return self._compare(model)
        if self.plan.level is None:
            return Assessment(NOT_AUDITED, ["no audit was asked for"], {}, next_steps=(VERIFY,))
        return self._audit(model, self.plan.level, run)

    def drift(self, model: nn.Module) -> dict[str, Any]:
        """How far a model moved from the first model of the lineage in service."""
        first = self.context.folder.checked("baselines", self.parent.baseline, baseline_title(self.parent))
        return drift_of(self.task, model, first, self.batch.forget_classes)

    def _compare(self, model: nn.Module) -> Assessment:
        """Compare a retrained model's holdout accuracy with that of the first model of the previous lineage."""
        drift = self.drift(model)
        if "missing" in drift:
            said = f"trained anew without the records; not compared: {drift['missing']}"
            return Assessment(RETRAINED, [said], {})
        limit = DriftLimits(**self.context.history().settings["limits"]).accuracy
        said = (
            "trained anew without the records; holdout accuracy "
            f"{drift['accuracy']:+.3f} against the first model before"
        )
        if -drift["accuracy"] <= limit:
            return Assessment(RETRAINED, [said], {})
        said = f"{said}, which is past the limit of {limit:.3f}"
        return Assessment(RETRAINED, [said], {}, within_limits=False, next_steps=(SEE_TO_FIT,))

    def _audit(self, model: nn.Module, level: str, run: RunRecord) -> Assessment:
        """Audit the new model and store the report, in which tags replace the ids of records."""
        first = self.context.folder.checked("checkpoints", self.parent.file, self.parent.title)
        report = audit_models(
            original=load(self.task, first, self.device),
            unlearned=model,
            forget=self.batch.forget,
            task=self.batch.task,
            level=level,
            references=self.plan.references,
            options=AuditOptions(
                method=self.plan.chosen() if level == "strong" else None,
                run_seed=self.plan.seed,
                used_reference=(run.model or {}).get("reference"),
                title=f"Run {run.number}: requests {', '.join(map(str, run.requests))}",
                progress=self.progress,
                show_positions=False,
            ),
        )
        failpoint("run.audited")
        files = self.context.folder.add_report(run.number, report.save)
        verdict = report.verdict
        return Assessment(str(verdict.status), list(verdict.reasons), files, next_steps=verdict.next_steps)
