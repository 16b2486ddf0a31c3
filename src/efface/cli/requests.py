"""The command line's `efface request`: ask for records to be forgotten, and see what became of it."""

from typing import Annotated

import typer

from efface.cli.failures import guarded
from efface.cli.loading import read_ids, working_folder_importable
from efface.cli.output import print_json
from efface.cli.store import HERE, Json, Key, Place, TaskOption, open_store, open_with_task
from efface.cli.store_display import as_json_of, show_answer, show_request, show_requests, tell

app = typer.Typer(
    help="Deletion requests: add, list, show or cancel them.",
    epilog='Example:\n\nefface request add --ids ids.txt --note "ticket 4711" --due 2026-12-24',
    rich_markup_mode="rich",
)

Number = Annotated[int, typer.Argument(metavar="REQUEST", help="Number of the request.", show_default=False)]


@app.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    """Show the help where no command is named."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(epilog='Example:\n\nefface request add --ids ids.txt --note "ticket 4711" --due 2026-12-24')
def add(
    ids: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="Ids of the records to forget, one a line, in UTF-8; # starts a comment line; - reads standard input.",
            show_default=False,
        ),
    ],
    note: Annotated[
        str | None, typer.Option(metavar="TEXT", help="One line beside the request; it is kept, so name nobody in it.")
    ] = None,
    due: Annotated[str | None, typer.Option(metavar="DATE", help="Honour it until then, as YYYY-MM-DD.")] = None,
    store: Place = HERE,
    key: Key = None,
    task: TaskOption = None,
    as_json: Json = False,
) -> None:
    """Ask for records to be forgotten; the same request twice is one request."""
    with guarded(as_json) as stdout, working_folder_importable():
        opened = open_with_task(store, key, task)
        answer = opened.add(read_ids(ids, opened.task, "--ids"), note, due)
        if as_json:
            told = as_json_of(answer)
            told["request"]["note"] = opened.note(answer.request.number)
            print_json(told, stdout)
        else:
            show_answer(answer, stdout)


@app.command("list", epilog="Example:\n\nefface request list --pending")
def list_all(
    pending: Annotated[bool, typer.Option("--pending", help="Only those that wait for a run.")] = False,
    store: Place = HERE,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """List the requests, with what became of each."""
    with guarded(as_json) as stdout:
        opened = open_store(store, key)
        found = [r for r in opened.requests() if not pending or r.stage == "pending"]
        told = [(r, opened.note(r.number)) for r in found]
        if as_json:
            print_json({"requests": [{**as_json_of(r), "note": note} for r, note in told]}, stdout)
        else:
            show_requests(told, stdout)


@app.command(epilog="Example:\n\nefface request show 3")
def show(
    request: Number,
    ids: Annotated[bool, typer.Option("--ids", help="Name the ids too, as long as they are kept.")] = False,
    store: Place = HERE,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Show everything that is known of one request."""
    with guarded(as_json) as stdout:
        opened = open_store(store, key)
        told = opened.request(request)
        if ids:
            told["ids"] = opened.ids(request)
        tell(told, as_json, stdout, show_request)


@app.command(epilog="Example:\n\nefface request cancel 3")
def cancel(request: Number, store: Place = HERE, key: Key = None, as_json: Json = False) -> None:
    """Withdraw a request that is still pending; its ids are deleted."""
    with guarded(as_json) as stdout:
        opened = open_store(store, key)
        done = opened.cancel(request)
        if as_json:
            print_json(as_json_of(done), stdout)
        else:
            print(f"Request {done.number} is cancelled.", file=stdout)
