"""Exit codes: of what a command did, of exceptions, and of answers that could not be printed."""

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TextIO

import typer
from typer.core import TyperGroup

from efface.auditing.config import Status
from efface.cli.streams import INTERRUPTED, StreamFailure, failure_of, steady_streams
from efface.errors import EffaceError, RequestError, describe_error
from efface.runtime.notices import quietly
from efface.store.errors import BusyError, DamagedError, StorageError, StoreError
from efface.store.plan import NOTHING_UNLEARNED, RETRAINED

TRACEBACK = "EFFACE_TRACEBACK"

EXIT_CODES = (
    "Exit codes: 0 verified, by the request itself or by rehearsal, and of doctor that a request could start; 1 an "
    "unexpected failure; 2 the request was refused, and of doctor that it would be, and nothing was written; "
    "3 done, but undecided or not verified, or a store needs something now (status --check); 4 a store is damaged; "
    "5 a store is busy; 6 the disk is full or cannot be written to, or the answer could not be printed in full; 7 a "
    "run's model was refused, and nothing changed; 8 nothing was unlearned: no step could be kept, so no weights were "
    "written and no request is honoured; 9 a request is due soon (status --check --within); "
    "10 done, and there was no trace to be found, before or after; 130 interrupted. A command "
    "that changed something ends with the code of what it did, also where its answer could not be printed: standard "
    "error then says where to look."
)
# one paragraph a line, since some versions of Typer join the lines of a paragraph
EPILOG = f"{EXIT_CODES}\n\nExample:\n\nefface demo --out demo-run"


class Code(IntEnum):
    """The exit codes of the command line."""

    VERIFIED = 0
    READY = 0  # of `efface doctor`
    FAILED = 1
    REFUSED = 2
    NOT_VERIFIED = 3
    DAMAGED = 4
    BUSY = 5
    STORAGE = 6
    REJECTED = 7
    NOTHING_UNLEARNED = 8
    DUE_SOON = 9
    NO_TRACE = 10
    INTERRUPTED = 130

    @classmethod
    def of(cls, status: str) -> "Code":
        """The exit code for the conclusion of an audit."""
        if status == Status.NO_TRACE_FOUND:
            return cls.NO_TRACE
        return cls.VERIFIED if status in (Status.VERIFIED, Status.VERIFIED_BY_REHEARSAL) else cls.NOT_VERIFIED

    @classmethod
    def of_run(cls, status: str, served: bool, waiting: bool) -> "Code":
        """The exit code for the outcome of a store's run.

        Args:
            status: the outcome's status.
            served: whether its model went into service.
            waiting: whether requests had to wait that the run could not honour.
        """
        if status == NOTHING_UNLEARNED:
            return cls.NOTHING_UNLEARNED
        if not served and status != "nothing":
            return cls.REJECTED
        if waiting:
            return cls.NOT_VERIFIED
        return cls.VERIFIED if status in (RETRAINED, "nothing") else cls.of(status)


# those that promise a complete answer
_ANSWERED = (Code.VERIFIED, Code.NOT_VERIFIED, Code.DUE_SOON, Code.NO_TRACE)
# What is refused where a command is, by its words; any other command does nothing.
_REFUSED = {
    "unlearn": "the request was refused",
    "request add": "the request was refused",
    "audit": "the audit was refused",
    "run": "the run was refused",
    "demo": "the demo was refused",
    "init": "no store was made",
}
_STORE_FAULTS: dict[type[StoreError], tuple[Code, str]] = {
    DamagedError: (Code.DAMAGED, "the store is damaged"),
    BusyError: (Code.BUSY, "the store is busy"),
    StorageError: (Code.STORAGE, "the disk is full or cannot be written to"),
}
_OTHER_FAULT = (Code.FAILED, "the store cannot do that")


@dataclass
class Ending:
    """How the command that is running is to end.

    Args:
        code: the exit code of what it did; None as long as it changed nothing.
        where: where that can be seen, as a clause.
        trouble: why its answer is incomplete; None if it is not, as far as is known.
        command: its words, such as `request add`.
    """

    code: int | None = None
    where: str = ""
    trouble: str | None = None
    command: str = ""


_ending: ContextVar[Ending | None] = ContextVar("ending", default=None)


