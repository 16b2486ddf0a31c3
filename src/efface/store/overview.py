"""The state of a store at one glance."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from sqlalchemy import func, select

from efface.store import clock
from efface.store.context import StoreContext
from efface.store.database import plain
from efface.store.drift import Limits, past
from efface.store.history import Request, Run, Version


@dataclass(frozen=True)
class Overview:
    """What a team has to know.

    honours: the requests that each version honours. overdue: pending requests whose date is over (in UTC).
    unfinished: a run that was interrupted, or is at work. retraining: why one is due. misplaced: whether
    `current.safetensors` leads elsewhere than to the version in service. retired: why nothing can be asked any more.
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
    misplaced: bool
    retired: str | None
    head: tuple[int, str]


def overview(core: StoreContext) -> Overview:
    """The state of a store now."""
    with core.database.reading() as connection:
        history = core.refreshed(connection)
        kept = connection.execute(select(func.count()).select_from(plain)).scalar() or 0
    today = clock.present(history.latest).date()
    warnings = list(history.clock)
    if not core.folder.serves(history.serving.file):
        warnings.append(f"{core.folder.link} does not lead to version {history.current}: efface run puts that right")
    if history.uncleared:
        warnings.append("deleted ids may still stand in the write-ahead log: efface run empties it")
    if core.retired:
        warnings.append("without the key nobody can tell whether the history was changed")
        if kept:
            warnings.append(f"{kept} ids of requests that were pending still stand in {core.database.path.name}")
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
        misplaced=not core.folder.serves(history.serving.file),
        retired=f"on {history.retired[:10]} by efface retire" if history.retired else core.retired,
        head=(history.seq, history.hash),
    )
