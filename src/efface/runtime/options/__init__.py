"""Base class of options that check the type and range of all fields on construction."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any, Self, TypeGuard, get_origin, get_type_hints

from efface.errors import RequestError
from efface.runtime.options.calls import OwnSignature, check_construction, clear_calls

__all__ = ["Options", "as_integer", "clear_calls", "is_integer", "nearest", "option", "type_problems"]


def option(default: Any, help: str, low: float | None = None, high: float | None = None) -> Any:
    """Declare a field of an option set.

    Args:
        default: default value.
        help: one line of explanation, shown by `efface methods`.
        low: smallest allowed value; None for no bound.
        high: largest allowed value; None for no bound.
    """
    return dataclasses.field(default=default, metadata={"help": help, "low": low, "high": high})


def nearest(word: str, known: Sequence[str]) -> str:
    """A hint for an unknown word: the known word most similar to it, or all known words if none is similar."""
    lower = {name.lower(): name for name in known}
    close = [lower[name] for name in get_close_matches(word.lower(), list(lower), n=1, cutoff=0.5)]
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def is_integer(value: object, least: int | None = None) -> TypeGuard[int]:
    """Whether a value is an integer, of `least` or more; NumPy's integers are, True and False are not."""
    return isinstance(value, Integral) and not isinstance(value, bool) and (least is None or int(value) >= least)


def as_integer(value: Any) -> Any:
    """A number such as `np.int64(3)` as a Python integer; every other value, True and False too, as it is."""
    return int(value) if is_integer(value) else value


def type_problems(expected: Iterable[tuple[str, Any, Any, str]]) -> list[str]:
    """One line for each value that is not of its type.

    Args:
        expected: the name, the value, the type (a union too) and, in words, what was expected.
    """
    return [
        f"{name}: expected {what}, got {value!r}" for name, value, kind, what in expected if not isinstance(value, kind)
    ]


@dataclass(frozen=True)
class Options:
    """Base of frozen option sets.

    Raises:
        RequestError: on construction, if a field has a wrong type or is out of range; all such fields are listed. Also
            if there is no such field.
    """

    __signature__ = OwnSignature()

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Check that the fields given exist, which Python itself would refuse without a hint."""
        check_construction(cls, args, kwargs)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        problems = []
        hints = get_type_hints(type(self))
        for f in fields(self):
            value, kind = getattr(self, f.name), hints[f.name]
            numbers = {int: Integral, float: Real}.get(kind)
            if numbers is not None and isinstance(value, numbers) and not isinstance(value, bool):
                with suppress(OverflowError):
                    value = kind(value)  # also of NumPy's numbers
                object.__setattr__(self, f.name, value)
            if type(value) is not (get_origin(kind) or kind):
                problems.append(f"option {f.name} of {self._title()}: expected {kind.__name__}, got {value!r}")
                continue
            low, high = f.metadata.get("low"), f.metadata.get("high")
            # negated comparisons, so that NaN is refused too
            if (low is not None and not value >= low) or (high is not None and not value <= high):
                span = f"at least {low}" if high is None else f"at most {high}" if low is None else f"{low} to {high}"
                problems.append(f"option {f.name} of {self._title()}: expected {span}, got {value!r}")
        if problems:
            raise RequestError(problems)

    @classmethod
    def _title(cls) -> str:
        return str(getattr(cls, "key", cls.__name__))

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> Self:
        """Make options from text, such as arguments of a command line.

        Args:
            given: values as text, by name; missing options take their default.

        Raises:
            RequestError: a name is unknown, or a value has a wrong type or is out of range.
        """
        hints, known = get_type_hints(cls), [f.name for f in fields(cls)]
        values: dict[str, Any] = {}
        problems = []
        for name, word in given.items():
            if name not in known:
                where = f"{cls._title()} has no option {name!r}"
                problems.append(f"{where} ({nearest(name, known)})" if known else f"{where}: it has no options")
                continue
            try:
                values[name] = _read(word, hints[name])
            except ValueError:
                problems.append(f"option {name} of {cls._title()}: expected {hints[name].__name__}, got {word!r}")
        try:
            made = cls(**values)
        except RequestError as error:
            problems += error.problems
        if problems:
            raise RequestError(problems)
        return made


def _read(word: str, kind: type) -> Any:
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if word.lower() not in words:
            raise ValueError(word)
        return words[word.lower()]
    return kind(word)
