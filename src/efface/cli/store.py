"""The commands of a store: `efface run`, `verify`, `export`, `rollback` and `retire`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import efface
from efface.auditing.config import REFERENCES, Level
from efface.cli.checks import check_level, check_method, check_no_audit, check_weights_of
from efface.cli.failures import Code, done, guarded
from efface.cli.output import print_json
from efface.cli.parameters import (
    DEFAULT_STORE,
    Device,
    Json,
    KeyFile,
    MethodCommand,
    MethodKey,
    MethodOptions,
    NotedHead,
    OtherTask,
    ReferenceModels,
    Rehearse,
    RequestNumber,
    Seed,
    StoreAuditLevel,
    StorePlace,
)
from efface.cli.store_opening import check_store_words, open_store, open_with_task
from efface.cli.taskpath import working_folder_importable
from efface.errors import RequestError, collect_errors
from efface.runtime.devices import resolve_device
from efface.runtime.jsonable import to_jsonable
from efface.store.noted_head import read_notes
from efface.store.plan import RunPlan, check_accept, contradictions, unused_references

if TYPE_CHECKING:
    from torch import nn

    from efface.task import Task


IN_STATUS = "efface status and efface request list show it"

app = typer.Typer()  # cli/main.py adds its commands to its own


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
            help="The least that the audit must conclude for the model to go into service: verified, "
            "verified_by_rehearsal, no_trace_found, undecided or any.",
        ),
    ] = "undecided",
    no_audit: Annotated[bool, typer.Option("--no-audit", help="Judge nothing; the exit code is then 3.")] = False,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train anew on what is left, by Task.fit, and begin a new lineage.")
    ] = False,
    allow_returned: Annotated[
        bool,
        typer.Option(
            "--allow-returned",
            help="Go on where records that stay have the content of forgotten ones, or are of forgotten groups.",
        ),
    ] = False,
    rehearse: Rehearse = False,
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
        check_no_audit(problems, no_audit, level)
        judged = None if no_audit else level
        problems += contradictions(RunPlan(method, options or {}, seed, judged, reference_models, accept, retrain))
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
            level=judged,
            references=reference_models,
            accept=accept,
            retrain=retrain,
            allow_returned=allow_returned,
            rehearse=rehearse,
        )
        outcome = opened[0].run(plan, wait_s=wait)
        code = Code.of_run(outcome.status, outcome.version is not None, bool(outcome.deferred))
        done(code, IN_STATUS)
        if as_json:
            print_json(to_jsonable(outcome), stdout)
        else:
            show_run(outcome, opened[0], stdout)
        raise typer.Exit(code)


@app.command(epilog="Example:\n\nefface verify")
def verify(
    store: StorePlace = DEFAULT_STORE,
    key: KeyFile = None,
    task: OtherTask = None,
    level: StoreAuditLevel = "standard",
    reference_models: ReferenceModels = REFERENCES,
    no_audit: Annotated[
        bool, typer.Option("--no-audit", help="Without the new audit: recompute the hashes, and compare the records.")
    ] = False,
    original: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The model that the lineage began with, where the store no longer keeps it."),
    ] = None,
    head: NotedHead = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Recompute every hash, audit the model in service again, and name what else may hold the records."""
    with guarded(as_json) as stdout, working_folder_importable():
        problems: list[str] = []
        check_store_words(problems, store, task, device)
        collect_errors(problems, check_level, level)
        check_no_audit(problems, no_audit, level)
        if (no_audit or level == Level.QUICK) and reference_models != REFERENCES:
            problems.append(unused_references(reference_models))
        if original is not None:
            collect_errors(problems, check_weights_of, "--original", original)
        notes = None if head is None else collect_errors(problems, read_notes, head, "--head", bundles=True)
        if problems:
            raise RequestError(problems)

        from efface.cli.store_display import print_answer, show_verification

        opened, loaded = open_with_task(store, key, task, device)
        if notes is not None:
            opened.check_head(notes)
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
    """Write what became of a request, for whoever asked: no records, no ids, nothing of others."""
    with guarded(as_json) as stdout:
        files = open_store(store, key).export(request, out)
        done(Code.VERIFIED, f"the files are in {out}")
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
        done(Code.VERIFIED, IN_STATUS)

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
        seen = opened.status()
        if not yes and seen.unfinished_retirement:
            left = "; ".join(seen.unfinished_retirement)
            raise RequestError(f"the retirement is unfinished: what is left: {left}: --yes goes on with it")
        if not yes and seen.retired and opened.retired:
            raise RequestError(f"the store is retired already: {seen.retired}")
        if not yes:
            waiting = len(seen.pending)
            raise RequestError(
                f"this destroys {opened.key_path} and cancels {waiting} pending requests, for good: --yes does it"
            )
        pending = opened.retire()
        done(Code.VERIFIED, IN_STATUS)
        if as_json:
            print_json({"cancelled": pending}, stdout)
        else:
            print(f"The store is retired; {len(pending)} pending requests were cancelled.", file=stdout)


def _original(task: "Task", path: Path, device: str) -> "nn.Module | None":
    from efface.cli.loading import load_model

    model = load_model(task, path)
    return None if model is None else model.to(resolve_device(device)).eval()
