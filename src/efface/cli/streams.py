"""Standard output and standard error that never raise an error: what they could not write is remembered.

So a full disk, a reader that has gone or a closed stream cannot end a command halfway, and what it did decides its exit
code (`failures.py`). Characters that a stream cannot show are written as escapes.
"""

import contextlib
import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from efface.errors import reason_of

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STREAMS = {"stdout": 1, "stderr": 2}  # the streams that commands write to, with their file descriptors
CLOSED, INTERRUPTED = "it is closed", "interrupted"
READER_GONE = (errno.EPIPE, errno.ECONNRESET)


@dataclass(frozen=True)
class StreamFailure:
    """Why a stream did not write everything that it was given.

    Args:
        reason: why, in a few words.
        reader_gone: whether the program that read from it went away, as `head` does; it then wanted no more.
        interrupted: whether somebody interrupted the command while it waited for the reader.
    """

    reason: str
    reader_gone: bool = False
    interrupted: bool = False


class SteadyStream(io.RawIOBase):
    """The bytes of a standard stream: after the first failure, everything that it is given is dropped.

    Args:
        sink: what writes the bytes, such as the raw file of the standard stream; it is never closed.
        name: the name of the stream.
    """

    def __init__(self, sink: Any, name: str) -> None:
        self.sink, self.name = sink, f"<{name}>"
        self.failure: StreamFailure | None = None

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write all bytes, or drop them; returns how many they are."""
        left = memoryview(data).cast("B")
        size = left.nbytes
        try:
            while left.nbytes and self.failure is None:
                written = self.sink.write(left)
                if written is None:  # another process made the pipe or terminal that it shares non-blocking
                    select.select([], [self.sink], [])
                else:
                    left = left[written:]
        except (OSError, ValueError) as error:  # ValueError: the sink was closed
            reader_gone = isinstance(error, OSError) and error.errno in READER_GONE
            self.failure = StreamFailure("nobody reads it any more" if reader_gone else reason_of(error), reader_gone)
        except KeyboardInterrupt:
            self.failure = StreamFailure(INTERRUPTED, interrupted=True)  # else the next write would wait again
            raise
        return size

    def writable(self) -> bool:
        """Whether it can be written to."""
        return True

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        try:
            return bool(self.sink.isatty())
        except ValueError:
            return False

    def fileno(self) -> int:
        """Its file descriptor; an error if it has none."""
        return int(self.sink.fileno())


@contextlib.contextmanager
def steady_streams() -> Iterator[TextIO]:
    """Let standard output and standard error never raise an error while the block runs.

    Those of the process itself stay so until it ends: what it writes last must not change its exit code either.

    Yields:
        Standard output.
    """
    _fill_descriptors()
    before: dict[str, TextIO | None] = {name: getattr(sys, name) for name in STREAMS}
    steady = {name: _steady(name, stream) for name, stream in before.items()}
    for name, stream in steady.items():
        setattr(sys, name, stream)
    try:
        yield steady["stdout"]
    finally:
        for name, old in before.items():
            failure_of(steady[name])  # writes what it still holds
            if old is not getattr(sys, f"__{name}__"):
                setattr(sys, name, old)


def failure_of(stream: TextIO) -> StreamFailure | None:
    """Write what a stream still holds, and say why some of what it was given was not written; None if all was."""
    try:
        stream.flush()
    except ValueError:  # a user's code closed it
        return StreamFailure(CLOSED)
    raw = _raw(stream)
    return raw.failure if isinstance(raw, SteadyStream) else None


def _steady(name: str, stream: TextIO | None) -> TextIO:
    """A stream that writes to the same place and never raises; the same stream if it is none of a file."""
    if stream is None:  # it was closed when the process began
        try:
            sink: Any = io.FileIO(STREAMS[name], "w", closefd=False)
        except OSError:
            sink = io.BytesIO()
        raw = SteadyStream(sink, name)
        raw.failure = StreamFailure(CLOSED)
        return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", "backslashreplace")
    if not isinstance(stream, io.TextIOWrapper):
        return stream  # it writes to memory or to a notebook
    with contextlib.suppress(OSError, ValueError):
        stream.flush()
    sink = _raw(stream)
    raw = SteadyStream(sink.sink if isinstance(sink, SteadyStream) else sink, name)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        stream.encoding,
        "backslashreplace",
        line_buffering=stream.line_buffering or stream.write_through,
    )


def _raw(stream: TextIO) -> Any:
    """What writes the bytes of a stream, without a buffer."""
    buffer = getattr(stream, "buffer", None)
    return getattr(buffer, "raw", buffer)


def _fill_descriptors() -> None:
    """Open the null device in place of standard streams that are closed.

    Else the next file that is opened, perhaps a checkpoint, would get the number of a standard stream, and what a
    library writes there would go into it.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
