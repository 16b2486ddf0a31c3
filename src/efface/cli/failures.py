"""Exit codes, and the one place where exceptions become lines for people."""

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Iterator
from enum import IntEnum
from typing import ParamSpec, TextIO, TypeVar

import typer

from efface.auditing.verdict import Status
from efface.errors import EffaceError, RequestError
from efface.store.errors import BusyError, DamagedError, StorageError, StoreError

TRACEBACK = "EFFACE_TRACEBACK"
MAX_LINE = 500

P = ParamSpec("P")
T = TypeVar("T")


class Code(IntEnum):
    """What the process says when it ends."""

    VERIFIED = 0
    FAILED = 1
    REFUSED = 2
    NOT_VERIFIED = 3
    DAMAGED = 4
    BUSY = 5
    STORAGE = 6
    REJECTED = 7
    INTERRUPTED = 130

    @classmethod
    def of(cls, status: Status) -> "Code":
        """The code of an audit's conclusion."""
        return cls.VERIFIED if status is Status.VERIFIED else cls.NOT_VERIFIED


_OF_STORE = {DamagedError: Code.DAMAGED, BusyError: Code.BUSY, StorageError: Code.STORAGE}
_WORDS = {DamagedError: "the store is damaged", BusyError: "the store is busy", StorageError: "the disk failed"}


def one_line(error: BaseException) -> str:
    """An exception's type and message as one line of bounded length."""
    words = " ".join(str(error).split())
    line = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]} ..."


@contextlib.contextmanager
def guarded(as_json: bool) -> Iterator[TextIO]:
    """Run a command and turn whatever it raises into a line and an exit code; yields where its answer goes.

    Under `as_json` that place gets one JSON document only: what a user's own code prints goes to standard error.
    """
    stdout = sys.stdout
    try:
        with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
            yield stdout
    except RequestError as error:
        _tell(as_json, stdout, str(error), "the request was refused", error.problems)
        raise typer.Exit(Code.REFUSED) from None
    except StoreError as error:
        _tell(as_json, stdout, str(error), _WORDS.get(type(error), "the store cannot do that"), error.problems)
        raise typer.Exit(_OF_STORE.get(type(error), Code.FAILED)) from None
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise  # Typer's own, and a reader of our output that left early
    except KeyboardInterrupt:
        _tell(as_json, stdout, "interrupted", "interrupted")
        raise typer.Exit(Code.INTERRUPTED) from None
    except (Exception, SystemExit) as error:  # SystemExit: a user's code must not choose our exit code
        if os.environ.get(TRACEBACK) == "1":
            traceback.print_exc()
        said = " ".join(str(error).split()) if isinstance(error, EffaceError) else one_line(error)
        _tell(as_json, stdout, f"{said} (set {TRACEBACK}=1 for a traceback)", said)
        raise typer.Exit(Code.FAILED) from None


def _tell(as_json: bool, stdout: TextIO, text: str, error: str, problems: tuple[str, ...] = ()) -> None:
    if as_json:
        print(json.dumps({"error": error, "problems": list(problems)}, indent=1), file=stdout)
    else:
        # a name out of a file may hold codes that a terminal would obey
        shown = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
        print(f"efface: {shown}", file=sys.stderr)
