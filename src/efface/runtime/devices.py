"""Names of devices, and the number of CPU threads."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from efface.errors import RequestError, kind_of
from efface.runtime.printing import how_many

MAX_DIGITS = 9

if TYPE_CHECKING:  # names of devices are checked without torch
    import torch


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use `count` CPU threads within the block; small models are slower with several threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def check_device_name(name: str) -> None:
    """Check that a name is `auto`, `cpu`, `cuda` or `cuda:N`, without importing torch; RequestError if not."""
    if not isinstance(name, str):
        raise RequestError(f"device: expected a name such as 'auto', 'cpu' or 'cuda:0', got {kind_of(name)}")
    if name not in ("auto", "cpu", "cuda") and _number(name) is None:
        raise RequestError(f"device {name!r} is unknown: use auto, cpu, cuda or cuda:N")


def resolve_device(name: str) -> "torch.device":
    """Return the torch device of a name.

    Args:
        name: `auto` (CUDA if available, else CPU), `cpu`, `cuda` or `cuda:N`.

    Raises:
        RequestError: the name is unknown, or torch sees no such device.
    """
    import torch

    check_device_name(name)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not count):
        return torch.device("cpu")
    if not count:
        raise RequestError(f"device {name!r} was asked for, but torch sees no CUDA device here")
    number = _number(name)
    if number is None:
        return torch.device("cuda")
    if number >= count:
        raise RequestError(f"device {name!r} does not exist: torch sees {how_many(count, 'CUDA device')} here")
    return torch.device("cuda", number)


def _number(name: str) -> int | None:
    """The N of `cuda:N`."""
    digits = name.removeprefix("cuda:")
    # str.isdigit alone also accepts signs such as a superscript two
    is_number = digits != name and digits.isascii() and digits.isdigit() and len(digits) <= MAX_DIGITS
    return int(digits) if is_number else None
