"""Devices and threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from efface.errors import RequestError


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use `count` CPU threads within the block: small models are slower on more than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def resolve_device(name: str) -> torch.device:
    """The device that `auto` (CUDA if there is any), `cpu`, `cuda` or `cuda:N` names."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not count):
        return torch.device("cpu")
    kind, _, number = name.partition(":")
    # str.isdigit alone also accepts signs such as a superscript two
    numbered = name == f"cuda:{number}" and number.isascii() and number.isdigit()
    if name not in ("auto", "cuda") and not numbered:
        raise RequestError(f"device {name!r} is unknown: use auto, cpu, cuda or cuda:N")
    if not count:
        raise RequestError(f"device {name!r} was asked for, but torch sees no CUDA device here")
    if not numbered:
        return torch.device("cuda")
    if int(number) >= count:
        raise RequestError(f"device {name!r} does not exist: torch sees {count} CUDA device{'s' * (count > 1)} here")
    return torch.device(kind, int(number))
