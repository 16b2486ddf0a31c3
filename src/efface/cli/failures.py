"""Exit codes, and the conversion of exceptions to messages."""

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Iterator
from enum import IntEnum
from typing import TextIO

import typer

from efface.errors import EffaceError, RequestError, describe_error
from efface.runtime.notices import quietly
from efface.store.errors import BusyError, DamagedError, StorageError, StoreError
from efface.store.plan import NOTHING_UNLEARNED

TRACEBACK = "EFFACE_TRACEBACK"

EXIT_CODES = (
    "Exit codes: 0 verified; 1 an unexpected failure; 2 the request was refused, and nothing was written; "
    "3 done, but undecided or not verified; 4 a store is damaged; 5 a store is busy; 6 the disk is full or cannot be "
    "written to; 7 a run's model was refused, and nothing changed; 8 nothing was unlearned: no step could be kept, so "
    "no weights were written and no request is honoured; 130 interrupted."
)
# one paragraph a line, since some versions of Typer join the lines of a paragraph
EPILOG = f"{EXIT_CODES}\n\nExample:\n\nefface demo --out demo-run"


class Code(IntEnum):
    """The exit codes of the command line."""

    VERIFIED = 0
    FAILED = 1
    REFUSED = 2
    NOT_VERIFIED = 3
    DAMAGED = 4
    BUSY = 5
    STORAGE = 6
    REJECTED = 7
    NOTHING_UNLEARNED = 8
    INTERRUPTED = 130

    @classmethod
    def of(cls, status: str) -> "Code":
        """The exit code for the conclusion of an audit."""
        return cls.VERIFIED if status == "verified" else cls.NOT_VERIFIED

    @classmethod
    def of_run(cls, status: str, served: bool) -> "Code":
        """The exit code for the outcome of a store's run; `served` is whether its model went into service."""
        if status == NOTHING_UNLEARNED:
            return cls.NOTHING_UNLEARNED
        if not served and status != "nothing":
            return cls.REJECTED
        return cls.VERIFIED if status in ("verified", "retrained", "nothing") else cls.NOT_VERIFIED


_STORE_FAULTS: dict[type[StoreError], tuple[Code, str]] = {
    DamagedError: (Code.DAMAGED, "the store is damaged"),
    BusyError: (Code.BUSY, "the store is busy"),
    StorageError: (Code.STORAGE, "the disk failed"),
}
_OTHER_FAULT = (Code.FAILED, "the store cannot do that")


@contextlib.contextmanager
def guarded(as_json: bool) -> Iterator[TextIO]:
    """Run a command, and turn any exception into a message and an exit code.

    Args:
        as_json: whether the output is one JSON document; what a user's code prints then goes to standard error.

    Yields:
        The stream for the command's output.
    """
    stdout = sys.stdout
    try:
        # warnings are shown as notes of the answer
        with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext(), quietly():
            yield stdout
    except RequestError as error:
        _show(as_json, stdout, str(error), "the request was refused", error.problems)
        raise typer.Exit(Code.REFUSED) from None
    except StoreError as error:
        code, words = _STORE_FAULTS.get(type(error), _OTHER_FAULT)
        _show(as_json, stdout, str(error), words, error.problems)
        raise typer.Exit(code) from None
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise  # Typer handles these, BrokenPipeError when the reader of the output has closed the pipe
    except KeyboardInterrupt:
        _show(as_json, stdout, "interrupted", "interrupted")
        raise typer.Exit(Code.INTERRUPTED) from None
    except (Exception, SystemExit) as error:  # SystemExit, since a user's code must not set the exit code
        if os.environ.get(TRACEBACK) == "1":
            traceback.print_exc()
        words = " ".join(str(error).split()) if isinstance(error, EffaceError) else describe_error(error)
        _show(as_json, stdout, f"{words} (set {TRACEBACK}=1 for a traceback)", words)
        raise typer.Exit(Code.FAILED) from None


def _show(as_json: bool, stdout: TextIO, text: str, error: str, problems: tuple[str, ...] = ()) -> None:
    if as_json:
        print(json.dumps({"error": error, "problems": list(problems)}, indent=1), file=stdout)
    else:
        # names from files may contain control codes that a terminal would execute
        shown = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
        print(f"efface: {shown}", file=sys.stderr)
