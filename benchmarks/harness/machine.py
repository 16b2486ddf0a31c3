"""What a result was made on, and how much memory making it took."""

import os
import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from efface.runtime.provenance import git_state, versions

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def provenance(device: torch.device) -> dict[str, Any]:
    """Git state, versions and machine, for a result's record; `git` is None outside a repository."""
    state = git_state()
    return {
        "git": None if state is None else {"commit": state[0], "dirty": state[1]},
        "versions": versions(),
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "threads": torch.get_num_threads(), "device": device.type},
    }


def watch_memory(device: torch.device) -> Callable[[], float | None]:
    """Start to watch; the function given tells by how many MB memory has since been above what it was now, at most.

    On a CPU that is the resident memory of the process, on Linux alone; None elsewhere. Imports and buffers that
    torch keeps count for whoever needs them first.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        start = torch.cuda.memory_allocated(device)
        return lambda: (torch.cuda.max_memory_allocated(device) - start) / 1e6
    try:
        CLEAR.write_text("5")  # makes the peak what is resident now
        before = _status("VmRSS")
    except (OSError, ValueError):
        return lambda: None
    return lambda: (_status("VmHWM") - before) / 1e3


def _status(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", STATUS.read_text(), flags=re.MULTILINE)
    if found is None:
        raise ValueError(name)
    return int(found[1])


def _cpu() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()
