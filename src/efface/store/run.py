"""A run: all pending requests are unlearned as one batch, judged, and put into service or refused."""

import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from sqlalchemy import delete
from torch import Tensor, nn

from efface.auditing.api import audit_models
from efface.auditing.options import AuditOptions
from efface.data.checks import MAX_SHARE
from efface.data.ids import RecordIndex
from efface.errors import DivergedError, RequestError, shorten
from efface.models.checkpoint import weights_digest
from efface.runtime.seeds import unchanged_globals
from efface.store.build import load, make, save, to_forget
from efface.store.context import StoreContext
from efface.store.database import plain
from efface.store.drift import Limits, drift_of, past, write_answers
from efface.store.errors import DamagedError
from efface.store.failpoints import reach
from efface.store.gc import drop_orphans, finish, recover
from efface.store.history import Run, Stage, Version
from efface.store.keys import SHOWN, shown
from efface.store.plan import NOT_AUDITED, RETRAINED, Outcome, Plan, check_plan, passes
from efface.store.requests import settle_others
from efface.store.tag_rows import names_faults, names_of, tags_of
from efface.store.task_view import Remaining, emptied, remaining
from efface.task import Task
from efface.types import RecordId

TAG = re.compile(rf"'([0-9a-f]{{{SHOWN}}})'")
OTHER = re.compile(rf"'[0-9a-f]{{{SHOWN}}}:(\d+)'")


def run(
    core: StoreContext, task: Task, plan: Plan, device: torch.device, wait_s: float = 0.0, progress: bool | None = None
) -> Outcome:
    """Honour all pending requests, or go on with a run that was interrupted.

    Raises RequestError for a plan or records that cannot be, BusyError while another run is at work, DamagedError
    where the checkpoint in service is not what it was; the version in service then stays as it is.
    """
    check_plan(plan, task)
    with core.folder.locked(wait_s), unchanged_globals():
        reach("run.locked")
        core.key  # noqa: B018  a retired store has nothing to do here
        recover(core)
        reach("run.recovered")
        batch, resumed = _begin(core, plan)
        if batch is None:
            return Outcome("nothing")
        names: dict[bytes, RecordId] = {}
        try:
            return _carry_out(core, task, plan, batch, names, device, resumed, progress)
        except (RequestError, DivergedError) as error:
            # not what it says: the history is for ever, and a user's own code may say an id
            _end(core, batch, Stage.FAILED, type(error).__name__)
            drop_orphans(core)
            if isinstance(error, RequestError):
                raise RequestError([_for_people(line, names, task) for line in error.problems]) from error
            raise


def _begin(core: StoreContext, plan: Plan) -> tuple[Run | None, bool]:
    """The run to carry out, and whether it was begun before."""
    history = core.history()
    # all options with their values, however they were given
    unfinished, asked = history.open_run, asdict(plan) | {"options": asdict(plan.chosen())}
    if unfinished is not None:
        if unfinished.plan == asked and unfinished.parent == history.current:
            return unfinished, True
        _end(core, unfinished, Stage.ABANDONED, "a run with other settings was asked for")
        drop_orphans(core)
    with core.writing() as book:
        pending = [r.number for r in book.history.pending]
        if not pending and not plan.retrain:
            return None, False
        number = len(book.history.runs) + 1
        book.append("began", {"number": number, "parent": book.history.current, "requests": pending, "plan": asked})
        reach("began.before-commit")
    reach("run.began")
    return book.history.runs[number], False


