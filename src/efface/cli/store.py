"""The commands of a store: `efface init`, `run`, `status`, `verify`, `export`, `rollback` and `retire`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import efface
from efface.auditing.config import REFERENCES
from efface.cli.checks import check_level, check_method, check_weights_of
from efface.cli.failures import Code, guarded
from efface.cli.output import print_json
from efface.cli.parameters import (
    DEFAULT_STORE,
    Checkpoint,
    Device,
    Json,
    KeyFile,
    MethodCommand,
    MethodKey,
    MethodOptions,
    OtherTask,
    ReferenceModels,
    RequestNumber,
    Seed,
    StoreAuditLevel,
    StorePlace,
    TaskPath,
)
from efface.cli.store_opening import check_store_words, open_store, open_with_task
from efface.cli.taskpath import check_task_path, load_task, working_folder_importable
from efface.errors import RequestError, collect_errors
from efface.runtime.devices import check_device_name, resolve_device
from efface.runtime.jsonable import to_jsonable
from efface.store.place import check_new_store, places_of
from efface.store.plan import RunPlan, check_accept
from efface.store.settings import DriftLimits, StoreSettings

if TYPE_CHECKING:
    from torch import nn

    from efface.task import Task


app = typer.Typer()  # cli/main.py adds its commands to its own


@app.command(epilog="Example:\n\nefface init my_task:task --checkpoint model.safetensors")
def init(
    task: TaskPath,
    checkpoint: Checkpoint,
    store: StorePlace = DEFAULT_STORE,
    key: KeyFile = None,
    grace: Annotated[
        float,
        typer.Option(min=0.0, help="Days for which superseded models, which know the records, are kept for audits."),
    ] = StoreSettings.grace_days,
    most_changed: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of changed holdout answers past which a retraining is due.")
    ] = DriftLimits.changed,
    most_lost: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Lost holdout accuracy past which a retraining is due.")
    ] = DriftLimits.accuracy,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Make a store of deletion requests for a trained model."""
    with guarded(as_json) as stdout, working_folder_importable():
        problems: list[str] = []
        collect_errors(problems, check_task_path, task)
        collect_errors(problems, check_weights_of, "--checkpoint", checkpoint)
        collect_errors(problems, check_device_name, device)
        collect_errors(problems, lambda: check_new_store(*places_of(store, key)))
        if problems:
            raise RequestError(problems)

        from efface.cli.loading import load_model
        from efface.task import missing_build_model

        loaded = collect_errors(problems, load_task, task)
        model = None if loaded is None else collect_errors(problems, load_model, loaded, checkpoint)
        place = collect_errors(problems, resolve_device, device)
        if loaded is not None and loaded.build_model is None:
            problems.append(missing_build_model(task))
        if problems or loaded is None or model is None:
            raise RequestError(problems)
        made = efface.Store.create(
            store,
            loaded,
            model.to(place).eval(),
            key=key,
            settings=StoreSettings(
                grace_days=grace, limits=DriftLimits(most_changed, most_lost), source=checkpoint, task_path=task
            ),
            device=device,
        )
        if as_json:
            print_json({"store": str(made.path), "key": str(made.key_path), "current": str(made.current)}, stdout)
        else:
            from efface.cli.store_display import show_made

            show_made(made, stdout)


@app.command(cls=MethodCommand, epilog="Example:\n\nefface run\n\nefface run --retrain")
def run(
    store: StorePlace = DEFAULT_STORE,
    key: KeyFile = None,
    task: OtherTask = None,
    method: MethodKey = "steer",
    option: MethodOptions = None,
    seed: Seed = 0,
    level: StoreAuditLevel = "standard",
    reference_models: ReferenceModels = REFERENCES,
    accept: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The least that the audit must conclude for the model to go into service: verified, undecided or any.",
        ),
    ] = "undecided",
    no_audit: Annotated[bool, typer.Option("--no-audit", help="Judge nothing; the exit code is then 3.")] = False,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train anew on what is left, by Task.fit, and begin a new lineage.")
    ] = False,
    wait: Annotated[float, typer.Option(min=0.0, help="Seconds to wait for another run on the same store.")] = 0.0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Honour all pending requests as one batch; an interrupted run goes on where it was."""
    with guarded(as_json) as stdout, working_folder_importable():
        problems: list[str] = []
        check_store_words(problems, store, task, device)
        options = collect_errors(problems, check_method, method, option or [])
        collect_errors(problems, check_level, level)
        collect_errors(problems, check_accept, accept)
        if problems:
            raise RequestError(problems)

        from efface.cli.store_display import show_run

        chosen = collect_errors(problems, efface.methods.get, method, options)
        opened = collect_errors(problems, open_with_task, store, key, task, device)
        if problems or opened is None or chosen is None:
            raise RequestError(problems)
        plan = RunPlan(
            method=method,
            options=asdict(chosen) if option else {},
            seed=seed,
            level=None if no_audit else level,
            references=reference_models,
            accept=accept,
            retrain=retrain,
        )
        outcome = opened[0].run(plan, wait_s=wait)
        if as_json:
            print_json(to_jsonable(outcome), stdout)
        else:
            show_run(outcome, opened[0], stdout)
        raise typer.Exit(Code.of_run(outcome.status, outcome.version is not None))


@app.command(epilog="Example:\n\nefface status --check || mail -s 'deletion requests' team@example.org")
def status(
    store: StorePlace = DEFAULT_STORE,
    key: KeyFile = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="For a timer: end with code 3 where a request is overdue, a retraining is due, a run is unfinished, "
            "the wrong model is served or the key is missing.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show which version honours which requests, and what is overdue."""
    with guarded(as_json) as stdout:
        seen = open_store(store, key).status()

        from efface.cli.store_display import print_answer, show_overview

        print_answer(seen, as_json, stdout, show_overview)
        if check and (seen.overdue or seen.retraining or seen.unfinished or seen.misplaced or seen.retired):
            raise typer.Exit(Code.NOT_VERIFIED)


