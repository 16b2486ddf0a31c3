"""Commands that put right what a store has noted: `efface clock`."""

from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from efface.cli.failures import guarded
from efface.cli.parameters import DEFAULT_STORE, Json, KeyFile, StorePlace
from efface.cli.store_opening import open_store
from efface.errors import RequestError

if TYPE_CHECKING:
    from efface.store import ClockState

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

        from efface.cli.store_display import print_answer

        print_answer(state, as_json, stdout, show_clock)


def show_clock(state: "ClockState", stdout: TextIO) -> None:
    """Print the machine's time, that of the last event, and what is odd."""
    from efface.cli.display import make_console, say

    out = make_console(stdout)
    say(out, f"Machine's clock:  {_moment(state.now)}")
    say(out, f"Last event ({state.events}):   {_moment(state.latest)}")
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


def _moment(at: str) -> str:
    return f"{at[:10]} {at[11:19]} UTC"