def _carry_out(
    core: StoreContext,
    task: Task,
    plan: Plan,
    batch: Run,
    names: dict[bytes, RecordId],
    device: torch.device,
    resumed: bool,
    progress: bool | None,
) -> Outcome:
    with core.database.reading() as connection:
        history = core.refreshed(connection)
        names.update(names_of(connection, batch.requests))
        forgotten = tags_of(core, connection, history, history.honoured)
        known = tags_of(core, connection, history, batch.requests)
    # nobody else is forgotten, and nobody is left out, because a row was changed by hand
    if wrong := names_faults(core, f"requests {', '.join(map(str, batch.requests))}", names, known, forgotten):
        raise DamagedError(wrong)
    left = remaining(task, core.key, forgotten)
    at = _positions(task, names, missing_too=plan.retrain)
    leaving = {position: shown(tag) for tag, position in at.items()}
    if not plan.retrain:
        _check_share(len(leaving), len(left.positions))
    reach("run.task-read")
    if batch.kept is None:
        made, kept = make(core, left, leaving, plan, device, progress)
        batch = _keep(core, batch, made, kept)
    else:
        made = load(
            task, core.folder.checked("checkpoints", batch.kept["file"], f"unfinished run {batch.number}"), device
        )
    kept = batch.kept or {}
    forget_classes = emptied(left, leaving)
    audited: dict[str, Any]
    good = True
    if plan.retrain:
        reason, good = _compare(core, task, batch, made, forget_classes)
        audited = {"status": RETRAINED, "reasons": [reason], "files": {}}
    elif plan.level is None:
        audited = {"status": NOT_AUDITED, "reasons": ["no audit was asked for"], "files": {}}
    else:
        audited = batch.audit or _judge(core, left, leaving, plan, batch, made, device, progress)
    reach("run.judged")
    outcome = Outcome(
        status=audited["status"],
        reasons=tuple(audited["reasons"]),
        run=batch.number,
        requests=batch.requests,
        records=len(names),
        warnings=tuple(_for_people(line, names, task) for line in kept.get("warnings", ())),
        resumed=resumed,
    )
    if not (good or plan.accept == "any") or not passes(audited["status"], plan.accept):
        _end(core, batch, Stage.REJECTED, f"{audited['status']}, and {plan.accept} was asked for")
        drop_orphans(core)
        return outcome
    version = _commit(core, task, batch, made, kept, audited, forget_classes)
    reach("run.committed")
    finish(core)
    reach("run.finished")
    due = past(version.drift, Limits(**core.history().settings["limits"]))
    return replace(outcome, version=version, retraining=tuple(due))


def _positions(task: Task, names: Mapping[bytes, RecordId], missing_too: bool) -> dict[bytes, int]:
    """Positions of the records that are to be forgotten, by tag."""
    index = RecordIndex(task.ids, len(task.train))
    found = {tag: at for tag, name in names.items() if (at := index.position(name)) is not None}
    missing = [shown(tag) for tag in names if tag not in found]
    if missing and not missing_too:
        raise RequestError(
            f"{len(missing)} records that are to be forgotten are no longer in the training set ({shorten(missing)}), so "
            "nothing can be unlearned by them: put them back until the run is over, or retrain (--retrain)"
        )
    return found


def _compare(core: StoreContext, task: Task, batch: Run, made: nn.Module, forget_classes: Tensor) -> tuple[str, bool]:
    """How a retrained model's holdout accuracy compares with the first model's before, and whether that will do."""
    before = core.history().versions[batch.parent]
    baseline = core.folder.checked("baselines", before.baseline, f"holdout answers of lineage {before.lineage}")
    drift = drift_of(task, made, baseline, forget_classes)
    if "missing" in drift:
        return f"trained anew without the records; not compared: {drift['missing']}", True
    limit = core.history().settings["limits"]["accuracy"]
    said = f"trained anew without the records; holdout accuracy {drift['accuracy']:+.3f} against the first model before"
    return (said, True) if -drift["accuracy"] <= limit else (f"{said}, which is past the limit of {limit:.3f}", False)


def _check_share(leaving: int, left: int) -> None:
    if leaving > MAX_SHARE * left:
        raise RequestError(
            f"the pending requests hold {leaving / left:.0%} of the training records, and above {MAX_SHARE:.0%} "
            "they cannot be unlearned together: train anew without them (efface run --retrain), or cancel some and ask "
            "again after the run"
        )


