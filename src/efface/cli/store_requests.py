"""The commands of `efface request`: add, list, show and cancel deletion requests."""

from typing import Annotated

import typer

from efface.cli.failures import Code, done, guarded
from efface.cli.ids import IdSource, read_id_lines
from efface.cli.output import print_json
from efface.cli.parameters import (
    DEFAULT_STORE,
    ID_LINES,
    ForgetFormat,
    Json,
    KeyFile,
    OtherTask,
    RequestNumber,
    StorePlace,
)
from efface.cli.store_opening import check_store_words, open_store, open_with_task
from efface.cli.taskpath import working_folder_importable
from efface.errors import RequestError, collect_errors
from efface.runtime.jsonable import to_jsonable
from efface.store.dates import read_date

IN_LIST = "efface request list shows it"

app = typer.Typer(
    help="Deletion requests: add, list, show or cancel them.",
    epilog='Example:\n\nefface request add --ids ids.txt --note "ticket 4711" --due 2026-12-24',
    rich_markup_mode="rich",
)


@app.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    """Show the help if no command is given."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(epilog='Example:\n\nefface request add --ids ids.txt --note "ticket 4711" --due 2026-12-24')
def add(
    ids: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help=f"Ids of the records to forget, in UTF-8: {ID_LINES}; - reads standard input."
        ),
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Instead of --ids: keys of Task.groups; all training records of each are meant."
        ),
    ] = None,
    deleted: Annotated[
        bool,
        typer.Option(
            "--deleted",
            help="Take ids that are not known, too: their rows were deleted. efface run --retrain honours them.",
        ),
    ] = False,
    note: Annotated[
        str | None, typer.Option(metavar="TEXT", help="One line beside the request; it is kept, so name nobody in it.")
    ] = None,
    due: Annotated[str | None, typer.Option(metavar="DATE", help="Honour it until then, as YYYY-MM-DD.")] = None,
    store: StorePlace = DEFAULT_STORE,
    key: KeyFile = None,
    task: OtherTask = None,
    ids_format: ForgetFormat = None,
    as_json: Json = False,
) -> None:
    """Ask for records to be forgotten; the same request twice is one request."""
    with guarded(as_json) as stdout, working_folder_importable():
        problems: list[str] = []
        check_store_words(problems, store, task)
        source = collect_errors(problems, _source, ids, groups, ids_format)
        lines = None if source is None else collect_errors(problems, read_id_lines, source)
        day = None if due is None else collect_errors(problems, read_date, due, "due")
        if deleted and groups is not None:
            problems.append("--deleted: a request by group is for the training records that it has: use --ids")
        if problems or lines is None:
            raise RequestError(problems)

        from efface.cli.request_display import show_answer
        from efface.cli.store_adding import order_of

        order = order_of(open_store(store, key), lines, deleted, lambda: open_with_task(store, key, task)[0])
        added = order.store.add(order.asked, note, day, deleted=deleted)
        done(Code.VERIFIED, IN_LIST)
        if as_json:
            document = to_jsonable(added)
            document["warnings"] = order.warnings
            document["request"]["note"] = order.store.note(added.request.number)
            print_json(document, stdout)
        else:
            show_answer(added, order.warnings, stdout)


def _source(ids: str | None, groups: str | None, style: str | None) -> IdSource:
    """The one file that names records."""
    if ids is not None and groups is not None:
        raise RequestError("--ids and --groups: give one of them; what is to be asked for both ways is two requests")
    if groups is not None:
        return IdSource(groups, "--groups", style, by_group=True, style_option="--ids-format")
    if ids is None:
        raise RequestError("name a file of record ids (--ids), or of keys of groups (--groups)")
    return IdSource(ids, "--ids", style)


@app.command("list", epilog="Example:\n\nefface request list --pending")
def list_all(
    pending: Annotated[bool, typer.Option("--pending", help="Only those that wait for a run.")] = False,
    store: StorePlace = DEFAULT_STORE,
    key: KeyFile = None,
    as_json: Json = False,
) -> None:
    """List the requests, with what became of each."""
    with guarded(as_json) as stdout:
        opened = open_store(store, key)

        from efface.cli.request_display import show_requests

        notes = opened.notes()
        noted = [(r, notes.get(r.number)) for r in opened.requests() if not pending or r.stage == "pending"]
        if as_json:
            print_json({"requests": [{**to_jsonable(r), "note": note} for r, note in noted]}, stdout)
        else:
            show_requests(noted, stdout)


@app.command(epilog="Example:\n\nefface request show 3")
def show(
    request: RequestNumber,
    ids: Annotated[bool, typer.Option("--ids", help="Name the ids too, as long as they are kept.")] = False,
    store: StorePlace = DEFAULT_STORE,
    key: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Show everything that is known of one request."""
    with guarded(as_json) as stdout:
        opened = open_store(store, key)
        document = opened.request(request)
        if ids:
            document["ids"] = opened.ids(request)

        from efface.cli.request_display import show_request
        from efface.cli.store_display import print_answer

        print_answer(document, as_json, stdout, show_request)


@app.command(epilog="Example:\n\nefface request cancel 3")
def cancel(
    request: RequestNumber, store: StorePlace = DEFAULT_STORE, key: KeyFile = None, as_json: Json = False
) -> None:
    """Withdraw a request that is still pending; its ids are deleted."""
    with guarded(as_json) as stdout:
        opened = open_store(store, key)
        cancelled = opened.cancel(request)
        done(Code.VERIFIED, IN_LIST)
        if as_json:
            print_json(to_jsonable(cancelled), stdout)
        else:
            print(f"Request {cancelled.number} is cancelled.", file=stdout)
