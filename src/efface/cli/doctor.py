"""The command `efface doctor`: what efface sees in a task and its model before anything is asked."""

import typer

from efface.cli.checks import check_weights_of
from efface.cli.failures import Code, guarded
from efface.cli.output import print_json
from efface.cli.parameters import Checkpoint, Device, Json, TaskPath
from efface.cli.taskpath import check_task_path, working_folder_importable
from efface.errors import RequestError, collect_errors
from efface.runtime.devices import check_device_name

app = typer.Typer()  # cli/main.py adds its command to its own


@app.command(epilog="Example:\n\nefface doctor my_task:task --checkpoint model.safetensors")
def doctor(
    task: TaskPath,
    checkpoint: Checkpoint,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Show what efface sees in a task and its model, and what is missing, before anything is asked.

    Ends with code 0 where a deletion request could start, and 2 where any would be refused.
    """
    with guarded(as_json) as stdout, working_folder_importable():
        problems: list[str] = []
        collect_errors(problems, check_task_path, task)
        collect_errors(problems, check_weights_of, "--checkpoint", checkpoint)
        collect_errors(problems, check_device_name, device)
        if problems:
            raise RequestError(problems)

        from efface.cli.loading import load_examined
        from efface.runtime.jsonable import to_jsonable

        found = load_examined(task, checkpoint, device)
        if as_json:
            print_json(to_jsonable(found.as_json()), stdout)
        else:
            from efface.cli.doctor_display import show_examination

            show_examination(found, stdout)
        raise typer.Exit(Code.READY if found.can_start else Code.REFUSED)
