"""The commands `efface backup`, `restore` and `head`: copies of a store, and noticing that it was put back to one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

import efface
from efface.cli.failures import Code, done, guarded
from efface.cli.output import print_json
from efface.cli.parameters import DEFAULT_STORE, NOTED, Json, KeyFile, NotedHead, StorePlace
from efface.cli.store_opening import open_store
from efface.errors import RequestError, collect_errors
from efface.runtime.files import as_absolute
from efface.runtime.jsonable import to_jsonable
from efface.runtime.printing import how_many
from efface.store.backup_places import check_restoration
from efface.store.noted_head import read_notes

if TYPE_CHECKING:
    from efface.store import Backup, Restoration

app = typer.Typer()  # cli/main.py adds its commands to its own


@app.command(epilog="Example:\n\nefface backup --out /backups/store-2026-12-24")
def backup(
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where to write; must be absent or empty.", show_default=False)
    ],
    store: StorePlace = DEFAULT_STORE,
    key: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Copy a store as of one moment, verified and without its key, while it may be in use."""
    with guarded(as_json) as stdout:
        made = open_store(store, key).backup(out)
        done(Code.VERIFIED, f"the backup is in {made.path}")
        if as_json:
            print_json({**to_jsonable(made), "head": str(made.head), "holds": made.holds}, stdout)
        else:
            _show_backup(made, stdout)


@app.command(
    epilog="Example:\n\nefface restore /backups/store-2026-12-24 --key /safe/efface-store.key --against old-store",
)
def restore(
    backup: Annotated[
        Path, typer.Argument(metavar="BACKUP", help="The folder that efface backup made.", show_default=False)
    ],
    store: StorePlace = DEFAULT_STORE,
    key: KeyFile = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The store that the backup was made of, if it can still be read: what was done since is listed.",
        ),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(metavar="SEQ:HASH", help=f"The head noted last, which shows whether anything was done: {NOTED}."),
    ] = None,
    bring_back: Annotated[
        bool,
        typer.Option(
            "--bring-back", help="Restore it although what is listed comes back; without this it is only listed."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a store of a backup; ids and models that would come back by that are listed, and asked about."""
    with guarded(as_json) as stdout:
        problems: list[str] = []
        notes = [] if head is None else collect_errors(problems, read_notes, head, "--head")
        given = (("store", store), ("key", key), ("against", against))
        places = [None if p is None else collect_errors(problems, as_absolute, f"--{name}", p) for name, p in given]
        if places[0] is not None:
            collect_errors(problems, check_restoration, backup, places[0], *places[1:])
        if problems:
            raise RequestError(problems)
        made = efface.Store.restore(backup, store, key=key, against=against, head=notes or None, bring_back=bring_back)
        done(Code.VERIFIED, f"the store is in {made.path}")
        if as_json:
            print_json({**to_jsonable(made), "head": str(made.head)}, stdout)
        else:
            _show_restoration(made, stdout)


@app.command(epilog="Example:\n\nefface head >> heads.txt\n\nefface head --check heads.txt")
def head(
    check: NotedHead = None,
    store: StorePlace = DEFAULT_STORE,
    key: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Print the last event of the history, SEQ:HASH, to be noted outside of the store; or check what was noted."""
    with guarded(as_json) as stdout:
        notes = [] if check is None else read_notes(check, "--check", bundles=True)
        opened = open_store(store, key)
        if check is not None:
            opened.check_head(notes)
        last = opened.head()
        if as_json:
            found = {"event": last.seq, "hash": last.hash, "at": last.at, "checked": [str(note) for note in notes]}
            print_json({"head": str(last), **found, "retired": opened.retired}, stdout)
            return
        if check is None:
            print(last, file=stdout)
            return

        from efface.cli.display import make_console, say

        out, latest = make_console(stdout), max(note.seq for note in notes)
        after = "the last one" if latest == last.seq else f"with {last.seq - latest} after it"
        say(out, f"The history holds what was noted{f': event {latest}, {after}' if latest else ''}.")
        if opened.retired:
            say(out, "Without the key nobody can tell whether events were changed.")


def _show_backup(made: "Backup", stdout: TextIO) -> None:
    """Print what a backup holds, how long it may be kept, and what to keep apart from it."""
    from efface.cli.display import make_console, say

    out = make_console(stdout)
    say(out, f"Backup made: {made.path}")
    say(
        out,
        f"  {how_many(made.files, 'file')} and the database, {made.size:,} bytes, verified; "
        f"{how_many(made.head.seq, 'event')}.",
    )
    say(out, "It holds:")
    for line in made.holds:
        say(out, f"  - {line}.")
    say(out, f"The key is not in it: {made.key_path}")
    say(out, "  Keep a copy of the key elsewhere, not beside the backup: together they name everyone who asked, and")
    say(
        out,
        "  without it the backup cannot be restored. A key is destroyed by efface retire, and then so must its copies.",
    )
    say(out, f"Note the head outside of both: {made.head}")


def _show_restoration(made: "Restoration", stdout: TextIO) -> None:
    """Print where a store was restored to, what came back with it, and what to do now."""
    from efface.cli.display import make_console, say, say_next
    from efface.store.wording import moment

    out = make_console(stdout)
    say(out, f"Store restored: {made.path}")
    say(out, f"  as of {moment(made.taken)}; event {made.head.seq} of its history says so.")
    for line in made.brought_back:
        say(out, f"  - came back: {line}")
    say_next(out, made.next_steps)
