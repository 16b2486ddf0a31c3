"""Deletion requests against a live model: a ledger of them, the versions that honour them, and the evidence.

Names are imported when they are first asked for: the command line refuses a store that is not there without the time
that SQLAlchemy and torch take.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from efface.store.add import Answer
    from efface.store.entries import DeletionRequest, Event, RunRecord, Stage, Version
    from efface.store.errors import BusyError, DamagedError, StorageError, StoreError
    from efface.store.history import History
    from efface.store.leftovers import Leftover
    from efface.store.overview import Overview
    from efface.store.plan import RunOutcome, RunPlan
    from efface.store.settings import DriftLimits, StoreSettings
    from efface.store.store import Store
    from efface.store.verify import Verification

_MODULES = {
    "Answer": "add",
    "BusyError": "errors",
    "DamagedError": "errors",
    "DeletionRequest": "entries",
    "DriftLimits": "settings",
    "Event": "entries",
    "History": "history",
    "Leftover": "leftovers",
    "Overview": "overview",
    "RunOutcome": "plan",
    "RunPlan": "plan",
    "RunRecord": "entries",
    "Stage": "entries",
    "StorageError": "errors",
    "Store": "store",
    "StoreError": "errors",
    "StoreSettings": "settings",
    "Verification": "verify",
    "Version": "entries",
}

__all__ = [
    "Answer",
    "BusyError",
    "DamagedError",
    "DeletionRequest",
    "DriftLimits",
    "Event",
    "History",
    "Leftover",
    "Overview",
    "RunOutcome",
    "RunPlan",
    "RunRecord",
    "Stage",
    "StorageError",
    "Store",
    "StoreError",
    "StoreSettings",
    "Verification",
    "Version",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
