"""efface: erase chosen training records from a trained PyTorch model, and show evidence that it worked."""

from typing import TYPE_CHECKING

from efface import methods
from efface.errors import CheckpointError, DivergedError, EffaceError, RequestError
from efface.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from efface.auditing.api import audit, audit_models
    from efface.auditing.audit_test import AuditTest
    from efface.auditing.config import Level
    from efface.auditing.options import AuditOptions
    from efface.auditing.readings import Metric, Reading
    from efface.auditing.report.build import Report
    from efface.auditing.verdict import Status, Verdict
    from efface.calibration.assumptions import Assumption
    from efface.data.splits import Splits
    from efface.methods.base import Method, Problem, Step
    from efface.models.training import Recipe
    from efface.runtime.cost import Cost, PhaseCost
    from efface.store import Store
    from efface.task import Task
    from efface.types import Estimate, RecordId
    from efface.unlearning.driver import unlearn
    from efface.unlearning.evidence import Evaluation, Evidence, Outcome
    from efface.unlearning.options import UnlearnOptions
    from efface.unlearning.result import Result
    from efface.unlearning.stopping import AnyOf, Decision, LooksUnseen, StopRule, UtilityFloor

# what needs torch is imported when it is first asked for, so that `efface --help` and the like need not wait for it
_HOMES = {
    "AnyOf": "efface.unlearning.stopping",
    "Assumption": "efface.calibration.assumptions",
    "AuditOptions": "efface.auditing.options",
    "AuditTest": "efface.auditing.audit_test",
    "Cost": "efface.runtime.cost",
    "Decision": "efface.unlearning.stopping",
    "Estimate": "efface.types",
    "Evaluation": "efface.unlearning.evidence",
    "Evidence": "efface.unlearning.evidence",
    "Level": "efface.auditing.config",
    "LooksUnseen": "efface.unlearning.stopping",
    "Method": "efface.methods.base",
    "Metric": "efface.auditing.readings",
    "Outcome": "efface.unlearning.evidence",
    "PhaseCost": "efface.runtime.cost",
    "Problem": "efface.methods.base",
    "Reading": "efface.auditing.readings",
    "Recipe": "efface.models.training",
    "RecordId": "efface.types",
    "Report": "efface.auditing.report.build",
    "Result": "efface.unlearning.result",
    "Splits": "efface.data.splits",
    "Status": "efface.auditing.verdict",
    "Step": "efface.methods.base",
    "StopRule": "efface.unlearning.stopping",
    "Store": "efface.store",
    "Task": "efface.task",
    "UnlearnOptions": "efface.unlearning.options",
    "UtilityFloor": "efface.unlearning.stopping",
    "Verdict": "efface.auditing.verdict",
    "audit": "efface.auditing.api",
    "audit_models": "efface.auditing.api",
    "unlearn": "efface.unlearning.driver",
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)

__all__ = [
    "AnyOf",
    "Assumption",
    "AuditOptions",
    "AuditTest",
    "CheckpointError",
    "Cost",
    "Decision",
    "DivergedError",
    "EffaceError",
    "Estimate",
    "Evaluation",
    "Evidence",
    "Level",
    "LooksUnseen",
    "Method",
    "Metric",
    "Outcome",
    "PhaseCost",
    "Problem",
    "Reading",
    "Recipe",
    "RecordId",
    "Report",
    "RequestError",
    "Result",
    "Splits",
    "Status",
    "Step",
    "StopRule",
    "Store",
    "Task",
    "UnlearnOptions",
    "UtilityFloor",
    "Verdict",
    "audit",
    "audit_models",
    "methods",
    "unlearn",
]
