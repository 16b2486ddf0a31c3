"""Other places that may still hold forgotten records; the store cleans up its own and lists the rest for people."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from efface.errors import shorten
from efface.models.weights_file import SUFFIXES
from efface.store.context import StoreContext
from efface.store.files import hash_of
from efface.store.gc import removal_date, superseded
from efface.store.history import History

if TYPE_CHECKING:
    from torch import nn

MAX_NAMED = 5


@dataclass(frozen=True)
class Leftover:
    """A place that may hold forgotten records.

    Args:
        what: the place.
        found: whether efface found it; False for places that it cannot see and that people should check.
        advice: what to do about it.
    """

    what: str
    found: bool
    advice: str


def leftovers(
    context: StoreContext, history: History, model: "nn.Module | None", still_there: int | None
) -> list[Leftover]:
    """All places that may hold forgotten records, those that were found first.

    Args:
        context: the open store.
        history: its history.
        model: the model in service, if it could be loaded.
        still_there: how many forgotten records are still in the training set; None without a task.
    """
    found = [*_own(context, history), *_source(history), *_training(still_there), *_statistics(model)]
    return sorted([*found, *_ELSEWHERE], key=lambda r: not r.found)


def _own(context: StoreContext, history: History) -> list[Leftover]:
    """What the store itself holds."""
    found = []
    for version in superseded(history):
        day, known = removal_date(history, version), sorted(history.known_to(version.number))
        found.append(
            Leftover(
                f"{version.title} in the store: knows the records of request{'s' * (len(known) > 1)} "
                f"{shorten(known, MAX_NAMED)}",
                True,
                f"kept for audits until {day:%Y-%m-%d}, then removed by the next run" if day else "kept",
            )
        )
    if history.reported_runs:
        found.append(
            Leftover(
                f"{context.folder.path / 'reports'}: how each forgotten record is answered, by tag",
                True,
                "they are the evidence; who has the models and the data can tell whose they are, so keep them as such",
            )
        )
    if history.uncleared:
        found.append(
            Leftover(
                f"{context.database.path.name}-wal: ids that were deleted may still stand in it",
                True,
                "another process reads from the database: close it, and call efface run",
            )
        )
    return found


def _source(history: History) -> list[Leftover]:
    """The file that the store was made from, and weights that lie beside it."""
    if history.source is None or not history.honoured:
        return []
    source = Path(history.source)
    first = history.versions[1]
    found = []
    try:
        if source.is_file() and hash_of(source) == history.settings["source_hash"]:
            found.append(Leftover(f"{source}: the file that the store was made from", True, "delete it"))
        beside = sorted(
            p
            for p in source.parent.iterdir()
            if p.name.endswith(SUFFIXES) and p != source and p.is_file() and p.stem != first.file
        )
    except OSError:
        return found
    if beside:
        names = shorten((p.name for p in beside), MAX_NAMED, str)
        found.append(Leftover(f"other weights beside it: {names}", True, "delete those that knew the records"))
    return found


def _training(still_there: int | None) -> list[Leftover]:
    if not still_there:
        return []
    what = f"{still_there} forgotten records stand in the task's training set"
    return [Leftover(what, True, "delete them there too, if Task.ids names records by ids of their own")]


def _statistics(model: "nn.Module | None") -> list[Leftover]:
    if model is None:
        return []
    layers = [name for name, m in model.named_modules() if getattr(m, "running_mean", None) is not None]
    if not layers:
        return []
    what = f"running statistics of {len(layers)} normalisation layers ({layers[0]}, ...): averages over all records"
    return [Leftover(what, True, "recompute them on what is left, where one record could weigh in them; or retrain")]


_ELSEWHERE = (
    Leftover("optimiser state of the original's training (Adam's moments)", False, "delete it; never resume from it"),
    Leftover(
        "averaged copies of the weights (EMA, SWA)", False, "delete them, or average anew from the unlearned model"
    ),
    Leftover("older checkpoints and backups of them", False, "let them expire, and never serve them"),
    Leftover(
        "backups of this store (efface backup, or copies of its folder), and half-made ones (.NAME.new)",
        False,
        "delete those made before the last run; restore them by efface restore only, which says what comes back",
    ),
    Leftover("models made from the original: distilled, fine-tuned, quantised, exported", False, "make them anew"),
    Leftover("reference models and ensembles kept by efface audit --cache", False, "delete the cache's folder"),
    Leftover("features, embeddings, indexes and logs with the records or answers about them", False, "delete them"),
)
