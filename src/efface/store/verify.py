"""Whether a store is what its history says: every hash again, every row of tags, and the model in service itself."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from efface.auditing.api import audit_models
from efface.auditing.options import AuditOptions
from efface.auditing.report.build import Report
from efface.errors import RequestError
from efface.models.checkpoint import weights_digest
from efface.store.build import load
from efface.store.context import StoreContext
from efface.store.errors import BusyError, DamagedError
from efface.store.files import HASH, KEPT, SUFFIX, hash_of, others_may_read
from efface.store.history import History, Stage
from efface.store.keys import shown
from efface.store.leftovers import Residue, residues
from efface.store.tag_rows import faults, tags_of
from efface.store.task_view import ids_of, named, remaining
from efface.task import Task

TRIES = 5


@dataclass(frozen=True)
class Verification:
    """What was found: `problems` (damage), `warnings`, `residues`, and the new audit of the model in service.

    not_audited: why there is no new audit, where there is none. complete: whether all that was asked for was done.
    """

    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    residues: tuple[Residue, ...]
    checked: dict[str, int]
    report: Report | None = None
    not_audited: str | None = None
    complete: bool = True


def verify(
    core: StoreContext,
    task: Task | None,
    device: torch.device,
    level: str | None = "standard",
    references: int = 4,
    original: nn.Module | None = None,
    progress: bool | None = None,
) -> Verification:
    """Recompute every hash, and audit the model in service on all records forgotten in its lineage.

    Nothing is changed. `original` is the model that the lineage began with, where the store no longer keeps it.
    Raises DamagedError where the history itself cannot be followed.
    """
    history, forgotten, problems, warnings = _state(core)
    checked = {
        "events": history.seq,
        "files": len(history.files()),
        "requests": len(history.requests),
        "records": len(forgotten),
    }
    if original is not None:
        _check_original(history, original)
    still = None if task is None else sum(core.key.tag(name) in forgotten for name in ids_of(task))
    model = None
    if task is not None and not problems:
        serving = history.serving
        model = load(task, core.folder.checked("checkpoints", serving.file, f"version {serving.number}"), device)
    report, why = None, "the audit was left out" if level is None else "no task was given"
    if problems:
        why = "the store is damaged"
    elif task is not None and model is not None and level is not None:
        report, why = _audit(core, task, history, model, device, level, references, original, progress)
    left = residues(core, history, model, still)
    done = not problems and (level is None or report is not None or not _unlearned_in(history))
    return Verification(tuple(problems), tuple(warnings), tuple(left), checked, report, None if report else why, done)


def _state(core: StoreContext) -> tuple[History, set[bytes], list[str], list[str]]:
    """The history, the tags of all forgotten records, what is damaged and what is only odd; anew if others wrote on."""
    for _ in range(TRIES):
        history = core.whole()
        problems = [*core.database.faults(), *_files(core, history), *_reports(core, history), *_link(core, history)]
        with core.database.reading() as connection:
            same = core.refreshed(connection).seq == history.seq
            wrong = faults(core, connection, history) if same else []
            forgotten = set() if wrong or not same else tags_of(core, connection, history, history.honoured)
        if same:
            break
    else:
        raise BusyError("others went on writing to the store while it was verified: try again when it is quieter")
    readable = core.folder.open_to_others() + [core.key_path] * others_may_read(core.key_path)
    odd = [f"{path}: others than its owner may read it" for path in readable]
    return history, forgotten, list(dict.fromkeys([*problems, *wrong])), [*history.clock, *odd, *_strays(core, history)]


def _check_original(history: History, original: nn.Module) -> None:
    first = history.first_of(history.serving.lineage)
    if weights_digest(original) != first.weights:
        raise RequestError(f"the model given is not version {first.number}, which the lineage began with (--original)")


def _strays(core: StoreContext, history: History) -> list[str]:
    """Files that no event names, such as an interrupted run leaves."""
    needed = history.files()
    held = [p for kind in KEPT for p in core.folder.held(kind) if HASH.fullmatch(p.stem) and p.stem not in needed]
    held += core.folder.stray_reports(history.reported)
    if not held or history.open_run is not None or core.folder.at_work():
        return []
    names = [p.relative_to(core.folder.path) for p in held]
    return [f"{name}: nothing in the history names it; the next run removes it" for name in names]


def _files(core: StoreContext, history: History) -> list[str]:
    problems = []
    for version in history.versions.values():
        if not version.removed:
            problems += _one(core, "checkpoints", version.file, f"version {version.number}")
        problems += _one(core, "baselines", version.baseline, f"holdout answers of lineage {version.lineage}")
    run = history.open_run
    if run is not None and run.kept is not None:
        problems += _one(core, "checkpoints", run.kept["file"], f"unfinished run {run.number}")
    for kind in KEPT:
        for path in core.folder.held(kind):
            if path.suffix != SUFFIX or not HASH.fullmatch(path.stem):
                problems.append(f"{kind}/{path.name}: is no file of the store")
    return problems


def _one(core: StoreContext, kind: str, digest: str, what: str) -> list[str]:
    try:
        core.folder.checked(kind, digest, what)
    except DamagedError as error:
        return list(error.problems)
    return []


def _reports(core: StoreContext, history: History) -> list[str]:
    problems = []
    for run in history.runs.values():
        for name, digest in (run.audit or {}).get("files", {}).items():
            path = core.folder.report(run.number) / Path(name).name
            shown_as = path.relative_to(core.folder.path)
            if path.is_symlink() or not path.is_file():
                problems.append(f"{shown_as} is missing")
            elif hash_of(path) != digest:
                problems.append(f"{shown_as} was changed: its content does not have the hash in the history")
    return problems


def _link(core: StoreContext, history: History) -> list[str]:
    if core.folder.serves(history.serving.file) or core.folder.at_work():
        return []
    return [f"{core.folder.link.name} does not lead to version {history.current}; efface run puts that right"]


def _audit(
    core: StoreContext,
    task: Task,
    history: History,
    model: nn.Module,
    device: torch.device,
    level: str,
    references: int,
    original: nn.Module | None,
    progress: bool | None,
) -> tuple[Report | None, str]:
    """Audit all records that were forgotten since the lineage began; or why not."""
    serving, first = history.serving, history.first_of(history.serving.lineage)
    numbers = _unlearned_in(history)
    if not numbers:
        retrained = "it began with a model trained without them"
        why = retrained if first.kind == "retrained" else "no request was honoured yet"
        return None, f"nothing was unlearned in this lineage: {why}"
    if original is None and first.removed:
        return None, (
            f"version {first.number}, which the lineage began with, was removed because it knew the records: give your "
            "own copy to compare with (--original), if you still have one"
        )
    if original is None:
        original = load(task, core.folder.checked("checkpoints", first.file, f"version {first.number}"), device)
    with core.database.reading() as connection:
        before = tags_of(core, connection, history, history.honoured_by(first.number))
        wanted = tags_of(core, connection, history, numbers) - before
    left = remaining(task, core.key, before)
    at = {position: tag for position, tag in enumerate(map(core.key.tag, ids_of(task))) if tag in wanted}
    if not at:
        return None, "none of the forgotten records is in the training set any more, so nothing can be read of them"
    seeds = {run.plan["seed"] for run in history.runs.values() if run.stage is Stage.DONE}
    told = named(left, {position: shown(tag) for position, tag in at.items()})
    try:
        report = audit_models(
            original=original,
            unlearned=model,
            forget=[shown(tag) for tag in sorted(at.values())],
            task=told,
            level=level,
            references=references,
            options=AuditOptions(
                run_seed=seeds.pop() if len(seeds) == 1 else None,
                title=f"Version {serving.number}: all that was forgotten since version {first.number}",
                progress=progress,
            ),
        )
    except RequestError as error:
        return None, "; ".join(error.problems)
    return report, ""


def _unlearned_in(history: History) -> set[int]:
    """The requests that were honoured since the lineage in service began."""
    serving = history.serving
    return history.honoured_by(serving.number) - history.honoured_by(history.first_of(serving.lineage).number)
