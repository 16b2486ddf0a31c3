"""efface: erase chosen training records from a trained PyTorch model, and show evidence that it worked."""

from typing import TYPE_CHECKING

from efface import methods
from efface.errors import CheckpointError, DivergedError, EffaceError, RequestError
from efface.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from efface.auditing.api import audit
    from efface.auditing.report.build import Report
    from efface.models.training import Recipe
    from efface.store import Store
    from efface.task import Task
    from efface.unlearning.driver import unlearn
    from efface.unlearning.result import Result

# what needs torch is imported when it is first asked for, so that `efface --help` and the like need not wait for it
_HOMES = {
    "Recipe": "efface.models.training",
    "Report": "efface.auditing.report.build",
    "Result": "efface.unlearning.result",
    "Store": "efface.store",
    "Task": "efface.task",
    "audit": "efface.auditing.api",
    "unlearn": "efface.unlearning.driver",
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)

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
