"""The command `efface status`: the state of a store, and by `--check` what it needs."""

from typing import Annotated

import typer

from efface.cli.failures import guarded
from efface.cli.output import print_json
from efface.cli.parameters import DEFAULT_STORE, Json, KeyFile, StorePlace
from efface.cli.store_opening import open_store
from efface.errors import RequestError
from efface.runtime.jsonable import to_jsonable

app = typer.Typer()  # cli/main.py adds its command to its own


@app.command(epilog="Example:\n\nefface status --check --within 7 || mail -s 'deletion requests' team@example.org")
def status(
    store: StorePlace = DEFAULT_STORE,
    key: KeyFile = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="For a timer: end with code 4 where the checkpoint in service is damaged, 3 where something must be "
            "done now (a request is overdue or waits, a retraining is due, all runs together show that records are "
            "still known, a run or retirement was interrupted, another model is served, the key is missing, the "
            "clock may be wrong, ids or models that should be gone are there). It reads the checkpoint as a whole.",
        ),
    ] = False,
    within: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="DAYS", help="With --check: end with code 9 where a request is due within so many days."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show which version honours which requests, and what is overdue."""
    with guarded(as_json) as stdout:
        if within is not None and not check:
            raise RequestError("--within is for --check: give both")
        opened = open_store(store, key)
        seen = opened.status()
        alerts = opened.alerts(within) if check else None

        if as_json:
            found = {} if alerts is None else {"alerts": to_jsonable(alerts)}
            print_json({**to_jsonable(seen), **found}, stdout)
        else:
            from efface.cli.store_display import show_overview

            show_overview(seen, stdout, alerts)
        if alerts:
            raise typer.Exit(alerts[0].code)
