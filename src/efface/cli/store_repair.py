"""Commands that put right what a store has noted: `efface clock` and `efface refingerprint`."""

from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from efface.cli.failures import Code, done, guarded
from efface.cli.parameters import DEFAULT_STORE, Json, KeyFile, OtherTask, StorePlace
from efface.cli.store_opening import check_store_words, open_store, open_with_task
from efface.cli.taskpath import working_folder_importable
from efface.errors import RequestError
from efface.store.wording import moment

if TYPE_CHECKING:
    from efface.store import ClockState, Refingerprinting

app = typer.Typer()  # cli/main.py adds its commands to its own


@app.command(epilog="Example:\n\nefface clock\n\nefface clock --reset")
def clock(
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Note that the machine's clock is right, as after a year without events.")
    ] = False,
    reset: Annotated[
        bool,
        typer.Option(
            "--reset",
            help="Note that times in the future of the machine's clock were wrong; they count as the present.",
        ),
    ] = False,
    store: StorePlace = DEFAULT_STORE,
    key: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Compare the machine's clock with the times in the history; say that it is right, or was wrong."""
    with guarded(as_json) as stdout:
        if confirm and reset:
            raise RequestError(
                "--confirm says that the times in the history are right, and --reset that they are not: give one"
            )
        opened = open_store(store, key)
        state = opened.confirm_clock() if confirm else opened.reset_clock() if reset else opened.clock()
        if confirm or reset:
            done(Code.VERIFIED, "efface clock shows it")

        from efface.cli.store_display import print_answer

        print_answer(state, as_json, stdout, show_clock)


@app.command(epilog="Example:\n\nefface refingerprint --dry-run")
def refingerprint(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would change.")] = False,
    store: StorePlace = DEFAULT_STORE,
    key: KeyFile = None,
    task: OtherTask = None,
    as_json: Json = False,
) -> None:
    """Take the contents of the training records as they are now, after a decoder or an order changed on purpose."""
    with guarded(as_json) as stdout, working_folder_importable():
        problems: list[str] = []
        check_store_words(problems, store, task)
        if problems:
            raise RequestError(problems)
        found = open_with_task(store, key, task)[0].refingerprint(dry_run)
        if found.done:
            done(Code.VERIFIED, "efface refingerprint --dry-run shows what it noted")

        from efface.cli.store_display import print_answer

        print_answer(found, as_json, stdout, show_refingerprinting)


def show_refingerprinting(found: "Refingerprinting", stdout: TextIO) -> None:
    """Print what changed in the contents of the training records."""
    from efface.cli.display import make_console, say

    out = make_console(stdout)
    verb = "were" if found.done else "would be"
    say(out, f"{found.changed:,} of {found.records:,} contents {verb} taken as they are now.")
    if found.missing:
        say(out, f"{found.missing:,} of them no longer in the training set; these can still be asked for.")
    if found.joined:
        say(
            out, f"{found.joined:,} of the training records joined later: the model in service was not trained on them."
        )
    if found.changed and found.forgotten:
        say(
            out,
            f"Contents of forgotten records stay as they were read then ({found.forgotten:,}): where data are read "
            "in another way now, those records are not noticed any more if they come back.",
        )


def show_clock(state: "ClockState", stdout: TextIO) -> None:
    """Print the machine's time, that of the last event, and what is odd."""
    from efface.cli.display import make_console, say

    out = make_console(stdout)
    say(out, f"Machine's clock:  {moment(state.now, to_second=True)}")
    say(out, f"Last event ({state.events}):   {moment(state.latest, to_second=True)}")
    for event, since in state.resets:
        say(out, f"Event {event} notes that times since event {since} were wrong.")
    for line in state.warnings:
        say(out, f"Warning: {line}")
    if state.future is not None:
        say(
            out,
            f"Event {state.future} and those after it have times in the future of the machine's clock. Make sure that "
            "the clock is right, then: efface clock --reset",
        )
    elif not state.trusted:
        say(out, "If the machine's clock is right: efface clock --confirm. If it is wrong, set it, and look again.")
    elif not state.warnings:
        say(out, "Nothing is odd.")
