"""Exit codes, and the one place where exceptions become lines for people."""

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
from efface.store.errors import BusyError, DamagedError, StorageError, StoreError

TRACEBACK = "EFFACE_TRACEBACK"


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
    def of(cls, status: str) -> "Code":
        """The code of an audit's conclusion."""
        return cls.VERIFIED if status == "verified" else cls.NOT_VERIFIED


_STORE_FAULTS: dict[type[StoreError], tuple[Code, str]] = {
    DamagedError: (Code.DAMAGED, "the store is damaged"),
    BusyError: (Code.BUSY, "the store is busy"),
    StorageError: (Code.STORAGE, "the disk failed"),
}
_OTHER_FAULT = (Code.FAILED, "the store cannot do that")


@contextlib.contextmanager
def guarded(as_json: bool) -> Iterator[TextIO]:
    """Run a command, and turn whatever it raises into a line and an exit code.

    Args:
        as_json: the answer is one JSON document: what a user's own code prints goes to standard error.

    Yields:
        Where the command's answer goes.
    """
    stdout = sys.stdout
    try:
        with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
            yield stdout
    except RequestError as error:
        _show(as_json, stdout, str(error), "the request was refused", error.problems)
        raise typer.Exit(Code.REFUSED) from None
    except StoreError as error:
        code, words = _STORE_FAULTS.get(type(error), _OTHER_FAULT)
        _show(as_json, stdout, str(error), words, error.problems)
        raise typer.Exit(code) from None
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise  # Typer's own, and a reader of our output that left early
    except KeyboardInterrupt:
        _show(as_json, stdout, "interrupted", "interrupted")
        raise typer.Exit(Code.INTERRUPTED) from None
    except (Exception, SystemExit) as error:  # SystemExit: a user's code must not choose our exit code
        if os.environ.get(TRACEBACK) == "1":
            traceback.print_exc()
        words = " ".join(str(error).split()) if isinstance(error, EffaceError) else describe_error(error)
        _show(as_json, stdout, f"{words} (set {TRACEBACK}=1 for a traceback)", words)
        raise typer.Exit(Code.FAILED) from None


def _show(as_json: bool, stdout: TextIO, text: str, error: str, problems: tuple[str, ...] = ()) -> None:
    if as_json:
        print(json.dumps({"error": error, "problems": list(problems)}, indent=1), file=stdout)
    else:
        # a name out of a file may hold codes that a terminal would obey
        shown = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
        print(f"efface: {shown}", file=sys.stderr)