@app.command(epilog="Example:\n\nefface verify")
def verify(
    store: StorePlace = DEFAULT_STORE,
    key: KeyFile = None,
    task: OtherTask = None,
    level: StoreAuditLevel = "standard",
    reference_models: ReferenceModels = REFERENCES,
    no_audit: Annotated[bool, typer.Option("--no-audit", help="Recompute the hashes only.")] = False,
    original: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The model that the lineage began with, where the store no longer keeps it."),
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Recompute every hash, audit the model in service again, and name what else may hold the records."""
    with guarded(as_json) as stdout, working_folder_importable():
        problems: list[str] = []
        check_store_words(problems, store, task, device)
        collect_errors(problems, check_level, level)
        if original is not None:
            collect_errors(problems, check_weights_of, "--original", original)
        if problems:
            raise RequestError(problems)

        from efface.cli.store_display import print_answer, show_verification

        opened, loaded = open_with_task(store, key, task, device)
        before = None if original is None else _original(loaded, original, device)
        found = opened.verify(None if no_audit else level, reference_models, before)
        print_answer(found, as_json, stdout, show_verification)
        if found.problems:
            raise typer.Exit(Code.DAMAGED)
        if found.report is not None:
            raise typer.Exit(Code.of(found.report.verdict.status))
        raise typer.Exit(Code.VERIFIED if found.complete else Code.NOT_VERIFIED)


@app.command(epilog="Example:\n\nefface export 3 --out request-3")
def export(
    request: RequestNumber,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where to write; must be absent or empty.", show_default=False)
    ],
    store: StorePlace = DEFAULT_STORE,
    key: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Write a folder that shows how a request was honoured, without the records or their ids."""
    with guarded(as_json) as stdout:
        files = open_store(store, key).export(request, out)
        if as_json:
            print_json({"files": [str(f) for f in files]}, stdout)
        else:
            from efface.cli.store_display import show_export

            show_export(request, files, stdout)


@app.command(epilog="Example:\n\nefface rollback 4")
def rollback(
    version: Annotated[int, typer.Argument(metavar="VERSION", help="Number of the version.", show_default=False)],
    store: StorePlace = DEFAULT_STORE,
    key: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Put an earlier version into service; refused if a request would no longer be honoured."""
    with guarded(as_json) as stdout:
        opened = open_store(store, key)
        opened.rollback(version)

        from efface.cli.store_display import print_answer, show_overview

        print_answer(opened.status(), as_json, stdout, show_overview)


@app.command(epilog="Example:\n\nefface retire --yes")
def retire(
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this nothing is done.")] = False,
    store: StorePlace = DEFAULT_STORE,
    key: KeyFile = None,
    as_json: Json = False,
) -> None:
    """End a store for good: cancel pending requests, remove models that know forgotten records, destroy the key."""
    with guarded(as_json) as stdout:
        opened = open_store(store, key)
        if not yes:
            waiting = len(opened.status().pending)
            raise RequestError(
                f"this destroys {opened.key_path} and cancels {waiting} pending requests, for good: --yes does it"
            )
        pending = opened.retire()
        if as_json:
            print_json({"cancelled": pending}, stdout)
        else:
            print(f"The store is retired; {len(pending)} pending requests were cancelled.", file=stdout)


def _original(task: "Task", path: Path, device: str) -> "nn.Module | None":
    from efface.cli.loading import load_model

    model = load_model(task, path)
    return None if model is None else model.to(resolve_device(device)).eval()
