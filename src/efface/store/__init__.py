"""Deletion requests against a live model: a ledger of them, the versions that honour them, and the evidence."""

from typing import TYPE_CHECKING

from efface.runtime.lazy import lazy_names
from efface.store.errors import BusyError, DamagedError, StorageError, StoreError

if TYPE_CHECKING:
    from efface.store.drift import Limits
    from efface.store.history import Request, Stage, Version
    from efface.store.overview import Overview
    from efface.store.plan import Outcome, Plan
    from efface.store.requests import Answer
    from efface.store.store import Store
    from efface.store.verify import Verification

# what needs a database or torch is imported when it is first asked for
_HOMES = {
    "Answer": "efface.store.requests",
    "Limits": "efface.store.drift",
    "Outcome": "efface.store.plan",
    "Overview": "efface.store.overview",
    "Plan": "efface.store.plan",
    "Request": "efface.store.history",
    "Stage": "efface.store.history",
    "Store": "efface.store.store",
    "Verification": "efface.store.verify",
    "Version": "efface.store.history",
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)

__all__ = [
    "Answer",
    "BusyError",
    "DamagedError",
    "Limits",
    "Outcome",
    "Overview",
    "Plan",
    "Request",
    "Stage",
    "StorageError",
    "Store",
    "StoreError",
    "Verification",
    "Version",
]
