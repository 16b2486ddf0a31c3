"""The state of a store at one glance."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from efface.store import clock
from efface.store.core import Core
from efface.store.drift import Limits, past
from efface.store.history import Request, Run, Version


@dataclass(frozen=True)
class Overview:
    """What a team has to know.

    honours: the requests that each version honours. overdue: pending requests whose date is over, or honoured too
    late. unfinished: a run that was interrupted, or is at work. retraining: why one is due. retired: why nothing can
    be asked any more.
    """

    serving: Version
    file: Path
    versions: tuple[Version, ...]
    honours: dict[int, tuple[int, ...]]
    pending: tuple[Request, ...]
    overdue: tuple[Request, ...]
    unfinished: Run | None
    retraining: tuple[str, ...]
    warnings: tuple[str, ...]
    retired: str | None
    head: tuple[int, str]


def overview(core: Core) -> Overview:
    """The state of a store now."""
    history = core.history()
    today = max(clock.now().date(), date.fromisoformat(history.at[:10]))  # a clock that jumped back delays no deadline
    warnings = list(history.clock)
    if history.uncleared:
        warnings.append("deleted ids may still stand in the write-ahead log: efface run empties it")
    return Overview(
        serving=history.serving,
        file=core.folder.link,
        versions=tuple(history.versions.values()),
        honours={n: tuple(sorted(history.honoured_by(n))) for n in history.versions},
        pending=tuple(history.pending),
        overdue=tuple(r for r in history.pending if r.due is not None and date.fromisoformat(r.due) < today),
        unfinished=history.open_run,
        retraining=tuple(past(history.serving.drift, Limits(**history.settings["limits"]))),
        warnings=tuple(warnings),
        retired=core.retired,
        head=(history.seq, history.hash),
    )
