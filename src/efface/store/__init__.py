"""Deletion requests against a model in service: a ledger of them, the versions that honour them, and the audits.

Names are imported on first use, so that the command line can refuse a missing store without loading SQLAlchemy and
torch.
"""

from typing import TYPE_CHECKING

from efface.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from efface.store.add import Answer
    from efface.store.alerts import Alert
    from efface.store.backup import Backup
    from efface.store.clock_state import ClockState
    from efface.store.entries import (
        Deferral,
        DeletionRequest,
        Event,
        FingerprintSums,
        Restored,
        RunRecord,
        Stage,
        Version,
    )
    from efface.store.errors import BusyError, DamagedError, StorageError, StoreError
    from efface.store.history import History
    from efface.store.known import KnownIds
    from efface.store.leftovers import Leftover
    from efface.store.noted_head import HeadNote
    from efface.store.overview import Overview
    from efface.store.plan import RunOutcome, RunPlan
    from efface.store.process import ProcessEvidence
    from efface.store.reaudit import Remeasured
    from efface.store.refingerprint import Refingerprinting
    from efface.store.restore import Restoration
    from efface.store.settings import DriftLimits, StoreSettings
    from efface.store.store import Store
    from efface.store.verify import Verification

_HOMES = {
    "Alert": "efface.store.alerts",
    "Answer": "efface.store.add",
    "Backup": "efface.store.backup",
    "BusyError": "efface.store.errors",
    "ClockState": "efface.store.clock_state",
    "DamagedError": "efface.store.errors",
    "Deferral": "efface.store.entries",
    "DeletionRequest": "efface.store.entries",
    "DriftLimits": "efface.store.settings",
    "Event": "efface.store.entries",
    "FingerprintSums": "efface.store.entries",
    "HeadNote": "efface.store.noted_head",
    "History": "efface.store.history",
    "KnownIds": "efface.store.known",
    "Leftover": "efface.store.leftovers",
    "Overview": "efface.store.overview",
    "ProcessEvidence": "efface.store.process",
    "Refingerprinting": "efface.store.refingerprint",
    "Remeasured": "efface.store.reaudit",
    "Restoration": "efface.store.restore",
    "Restored": "efface.store.entries",
    "RunOutcome": "efface.store.plan",
    "RunPlan": "efface.store.plan",
    "RunRecord": "efface.store.entries",
    "Stage": "efface.store.entries",
    "StorageError": "efface.store.errors",
    "Store": "efface.store.store",
    "StoreError": "efface.store.errors",
    "StoreSettings": "efface.store.settings",
    "Verification": "efface.store.verify",
    "Version": "efface.store.entries",
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)

__all__ = [
    "Alert",
    "Answer",
    "Backup",
    "BusyError",
    "ClockState",
    "DamagedError",
    "Deferral",
    "DeletionRequest",
    "DriftLimits",
    "Event",
    "FingerprintSums",
    "HeadNote",
    "History",
    "KnownIds",
    "Leftover",
    "Overview",
    "ProcessEvidence",
    "Refingerprinting",
    "Remeasured",
    "Restoration",
    "Restored",
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
