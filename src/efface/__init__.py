"""efface: erase chosen training records from a trained PyTorch model, and show evidence that it worked."""

from efface import methods
from efface.auditing.api import audit, audit_models
from efface.auditing.audit_test import AuditTest
from efface.auditing.config import Level
from efface.auditing.options import AuditOptions
from efface.auditing.readings import Metric, Reading
from efface.auditing.report.build import Report
from efface.auditing.verdict import Status, Verdict
from efface.calibration.assumptions import Assumption
from efface.data.splits import Splits
from efface.errors import CheckpointError, DivergedError, EffaceError, RequestError
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
