"""The exceptions that efface raises on purpose, and helpers for their messages.

EffaceError
├── RequestError        the request cannot be honoured; nothing was done (exit code 2)
│   └── CheckpointError a weights file is missing, damaged or does not fit the model
├── DivergedError       the weights became NaN or infinite on the way; nothing was saved (exit code 1)
├── NothingUnlearnedError  no change of the weights could be kept, so there is no unlearned model (exit code 8)
└── StoreError          a store cannot do what was asked; its contents are unchanged (exit code 1)
    ├── DamagedError    a row, a file or the key does not match the history (exit code 4)
    ├── BusyError       another process holds the store; try again (exit code 5)
    └── StorageError    the disk is full, read-only or failing (exit code 6)

Those of a store are in `efface.store`, NothingUnlearnedError is in `efface.unlearning`.
"""

from collections.abc import Callable, Iterable, Sequence
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, ParamSpec, TypeVar

MAX_NAME = 60  # characters of one name in a message
MAX_LINE = 500

P = ParamSpec("P")
T = TypeVar("T")


class EffaceError(Exception):
    """Base of every error that efface raises on purpose."""


class EffaceWarning(UserWarning):
    """What efface warns of by `warnings.warn`: findings of a run or an audit that do not keep it from going on."""


class RequestError(EffaceError):
    """A request refused before any work.

    Args:
        problems: what is wrong, one line each; available as the attribute `problems`.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__(self.headed("the request was refused"))

    def headed(self, heading: str) -> str:
        """The problems as text, one line each, below a heading that says what was refused."""
        count = len(self.problems)
        return "\n".join([f"{heading}{f' for {count} reasons' * (count != 1)}:", *(f"  - {p}" for p in self.problems)])

    def __reduce__(self) -> tuple[type["RequestError"], tuple[tuple[str, ...]]]:
        """Pickle the problems; by default the whole message would become one problem."""
        return type(self), (self.problems,)


class CheckpointError(RequestError):
    """A weights file that is missing, damaged or does not fit the model."""


class DivergedError(EffaceError):
    """Weights or losses that became NaN or infinite; the caller's model is unchanged and nothing was saved."""


def collect_errors(problems: list[str], call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """Call a function and collect the problems of a RequestError, so that several can be reported together.

    Args:
        problems: problems are added to this list.
        call: the function.
        *args: its arguments.
        **kwargs: its keyword arguments.

    Returns:
        The function's result; None if it raised a RequestError.
    """
    try:
        return call(*args, **kwargs)
    except RequestError as error:
        problems += error.problems
        return None


def describe_error(error: BaseException) -> str:
    """The type and message of an exception, as one line of bounded length; of a RequestError the problems alone."""
    text, kind = " ".join(str(error).split()), type(error).__name__
    line = f"{kind}: {text}" if text else kind
    if isinstance(error, RequestError):
        line = "; ".join(error.problems)
    return line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]} ..."


def reason_of(error: BaseException) -> str:
    """Why a file or folder could not be used, in the words of the operating system where the error has them."""
    return getattr(error, "strerror", None) or str(error)


def kind_of(value: object) -> str:
    """What a value is, in a word or two; of a class or function that was not called it says so."""
    if isinstance(value, type):
        return f"the class {value.__name__}: call it"
    if isinstance(value, FunctionType | BuiltinFunctionType | MethodType):
        return f"the function {value.__name__}: call it"
    return "None" if value is None else type(value).__name__


def shorten(items: Iterable[Any], most: int = 3, show: Callable[[Any], str] = repr) -> str:
    """List the first few items as text, with the number of the others.

    Args:
        items: the items, such as ids.
        most: how many are listed.
        show: converts an item to text.
    """
    every = list(items)
    texts = [text if len(text := show(item)) <= MAX_NAME else f"{text[: MAX_NAME - 3]}..." for item in every[:most]]
    return ", ".join(texts) + (f" and {len(every) - most} more" if len(every) > most else "")
