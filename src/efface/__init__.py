"""efface: erase chosen training records from a trained PyTorch model, and show evidence that it worked."""

from efface import methods
from efface.auditing.api import audit
from efface.auditing.report.build import Report
from efface.errors import CheckpointError, DivergedError, EffaceError, RequestError
from efface.models.training import Recipe
from efface.store import Store
from efface.task import Task
from efface.unlearning.driver import unlearn
from efface.unlearning.result import Result

__all__ = [
    "CheckpointError",
    "DivergedError",
    "EffaceError",
    "Recipe",
    "Report",
    "RequestError",
    "Result",
    "Store",
    "Task",
    "audit",
    "methods",
    "unlearn",
]
