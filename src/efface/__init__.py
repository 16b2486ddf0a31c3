"""efface: erase chosen training records from a trained PyTorch model, and show evidence that it worked."""

from efface import methods
from efface.auditing.api import audit, audit_models
from efface.auditing.audit_test import AuditTest
from efface.auditing.config import Level
from efface.auditing.options import AuditOptions
from efface.auditing.readings import Metric, Reading
from efface.auditing.report.build import Report
from efface.auditing.verdict import Status, Verdict
from efface.errors import CheckpointError, DivergedError, EffaceError, RequestError
from efface.methods.base import Method
from efface.models.training import Recipe
from efface.runtime.cost import Cost, PhaseCost
from efface.store import Store
from efface.task import Task
from efface.types import Estimate, RecordId
from efface.unlearning.driver import unlearn
from efface.unlearning.result import Result

__all__ = [
    "AuditOptions",
    "AuditTest",
    "CheckpointError",
    "Cost",
    "DivergedError",
    "EffaceError",
    "Estimate",
    "Level",
    "Method",
    "Metric",
    "PhaseCost",
    "Reading",
    "Recipe",
    "RecordId",
    "Report",
    "RequestError",
    "Result",
    "Status",
    "Store",
    "Task",
    "Verdict",
    "audit",
    "audit_models",
    "methods",
    "unlearn",
]
