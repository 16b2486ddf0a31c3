"""Other places that may still hold forgotten records; the store cleans up its own and lists the rest for people."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from efface.errors import shorten
from efface.models.weights_file import SUFFIXES
from efface.runtime.printing import how_many
from efface.store.context import StoreContext
from efface.store.files import hash_of
from efface.store.gc import removal_date, superseded
from efface.store.history import History
from efface.store.wording import numbered

if TYPE_CHECKING:
    from torch import nn

    from efface.store.still_there import StillThere

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
    context: StoreContext, history: History, model: "nn.Module | None", there: "StillThere | None"
) -> list[Leftover]:
    """All places that may hold forgotten records, those that were found first.

    Args:
        context: the open store.
        history: its history.
        model: the model in service, if it could be loaded.
        there: what of forgotten records is in the training set; None without a task.
    """
    found = [*_own(context, history), *_source(history), *_training(there), *_statistics(model)]
    return sorted([*found, *_ELSEWHERE], key=lambda r: not r.found)


def _own(context: StoreContext, history: History) -> list[Leftover]:
    """What the store itself holds."""
    found = []
    for version in superseded(history):
        day, known = removal_date(history, version), history.known_to(version.number)
        found.append(
            Leftover(
                f"{version.title} in the store: knows the records of {numbered('request', known)}",
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
    if kept := history.fingerprints.forgotten:
        found.append(
            Leftover(
                f"{context.database.path.name}: HMACs of the content of forgotten records ({kept:,})",
                True,
                "kept to notice records that come back; who has the key can confirm a guess of a record by them. "
                "efface init --no-notice-returns keeps none, and efface retire deletes them",
            )
        )
    if history.first_outputs is not None and history.unlearned_in_lineage:
        found.append(
            Leftover(
                f"{context.folder.path / 'baselines'}: what {history.first_of(history.serving.lineage).title} said of "
                "training records that stay",
                True,
                "kept so that the errors of many runs do not add up. What it said of a forgotten record and of those "
                "nearest to it went with the request. efface run --retrain makes all of it anew, efface retire "
                "deletes it",
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


def _training(there: "StillThere | None") -> list[Leftover]:
    if there is None:
        return []
    found = []
    if there.by_id:
        what = f"{_records(there.by_id, 'forgotten')} in the task's training set"
        found.append(Leftover(what, True, "delete them there too, if Task.ids names records by ids of their own"))
    if there.by_content:
        what = f"{_records(there.by_content, 'training')} with the content of forgotten ones, under other ids"
        advice = "efface run names them: delete the rows, or ask for them to be forgotten"
        found.append(Leftover(what, True, advice))
    if there.by_group:
        what = f"{_records(there.by_group, 'training')} of groups that were forgotten, joined since"
        found.append(Leftover(what, True, "efface run names them: delete the rows, or ask for the groups again"))
    return found


def _records(count: int, kind: str) -> str:
    return how_many(count, f"{kind} record")


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
