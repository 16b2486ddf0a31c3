"""Random state, devices, versions and the cost meter: what a run takes from its process and must give back."""

import hashlib
import json
import os
import platform
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import numpy as np
import scipy
import torch

from efface.errors import RequestError
from efface.types import Cost, PhaseCost

GIT_TIMEOUT_S = 2.0


def _rng_states() -> tuple[Any, Any, torch.Tensor, list[torch.Tensor]]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda


def _restore_rng(states: tuple[Any, Any, torch.Tensor, list[torch.Tensor]]) -> None:
    python, legacy, cpu, cuda = states
    random.setstate(python)
    np.random.set_state(legacy)
    torch.set_rng_state(cpu)
    if cuda:
        torch.cuda.set_rng_state_all(cuda)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python, NumPy's legacy generator and torch (CPU, every CUDA device), and restore their states after."""
    states = _rng_states()
    unsigned = seed % 2**64  # random.seed takes a seed's absolute value, so -1 and 1 would otherwise meet
    try:
        random.seed(unsigned)
        np.random.seed(unsigned % 2**32)
        # not torch.manual_seed: on a process without CUDA it queues a call that outlives this block
        torch.default_generator.manual_seed(unsigned)
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all(unsigned)
        yield
    finally:
        _restore_rng(states)


@contextmanager
def unchanged_globals() -> Iterator[None]:
    """Restore after the block what a caller's model or data may change in the process.

    That is every random state, grad mode, the default dtype, and the deterministic and cuDNN flags.
    """
    states = _rng_states()
    grad = torch.is_grad_enabled()
    dtype = torch.get_default_dtype()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    try:
        yield
    finally:
        torch.set_grad_enabled(grad)
        torch.set_default_dtype(dtype)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn
        _restore_rng(states)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use `count` CPU threads within the block: small models are slower on more than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def derive_seed(seed: int, *names: str) -> int:
    """A seed in [0, 2**63) for the purpose that `names` spell; the same on every machine and in every version."""
    # JSON keeps ("ab", "c") and ("a", "bc") apart
    text = json.dumps([seed, *names]).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


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


def versions() -> dict[str, str]:
    """The versions that a result depends on, for its record."""
    try:
        efface = metadata.version("efface")
    except metadata.PackageNotFoundError:  # run from a source tree that was never installed
        efface = "not installed"
    return {
        "efface": efface,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "scipy": str(scipy.__version__),
        "platform": platform.platform(),
    }


def git_state() -> tuple[str, bool] | None:
    """The commit of the working folder and whether tracked files differ from it; None if git cannot say."""
    command = ["git", "-c", "core.fsmonitor=false", "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    # no optional locks: a status must not write to somebody's index
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, capture_output=True, check=True, timeout=GIT_TIMEOUT_S, env=environment, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = done.stdout.decode(errors="replace").splitlines()
    commits = [line.removeprefix("# branch.oid ") for line in lines if line.startswith("# branch.oid ")]
    if not commits or commits[0] == "(initial)":
        return None
    return commits[0], any(not line.startswith("#") for line in lines)


class Meter:
    """Adds up the cost of a run, each phase apart.

    Time in a nested phase is charged to the inner one only; time outside every phase is charged to none, while
    examples counted there go to the phase `other`.
    """

    def __init__(self) -> None:
        self._phases: dict[str, PhaseCost] = {}
        self._open: list[str] = []
        self._mark = (0.0, 0.0)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Charge the block's time and counts to `name`; the same name may be opened many times."""
        self._settle()
        self._open.append(name)
        try:
            yield
        finally:
            self._settle()
            self._open.pop()

    def count(self, forward: int = 0, backward: int = 0) -> None:
        """Count examples that went forward and backward through a model."""
        self.charge(PhaseCost(forward=forward, backward=backward))

    def charge(self, cost: PhaseCost) -> None:
        """Charge what the clocks of this process do not show, such as a worker's CPU time, to the open phase."""
        self._charge(self._open[-1] if self._open else "other", cost)

    def cost(self) -> Cost:
        """What has been charged so far, open phases included."""
        self._settle()
        return Cost(dict(self._phases))

    def _settle(self) -> None:
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()  # kernels still running belong to the phase that launched them
        now = (time.perf_counter(), time.process_time())
        if self._open:
            self._charge(self._open[-1], PhaseCost(now[0] - self._mark[0], now[1] - self._mark[1]))
        self._mark = now

    def _charge(self, name: str, cost: PhaseCost) -> None:
        self._phases[name] = self._phases.get(name, PhaseCost()) + cost