def done(code: int, where: str) -> None:
    """Let the command end with the code of what it has just done, whatever becomes of its answer.

    Every command that changes something calls this between the change and its answer.

    Args:
        code: the exit code.
        where: where to look if the answer cannot be printed, as a clause, such as "efface status shows it".
    """
    ending = _ending.get()
    if ending is not None:
        ending.code, ending.where = code, where


class CommandGroup(TyperGroup):
    """Commands whose exit code does not depend on whether their output could be written, as EXIT_CODES explains."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Note which command is called, so that a refusal can name what was refused."""
        name, command, rest = found = super().resolve_command(ctx, args)
        if (ending := _ending.get()) is not None and name is not None:
            ending.command = " ".join([name, *(rest[:1] if isinstance(command, TyperGroup) else [])])
        return found

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command that the words of the command line name."""
        ending = Ending()
        before = _ending.set(ending)
        try:
            with steady_streams() as stdout:  # which a user's code may replace
                try:
                    return super().main(*args, **options)
                except KeyboardInterrupt:  # while Typer ended the command
                    code = int(Code.INTERRUPTED)
                except SystemExit as end:
                    code = end.code if isinstance(end.code, int) else 0
                raise SystemExit(_last_code(ending, code, stdout))
        finally:
            _ending.reset(before)


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
    except (typer.Exit, typer.Abort):
        raise
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # SystemExit: a user's code must not set the exit code
        ending = _ending.get()
        if ending is not None and ending.code is not None:
            ending.trouble = INTERRUPTED if isinstance(error, KeyboardInterrupt) else describe_error(error)
            raise typer.Exit(ending.code) from None
        raise typer.Exit(_explain(error, as_json, stdout)) from None


def _explain(error: BaseException, as_json: bool, stdout: TextIO) -> Code:
    """Print why a command ended before it changed anything; returns its exit code."""
    if isinstance(error, RequestError):
        _show(as_json, stdout, error.headed(_refused()), _refused(), error.problems)
        return Code.REFUSED
    if isinstance(error, StoreError):
        code, words = _STORE_FAULTS.get(type(error), _OTHER_FAULT)
        _show(as_json, stdout, str(error), words, error.problems)
        return code
    if isinstance(error, KeyboardInterrupt):
        _show(as_json, stdout, INTERRUPTED, INTERRUPTED)
        return Code.INTERRUPTED
    if os.environ.get(TRACEBACK) == "1":
        traceback.print_exception(error)
    words = " ".join(str(error).split()) if isinstance(error, EffaceError) else describe_error(error)
    _show(as_json, stdout, f"{words} (set {TRACEBACK}=1 for a traceback)", words)
    return Code.FAILED


def _refused() -> str:
    """What the command that is running did not do, as the heading of its problems."""
    ending = _ending.get()
    return _REFUSED.get("" if ending is None else ending.command, "nothing was done")


def _show(as_json: bool, stdout: TextIO, text: str, error: str, problems: tuple[str, ...] = ()) -> None:
    if as_json:
        print(json.dumps({"error": error, "problems": list(problems)}, indent=1), file=stdout)
        if failure_of(stdout) is None:
            return
    _say(text)


def _say(text: str) -> None:
    """Print a message on standard error."""
    # names from files may contain control codes that a terminal would execute
    shown = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
    print(f"efface: {shown}", file=sys.stderr)


def _last_code(ending: Ending, code: int, stdout: TextIO) -> int:
    """The exit code of a command, after its last output was written or has failed; standard error says what failed."""
    try:
        failure = failure_of(stdout)
    except KeyboardInterrupt:  # it waited for a reader
        failure = StreamFailure(INTERRUPTED, interrupted=True)
    if ending.code is not None:
        if failure is not None or ending.trouble is not None:
            reason = ending.trouble or (failure.reason if failure else "")
            _say(f"the answer could not be printed ({reason}); what was done stands: {ending.where}")
        return ending.code
    if failure is None or failure.reader_gone:
        return code
    if failure.interrupted:
        return Code.INTERRUPTED
    if code in _ANSWERED:
        _say(f"the answer could not be printed in full: {failure.reason} (standard output)")
        return Code.STORAGE
    return code
