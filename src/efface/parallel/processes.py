"""The processes that a launcher started together: how many, which one this is, and words between them.

Everything here is trivial where there is one process, and imports no `accelerate` then.
"""

import atexit
import os
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import torch

from efface.errors import EffaceError, RequestError

if TYPE_CHECKING:
    from accelerate import PartialState  # type: ignore[import-untyped]

P = ParamSpec("P")
T = TypeVar("T")

# what torchrun and `accelerate launch` set, then what MPI launchers do
COUNTS = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK")
# The others wait as long as this for what the main process does alone, such as an audit that trains ensembles.
PATIENCE = timedelta(days=1)


def launched() -> int:
    """How many processes the launcher started; 1 without a launcher."""
    return max(1, _number(COUNTS))


def is_main() -> bool:
    """Whether this is the process that writes and prints: the first of several, or the only one."""
    return launched() == 1 or _number(RANKS) == 0


def start() -> "PartialState | None":
    """Join the other processes, at the first call; None where there is only one.

    With CUDA each process takes the device of its local rank, which is then torch's current one. Raises RequestError
    where `accelerate` is not installed.
    """
    if launched() == 1:
        return None
    try:
        from accelerate import PartialState
        from accelerate.utils import parse_flag_from_env  # type: ignore[import-untyped]
    except ImportError as error:
        raise RequestError(
            f"{launched()} processes were launched together, which needs accelerate: pip install 'efface[accelerate]'"
        ) from error
    if not PartialState._shared_state:  # a caller's own is taken as it is
        # left to itself, it takes processes without a GPU for single ones
        PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.cuda.is_available(), timeout=PATIENCE)
        atexit.register(PartialState().destroy_process_group)
    return PartialState()


def device() -> torch.device:
    """Where the model of this process belongs: its own GPU, or the CPU."""
    state = start()
    if state is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    place: torch.device = state.device
    return (
        torch.device("cpu") if place.type == "cpu" else place
    )  # a CPU's number, which accelerate gives, is no tensor's


def share(value: T) -> T:
    """The main process's value, in every process; it must be one that pickles."""
    if start() is None:
        return value
    from accelerate.utils import broadcast_object_list

    given: list[T] = broadcast_object_list([value])
    return given[0]


def collect(value: T) -> list[T]:
    """Every process's value, in order of rank, in every process; they must be ones that pickle."""
    if start() is None:
        return [value]
    from accelerate.utils import gather_object

    given: list[T] = gather_object([value])
    return given


def barrier() -> None:
    """Wait until every process is here."""
    state = start()
    if state is not None:
        state.wait_for_everyone()


def on_main(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """What `call` gives in the main process; None in the others, which do not call it but wait for it.

    What it raises is raised in every process: in the others as an EffaceError, or a RequestError if it was one.
    """
    if start() is None:
        return call(*args, **kwargs)
    given: T | None = None
    raised: BaseException | None = None
    if is_main():
        try:
            given = call(*args, **kwargs)
        except BaseException as error:
            raised = error
    told = None if raised is None else (isinstance(raised, RequestError), getattr(raised, "problems", str(raised)))
    found = share(told)
    if raised is not None:
        raise raised
    if found is not None:
        refused, words = found
        raise RequestError(words) if refused else EffaceError(f"the main process failed: {words}")
    return given


def _number(names: tuple[str, ...]) -> int:
    found = next((os.environ[name] for name in names if name in os.environ), "")
    return int(found) if found.isascii() and found.isdigit() else 0
