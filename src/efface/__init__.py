"""efface: erase chosen training records from a trained PyTorch model, and show evidence that it worked."""

from efface import methods
from efface.audit import audit
from efface.errors import CheckpointError, DivergedError, EffaceError, RequestError
from efface.models import Recipe
from efface.report.build import Report
from efface.result import Result
from efface.store import Store
from efface.task import Task
from efface.unlearning import unlearn

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
