"""What else may hold the records that a model has forgotten; the store sees to its own, and names the rest."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from efface.store.context import StoreContext
from efface.store.files import hash_of
from efface.store.gc import goes, superseded
from efface.store.history import History

WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
SHOWN = 5


@dataclass(frozen=True)
class Residue:
    """A place that may hold forgotten records, and what to do about it; `found` says that it was seen to be there."""

    what: str
    found: bool
    advice: str


def residues(core: StoreContext, history: History, model: nn.Module | None, still_there: int | None) -> list[Residue]:
    """All places, those first that were seen; `still_there` forgotten records stand in the training set."""
    found = [*_own(core, history), *_source(history), *_training(still_there), *_statistics(model)]
    return sorted([*found, *_ELSEWHERE], key=lambda r: not r.found)


def _own(core: StoreContext, history: History) -> list[Residue]:
    held = []
    for version in superseded(history):
        day, known = goes(history, version), _listing(history.knows(version.number))
        held.append(
            Residue(
                f"version {version.number} in the store: knows the records of {known}",
                True,
                f"kept for audits until {day:%Y-%m-%d}, then removed by the next run" if day else "kept",
            )
        )
    if history.reported:
        held.append(
            Residue(
                f"{core.folder.reports}: how each forgotten record is answered, by tag",
                True,
                "they are the evidence; who has the models and the data can tell whose they are, so keep them as such",
            )
        )
    if history.uncleared:
        held.append(
            Residue(
                f"{core.database.path.name}-wal: ids that were deleted may still stand in it",
                True,
                "another process reads from the database: close it, and call efface run",
            )
        )
    return held


def _source(history: History) -> list[Residue]:
    """The file that the store was made from, and weights that lie beside it."""
    if history.source is None or not history.honoured:
        return []
    source = Path(history.source)
    first = history.versions[1]
    held = []
    try:
        if source.is_file() and hash_of(source) == history.settings["source_hash"]:
            held.append(Residue(f"{source}: the file that the store was made from", True, "delete it"))
        beside = sorted(
            p
            for p in source.parent.iterdir()
            if p.suffix in WEIGHTS and p != source and p.is_file() and p.stem != first.file
        )
    except OSError:
        return held
    more = f" and {len(beside) - SHOWN} more" if len(beside) > SHOWN else ""
    if beside:
        names = ", ".join(p.name for p in beside[:SHOWN])
        held.append(Residue(f"other weights beside it: {names}{more}", True, "delete those that knew the records"))
    return held


def _training(still_there: int | None) -> list[Residue]:
    if not still_there:
        return []
    what = f"{still_there} forgotten records stand in the task's training set"
    return [Residue(what, True, "delete them there too, if Task.ids names records by ids of their own")]


def _statistics(model: nn.Module | None) -> list[Residue]:
    if model is None:
        return []
    layers = [name for name, m in model.named_modules() if getattr(m, "running_mean", None) is not None]
    if not layers:
        return []
    what = f"running statistics of {len(layers)} normalisation layers ({layers[0]}, ...): averages over all records"
    return [Residue(what, True, "recompute them on what is left, where one record could weigh in them; or retrain")]


def _listing(numbers: set[int]) -> str:
    ordered = sorted(numbers)
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return f"request{'s' * (len(ordered) > 1)} {', '.join(map(str, ordered[:SHOWN]))}{more}"


_ELSEWHERE = (
    Residue("optimiser state of the original's training (Adam's moments)", False, "delete it; never resume from it"),
    Residue(
        "averaged copies of the weights (EMA, SWA)", False, "delete them, or average anew from the unlearned model"
    ),
    Residue("older checkpoints and backups of them or of this store", False, "let them expire, and never serve them"),
    Residue("models made from the original: distilled, fine-tuned, quantised, exported", False, "make them anew"),
    Residue("reference models and ensembles kept by efface audit --cache", False, "delete the cache's folder"),
    Residue("features, embeddings, indexes and logs that hold the records or answers about them", False, "delete them"),
)
