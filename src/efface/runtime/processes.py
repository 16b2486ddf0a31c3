"""How worker processes start: each ends with its parent, and starts others as its parent does."""

import multiprocessing
import os
import signal
import threading
import time
from contextlib import suppress
from typing import Any

CHECK_S = 1.0


def worker_settings() -> dict[str, Any]:
    """Arguments of `joblib.Parallel` that make its processes end with this one, and start others as this one does.

    A parent that is killed cannot end its workers, which would keep their memory, with training data, for ever.
    """
    return {"initializer": _begin, "initargs": (os.getpid(), multiprocessing.get_start_method(allow_none=True))}


def _begin(parent: int, start_method: str | None) -> None:
    if os.getpid() == parent:  # workers that are threads
        return
    # joblib's own method starts joblib's workers only, so a DataLoader with workers or a pool would fail
    multiprocessing.set_start_method(start_method, force=True)
    threading.Thread(target=_end_with, args=(parent,), name="end with parent", daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process, and those that it started, once it has another parent; Windows never gives it one."""
    while os.getppid() == parent:
        time.sleep(CHECK_S)
    for child in multiprocessing.active_children():
        with suppress(OSError, TypeError):  # it has ended, or was not begun
            os.kill(child.pid, signal.SIGKILL)  # type: ignore[arg-type]  # joblib's processes have no kill()
    os._exit(1)
