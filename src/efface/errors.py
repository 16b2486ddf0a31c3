"""The exceptions that efface raises on purpose.

EffaceError
├── RequestError        the request cannot be honoured as stated; nothing was done (exit code 2)
│   └── CheckpointError a weights file is missing, damaged or does not fit the model
└── DivergedError       the weights became NaN or infinite on the way; nothing was saved (exit code 1)
"""

from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

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
    """What `call` gives, or None where it refuses; its problems join the others, to be told all at once."""
    try:
        return call(*args, **kwargs)
    except RequestError as error:
        problems += error.problems
        return None
