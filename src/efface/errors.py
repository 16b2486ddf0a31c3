"""The exceptions that efface raises on purpose, and what their texts share.

EffaceError
├── RequestError        the request cannot be honoured as stated; nothing was done (exit code 2)
│   └── CheckpointError a weights file is missing, damaged or does not fit the model
└── DivergedError       the weights became NaN or infinite on the way; nothing was saved (exit code 1)
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ParamSpec, TypeVar

MAX_SHOWN = 60  # characters of one name in a message

P = ParamSpec("P")
T = TypeVar("T")


class EffaceError(Exception):
    """Base of every error that efface raises on purpose."""


class RequestError(EffaceError):
    """A request refused before any work; `problems` holds every reason, one clear line each."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        head = (
            "the request was refused"
            if len(self.problems) == 1
            else f"the request was refused for {len(self.problems)} reasons"
        )
        super().__init__("\n".join([head + ":", *(f"  - {p}" for p in self.problems)]))

    def __reduce__(self) -> tuple[type["RequestError"], tuple[tuple[str, ...]]]:
        """Come out of a pickle with the same problems: pickle alone would take the whole text for one problem."""
        return type(self), (self.problems,)


class CheckpointError(RequestError):
    """A weights file that is missing, damaged or does not fit the model."""


class DivergedError(EffaceError):
    """Weights or losses that became NaN or infinite; the caller's model is unchanged and nothing was saved."""


def collect_errors(problems: list[str], call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """Call a function and note its refusal, so that several can be shown at once.

    Args:
        problems: where the lines of a RequestError go.
        call: the function, with its arguments after it.

    Returns:
        What the function returns, or None where it refuses.
    """
    try:
        return call(*args, **kwargs)
    except RequestError as error:
        problems += error.problems
        return None


def describe_error(error: BaseException) -> str:
    """What an exception of a user's own code says, in one line."""
    text = "; ".join(error.problems) if isinstance(error, RequestError) else str(error).strip()
    return f"{type(error).__name__}: {text}".splitlines()[0]


def shorten(items: Iterable[Any], most: int = 3, show: Callable[[Any], str] = repr) -> str:
    """The first few of many items as text, and how many more there are.

    Args:
        most: how many are shown.
        show: makes the text of one.
    """
    every = list(items)
    texts = [text if len(text := show(item)) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..." for item in every[:most]]
    return ", ".join(texts) + (f" and {len(every) - most} more" if len(every) > most else "")
