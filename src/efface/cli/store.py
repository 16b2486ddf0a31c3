"""The command line's verbs of a store: `efface init`, `run`, `status`, `verify`, `export` and `rollback`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from torch import nn

from efface.auditing.config import REFERENCES, Level
from efface.cli.failures import Code, guarded
from efface.cli.loading import choose_method, load_model, working_folder_importable
from efface.cli.output import print_json
from efface.cli.store_display import (
    as_json_of,
    show_export,
    show_made,
    show_overview,
    show_run,
    show_verification,
    tell,
)
from efface.cli.taskpath import load_task
from efface.errors import RequestError, collect_errors
from efface.methods import REGISTRY
from efface.options import nearest
from efface.runtime.devices import resolve_device
from efface.store import DriftLimits, RunPlan, Store, StoreSettings
from efface.store.place import KEY_VARIABLE
from efface.store.plan import ACCEPT
from efface.task import missing_build_model

Place = Annotated[
    Path, typer.Option("--store", metavar="FOLDER", envvar="EFFACE_STORE", help="The store.", show_default=True)
]
Key = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", envvar=KEY_VARIABLE, help="The store's key; by default beside its folder."),
]
TaskOption = Annotated[
    str | None, typer.Option("--task", metavar="MODULE:NAME", help="The task, where it is not the one given to init.")
]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or cuda:N.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document on standard output.")]
AuditLevel = Annotated[str, typer.Option(metavar="NAME", help="What the audit spends: quick, standard or strong.")]
ReferenceModels = Annotated[int, typer.Option(min=1, help="Reference models that the audit trains for itself.")]
HERE = Path("efface-store")


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command(epilog="Example:\n\nefface init my_task:task --checkpoint model.safetensors")(init)
    app.command(epilog="Example:\n\nefface run\n\nefface run --retrain")(run)
    app.command(epilog="Example:\n\nefface status --check || mail -s 'deletion requests' team@example.org")(status)
    app.command(epilog="Example:\n\nefface verify")(verify)
    app.command(epilog="Example:\n\nefface export 3 --out request-3")(export)
    app.command(epilog="Example:\n\nefface rollback 4")(rollback)
    app.command(epilog="Example:\n\nefface retire --yes")(retire)


def open_store(place: Path, key: Path | None, device: str = "cpu") -> Store:
    """The store without its task, for verbs that read no records."""
    return Store(place, key=key, device=device)


def open_with_task(place: Path, key: Path | None, task: str | None, device: str = "cpu") -> Store:
    """The store with the task that it was made with, or another that is named."""
    bare = open_store(place, key, device)
    named = task or bare.task_path
    if named is None:
        raise RequestError("the store was made without a task's name: give it (--task MODULE:NAME)")
    return Store(place, load_task(named), key=key, device=device)


def init(
    task: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:NAME",
            help="An efface.Task, or a function that returns one, in a module that can be imported from the working "
            "folder; its build_model makes the network.",
            show_default=False,
        ),
    ],
    checkpoint: Annotated[
        Path, typer.Option(metavar="FILE", help="Weights of the trained model: .safetensors, .pt or .pth.")
    ],
    store: Place = HERE,
    key: Key = None,
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
        loaded = collect_errors(problems, load_task, task)
        model = collect_errors(problems, load_model, loaded, checkpoint, "--checkpoint")
        place = collect_errors(problems, resolve_device, device)
        if loaded is not None and loaded.build_model is None:
            problems.append(missing_build_model(task))
        if problems or loaded is None or model is None:
            raise RequestError(problems)
        made = Store.create(
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
            show_made(made, stdout)


def run(
    store: Place = HERE,
    key: Key = None,
    task: TaskOption = None,
    method: Annotated[str, typer.Option(metavar="KEY", help=f"One of {', '.join(REGISTRY)}.")] = "steer",
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="An option of the method (see efface methods); may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything drawn at random.")] = 0,
    level: AuditLevel = "standard",
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
        chosen = collect_errors(problems, choose_method, method, option or [])
        collect_errors(problems, _check_words, level, accept)
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
        outcome = opened.run(plan, wait_s=wait)
        if as_json:
            print_json(as_json_of(outcome), stdout)
        else:
            show_run(outcome, opened, stdout)
        if outcome.status != "nothing" and outcome.version is None:
            raise typer.Exit(Code.REJECTED)
        raise typer.Exit(Code.VERIFIED if outcome.status in ("verified", "retrained", "nothing") else Code.NOT_VERIFIED)


def status(
    store: Place = HERE,
    key: Key = None,
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
        tell(seen, as_json, stdout, show_overview)
        if check and (seen.overdue or seen.retraining or seen.unfinished or seen.misplaced or seen.retired):
            raise typer.Exit(Code.NOT_VERIFIED)


def verify(
    store: Place = HERE,
    key: Key = None,
    task: TaskOption = None,
    level: AuditLevel = "standard",
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
        collect_errors(problems, _check_words, level, ACCEPT[0])
        opened = collect_errors(problems, open_with_task, store, key, task, device)
        if problems or opened is None:
            raise RequestError(problems)
        before = None if original is None else _original(opened, original, device)
        found = opened.verify(None if no_audit else level, reference_models, before)
        tell(found, as_json, stdout, show_verification)
        if found.problems:
            raise typer.Exit(Code.DAMAGED)
        if found.report is not None:
            raise typer.Exit(Code.of(found.report.verdict.status))
        raise typer.Exit(Code.VERIFIED if found.complete else Code.NOT_VERIFIED)


def export(
    request: Annotated[int, typer.Argument(metavar="REQUEST", help="Number of the request.", show_default=False)],
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where to write; must be absent or empty.", show_default=False)
    ],
    store: Place = HERE,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Write a folder that shows how a request was honoured, without the records or their ids."""
    with guarded(as_json) as stdout:
        files = open_store(store, key).export(request, out)
        if as_json:
            print_json({"files": [str(f) for f in files]}, stdout)
        else:
            show_export(request, files, stdout)


def rollback(
    version: Annotated[int, typer.Argument(metavar="VERSION", help="Number of the version.", show_default=False)],
    store: Place = HERE,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Put an earlier version into service; refused if a request would no longer be honoured."""
    with guarded(as_json) as stdout:
        opened = open_store(store, key)
        opened.rollback(version)
        tell(opened.status(), as_json, stdout, show_overview)


def retire(
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this nothing is done.")] = False,
    store: Place = HERE,
    key: Key = None,
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


def _check_words(level: str, accept: str) -> None:
    problems = []
    known = [str(x) for x in Level]
    if level not in known:
        problems.append(f"level {level!r} is unknown ({nearest(level, known)}) (--level)")
    if accept not in ACCEPT:
        problems.append(f"{accept!r} is unknown ({nearest(accept, ACCEPT)}) (--accept)")
    if problems:
        raise RequestError(problems)


def _original(opened: Store, path: Path, device: str) -> nn.Module | None:
    model = load_model(opened.task, path, "--original")
    return None if model is None else model.to(resolve_device(device)).eval()