def _keep(core: StoreContext, batch: Run, made: nn.Module, noted: dict[str, Any]) -> Run:
    """Keep the weights, so that an interrupted audit need not make them again."""
    file = core.folder.keep("checkpoints", lambda path: save(made, path))
    with core.writing() as book:
        kept = {"file": file, "weights": weights_digest(made), **noted}
        book.append("unlearned", {"number": batch.number, "kept": kept})
        reach("unlearned.before-commit")
    reach("run.staged")
    return book.history.runs[batch.number]


def _judge(
    core: StoreContext,
    left: Remaining,
    leaving: Mapping[int, str],
    plan: Plan,
    batch: Run,
    made: nn.Module,
    device: torch.device,
    progress: bool | None,
) -> dict[str, Any]:
    """Audit the new model and keep the report, in which records have tags for names."""
    assert plan.level is not None
    parent = core.history().versions[batch.parent]
    task = to_forget(left, leaving)
    original = load(task, core.folder.checked("checkpoints", parent.file, f"version {parent.number}"), device)
    report = audit_models(
        original=original,
        unlearned=made,
        forget=sorted(leaving.values()),
        task=task,
        level=plan.level,
        references=plan.references,
        options=AuditOptions(
            method=plan.chosen() if plan.level == "strong" else None,
            run_seed=plan.seed,
            used_reference=(batch.kept or {}).get("reference"),
            title=f"Run {batch.number}: requests {', '.join(map(str, batch.requests))}",
            progress=progress,
        ),
    )
    reach("run.audited")
    verdict = report.verdict
    files = core.folder.keep_report(batch.number, report.save)
    audited = {"status": str(verdict.status), "reasons": list(verdict.reasons), "files": files}
    with core.writing() as book:
        book.append("audited", {"number": batch.number, "audit": audited})
        reach("audited.before-commit")
    return audited


def _commit(
    core: StoreContext,
    task: Task,
    batch: Run,
    made: nn.Module,
    kept: Mapping[str, Any],
    audited: dict[str, Any],
    forget_classes: Tensor,
) -> Version:
    """Put the model into service, and delete the ids of the records that it has forgotten; all of it, or nothing."""
    history = core.history()
    parent = history.versions[batch.parent]
    if batch.plan["retrain"]:
        baseline = core.folder.keep("baselines", lambda path: write_answers(task, made, path))
        lineage, kind, drift = 1 + max(v.lineage for v in history.versions.values()), "retrained", None
    else:
        baseline, lineage, kind = parent.baseline, parent.lineage, "unlearned"
        first = core.folder.checked("baselines", baseline, f"holdout answers of lineage {lineage}")
        drift = drift_of(task, made, first, forget_classes)
    reach("run.drift-read")
    with core.writing() as book:
        number = len(book.history.versions) + 1
        book.append(
            "version",
            {
                "number": number,
                "parent": parent.number,
                "lineage": lineage,
                "kind": kind,
                "run": batch.number,
                "file": kept["file"],
                "weights": kept["weights"],
                "requests": list(batch.requests),
                "baseline": baseline,
                "drift": drift,
                "audit": audited,
            },
        )
        reach("version.appended")
        book.connection.execute(delete(plain).where(plain.c.request.in_(batch.requests)))
        reach("version.plain-deleted")
        settle_others(core, book)
        reach("version.honoured")
        reach("version.before-commit")
    return book.history.versions[number]


def _end(core: StoreContext, batch: Run, stage: Stage, why: str) -> None:
    with core.writing() as book:
        book.append("ended", {"number": batch.number, "stage": str(stage), "why": why})


def _for_people(line: str, names: Mapping[bytes, RecordId], task: Task) -> str:
    """A line about records with their ids in it: nothing else says which, and it is only shown, never kept."""
    by_tag = {shown(tag): name for tag, name in names.items()}
    line = TAG.sub(lambda m: repr(by_tag.get(m[1], m[1])), line)
    ids = task.ids
    return OTHER.sub(lambda m: m[1] if ids is None else repr(ids[int(m[1])]), line)
