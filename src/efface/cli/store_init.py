"""The command `efface init`, which makes a store."""

from typing import Annotated

import typer

import efface
from efface.cli.checks import check_weights_of
from efface.cli.failures import Code, done, guarded
from efface.cli.output import print_json
from efface.cli.parameters import (
    DEFAULT_STORE,
    Checkpoint,
    Device,
    Json,
    KeyFile,
    StorePlace,
    TaskPath,
)
from efface.cli.taskpath import check_task_path, load_task, working_folder_importable
from efface.errors import RequestError, collect_errors
from efface.runtime.devices import check_device_name, resolve_device
from efface.store.place import check_new_store, places_of
from efface.store.settings import DriftLimits, StoreSettings

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
    notice_returns: Annotated[
        bool,
        typer.Option(
            "--notice-returns/--no-notice-returns",
            help="Keep a keyed hash of each forgotten record's content, by which it is noticed under another id.",
        ),
    ] = StoreSettings.notice_returns,
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
                grace_days=grace,
                limits=DriftLimits(most_changed, most_lost),
                source=checkpoint,
                task_path=task,
                notice_returns=notice_returns,
            ),
            device=device,
        )
        done(Code.VERIFIED, f"the store is {made.path}, and its key {made.key_path}")
        if as_json:
            print_json({"store": str(made.path), "key": str(made.key_path), "current": str(made.current)}, stdout)
        else:
            from efface.cli.store_display import show_made

            show_made(made, stdout)
