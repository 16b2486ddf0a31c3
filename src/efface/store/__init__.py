"""Deletion requests against a live model: a ledger of them, the versions that honour them, and the evidence."""

from efface.store.drift import Limits
from efface.store.errors import BusyError, DamagedError, StorageError, StoreError
from efface.store.history import Request, Stage, Version
from efface.store.overview import Overview
from efface.store.plan import Outcome, Plan
from efface.store.requests import Answer
from efface.store.store import Store
from efface.store.verify import Verification

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
