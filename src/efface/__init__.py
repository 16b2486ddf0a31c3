"""efface: erase chosen training records from a trained PyTorch model, and show evidence that it worked."""

import logging
from typing import TYPE_CHECKING

from efface import methods
from efface.errors import CheckpointError, DivergedError, EffaceError, EffaceWarning, RequestError
from efface.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from efface.auditing.api import audit, audit_models
    from efface.auditing.audit_test import AuditTest
    from efface.auditing.config import Level
    from efface.auditing.doctor import Examination, Fact, doctor
    from efface.auditing.inputs import AuditInputs
    from efface.auditing.options import AuditOptions
    from efface.auditing.readings import Metric, Reading
    from efface.auditing.report.build import Report
    from efface.auditing.run import AuditResult
    from efface.auditing.table import Table
    from efface.auditing.verdict import Status, Verdict
    from efface.calibration.assumptions import Assumption
    from efface.calibration.counterfactual import CounterfactualLogits
    from efface.calibration.first_outputs import FirstOutputs, KnownOutputs, first_outputs
    from efface.data.described import ForgetRecord
    from efface.data.ids import ByGroup
    from efface.data.records import Batch, Records
    from efface.data.splits import Splits
    from efface.data.twin_policy import Twins
    from efface.kinds import Binary, Classes, Kind, Measure, MultiLabel, Regression, Tokens, Words
    from efface.methods.base import Method, Problem, Step
    from efface.models.ensembles import Training
    from efface.models.training import Recipe
    from efface.runtime.cost import Cost, Meter, PhaseCost
    from efface.store import Store
    from efface.task import Task
    from efface.task.structure import Effects, Structure
    from efface.types import Estimate, RecordId, SizedDataset
    from efface.unlearning.driver import unlearn
    from efface.unlearning.evidence import Evaluation, Evidence, Outcome
    from efface.unlearning.nothing import NothingUnlearnedError
    from efface.unlearning.options import UnlearnOptions
    from efface.unlearning.plan import Plan, check
    from efface.unlearning.result import Result
    from efface.unlearning.stopping import AnyOf, Decision, LooksUnseen, StopRule, UtilityFloor

# names that need torch are imported on first use, so that `efface --help` and the like need not wait for it
_HOMES = {
    "AnyOf": "efface.unlearning.stopping",
    "Assumption": "efface.calibration.assumptions",
    "AuditInputs": "efface.auditing.inputs",
    "AuditOptions": "efface.auditing.options",
    "AuditResult": "efface.auditing.run",
    "AuditTest": "efface.auditing.audit_test",
    "Batch": "efface.data.records",
    "Binary": "efface.kinds",
    "ByGroup": "efface.data.ids",
    "Classes": "efface.kinds",
    "Cost": "efface.runtime.cost",
    "CounterfactualLogits": "efface.calibration.counterfactual",
    "Decision": "efface.unlearning.stopping",
    "Effects": "efface.task.structure",
    "Estimate": "efface.types",
    "Evaluation": "efface.unlearning.evidence",
    "Evidence": "efface.unlearning.evidence",
    "Examination": "efface.auditing.doctor",
    "Fact": "efface.auditing.doctor",
    "FirstOutputs": "efface.calibration.first_outputs",
    "ForgetRecord": "efface.data.described",
    "Kind": "efface.kinds",
    "KnownOutputs": "efface.calibration.first_outputs",
    "Level": "efface.auditing.config",
    "LooksUnseen": "efface.unlearning.stopping",
    "Measure": "efface.kinds",
    "Meter": "efface.runtime.cost",
    "Method": "efface.methods.base",
    "Metric": "efface.auditing.readings",
    "MultiLabel": "efface.kinds",
    "NothingUnlearnedError": "efface.unlearning.nothing",
    "Outcome": "efface.unlearning.evidence",
    "PhaseCost": "efface.runtime.cost",
    "Plan": "efface.unlearning.plan",
    "Problem": "efface.methods.base",
    "Reading": "efface.auditing.readings",
    "Recipe": "efface.models.training",
    "RecordId": "efface.types",
    "Records": "efface.data.records",
    "Regression": "efface.kinds",
    "Report": "efface.auditing.report.build",
    "Result": "efface.unlearning.result",
    "SizedDataset": "efface.types",
    "Splits": "efface.data.splits",
    "Status": "efface.auditing.verdict",
    "Step": "efface.methods.base",
    "StopRule": "efface.unlearning.stopping",
    "Store": "efface.store",
    "Structure": "efface.task.structure",
    "Table": "efface.auditing.table",
    "Task": "efface.task",
    "Tokens": "efface.kinds",
    "Training": "efface.models.ensembles",
    "Twins": "efface.data.twin_policy",
    "UnlearnOptions": "efface.unlearning.options",
    "UtilityFloor": "efface.unlearning.stopping",
    "Verdict": "efface.auditing.verdict",
    "Words": "efface.kinds",
    "audit": "efface.auditing.api",
    "audit_models": "efface.auditing.api",
    "check": "efface.unlearning.plan",
    "doctor": "efface.auditing.doctor",
    "first_outputs": "efface.calibration.first_outputs",
    "unlearn": "efface.unlearning.driver",
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)

__all__ = [
    "AnyOf",
    "Assumption",
    "AuditInputs",
    "AuditOptions",
    "AuditResult",
    "AuditTest",
    "Batch",
    "Binary",
    "ByGroup",
    "CheckpointError",
    "Classes",
    "Cost",
    "CounterfactualLogits",
    "Decision",
    "DivergedError",
    "EffaceError",
    "EffaceWarning",
    "Effects",
    "Estimate",
    "Evaluation",
    "Evidence",
    "Examination",
    "Fact",
    "FirstOutputs",
    "ForgetRecord",
    "Kind",
    "KnownOutputs",
    "Level",
    "LooksUnseen",
    "Measure",
    "Meter",
    "Method",
    "Metric",
    "MultiLabel",
    "NothingUnlearnedError",
    "Outcome",
    "PhaseCost",
    "Plan",
    "Problem",
    "Reading",
    "Recipe",
    "RecordId",
    "Records",
    "Regression",
    "Report",
    "RequestError",
    "Result",
    "SizedDataset",
    "Splits",
    "Status",
    "Step",
    "StopRule",
    "Store",
    "Structure",
    "Table",
    "Task",
    "Tokens",
    "Training",
    "Twins",
    "UnlearnOptions",
    "UtilityFloor",
    "Verdict",
    "Words",
    "audit",
    "audit_models",
    "check",
    "doctor",
    "first_outputs",
    "methods",
    "unlearn",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())  # nothing is shown unless the caller wants it
