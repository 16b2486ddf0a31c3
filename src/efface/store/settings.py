"""The settings of a store, among them the limits of drift. Light to import."""

from dataclasses import asdict, dataclass, field
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any

from efface.errors import RequestError, collect_errors, kind_of
from efface.models.weights_file import find_weights
from efface.runtime.options import clear_calls

GRACE_DAYS = 30.0
MAX_GRACE = 365_000.0
BUSY_S = 30.0  # how long to wait for other processes that write to the database


@clear_calls()
@dataclass(frozen=True)
class DriftLimits:
    """How far a model may move from the first model of its lineage before a retraining is due.

    Args:
        changed: largest share of holdout predictions that may differ, from 0 to 1.
        accuracy: largest loss of holdout accuracy, from 0 to 1.
    """

    changed: float = 0.10
    accuracy: float = 0.02

    def exceeded(self, drift: dict[str, Any] | None) -> list[str]:
        """The limits that a drift exceeds, one line each; `drift` is a result of `drift_of`, or None for no drift."""
        if drift is None or "missing" in drift:
            return []
        found = []
        if drift["changed"] > self.changed:
            found.append(
                f"{drift['changed']:.1%} of holdout answers differ from the first model's (limit {self.changed:.1%})"
            )
        if -drift["accuracy"] > self.accuracy:
            found.append(f"holdout accuracy fell by {-drift['accuracy']:.3f} (limit {self.accuracy:.3f})")
        return found


@clear_calls(limits=DriftLimits)
@dataclass(frozen=True)
class StoreSettings:
    """The settings of a store, which are fixed when it is made.

    Args:
        grace_days: days for which superseded checkpoints that know forgotten records stay available for audits.
        limits: limits of drift beyond which a retraining is due.
        source: the file that the model came from, or the folder of one model; `verify` reports if it still exists.
        task_path: the task as `module:name`, for the command line to import.
        notice_returns: keep an HMAC of the content of each forgotten record, by which it is found where it comes back
            under another id.
    """

    grace_days: float = GRACE_DAYS
    limits: DriftLimits = field(default_factory=DriftLimits)
    source: str | Path | None = None
    task_path: str | None = None
    notice_returns: bool = True


def check_settings(settings: StoreSettings) -> None:
    """Check settings; RequestError with every problem."""
    if not isinstance(settings, StoreSettings) or not isinstance(settings.limits, DriftLimits):
        raise RequestError(
            "settings: expected an efface.store.StoreSettings, and in it limits of efface.store.DriftLimits"
        )
    values = {"grace_days": settings.grace_days, **asdict(settings.limits)}
    highest = dict.fromkeys(values, 1.0) | {"grace_days": MAX_GRACE}  # limits of drift are shares
    wrong = [
        f"{name}: expected a number from 0 to {highest[name]:,.0f}, got {value!r}"
        for name, value in values.items()
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= highest[name]
    ]
    if not isinstance(settings.source, str | PathLike | None):
        wrong.append(f"source: expected the file that the model came from, got {kind_of(settings.source)}")
    elif settings.source is not None and Path(settings.source).is_dir():
        collect_errors(wrong, find_weights, Path(settings.source))
    elif settings.source is not None and not Path(settings.source).is_file():
        wrong.append(f"{Path(settings.source).absolute()}: there is no such file, which the model is said to come from")
    if type(settings.notice_returns) is not bool:
        wrong.append(f"notice_returns: expected True or False, got {settings.notice_returns!r}")
    if not isinstance(settings.task_path, str | None):
        wrong.append(f"task_path: expected text such as 'my_task:task', got {kind_of(settings.task_path)}")
    if wrong:
        raise RequestError(wrong)
