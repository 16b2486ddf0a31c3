"""Worker processes: none is left once the process that started them was killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PROC = Path("/proc")
SHARED = Path("/dev/shm")
LIMIT_S = 120.0  # only a failing test waits so long

CODE = """
import joblib, multiprocessing, os, sys, time, torch
from pathlib import Path
from torch.utils.data import TensorDataset
from helpers.recipes import trained
from helpers.tiny import make_tiny

def wait(folder):
    Path(folder, str(os.getpid())).touch()
    time.sleep(3600)

def fit(model, dataset, seed):
    if seed == 0:
        process = multiprocessing.get_context("fork").Process(target=wait, args=sys.argv[1:])
        process.start()
        process.join()
    joblib.Parallel(2, backend="loky")(joblib.delayed(wait)(sys.argv[1]) for _ in range(2))

tiny, x = make_tiny(), torch.zeros(40_000, 16)
task = tiny.task(fit=fit, train=TensorDataset(x, x[:, 0].long()))
trained(task, tiny.model, jobs=2)
"""


def running(group: int) -> list[str]:
    """Command lines of the processes of a group that have not ended."""
    found = []
    for folder in PROC.glob("[0-9]*"):
        try:
            state, _, of = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:3]
            if int(of) == group and state != "Z":
                found.append((folder / "cmdline").read_text().replace("\0", " ")[:100])
        except OSError:  # it ended just now
            continue
    return found


def wait_for(condition: Callable[[], bool], why: str) -> None:
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < LIMIT_S, why
        time.sleep(0.1)


@pytest.mark.skipif(not (PROC / "self" / "stat").exists(), reason="needs /proc, to see which processes there are")
def test_no_worker_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    parent = subprocess.Popen(
        [sys.executable, "-c", CODE, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        stderr=subprocess.DEVNULL,  # joblib's tracker of resources says what it cleans up
    )
    try:
        wait_for(lambda: parent.poll() is not None or len(list(tmp_path.iterdir())) == 3, "no workers were started")
        assert len(running(parent.pid)) >= 6, "the parent, two workers, and what their fits have started"
        parent.kill()
        parent.wait()
        wait_for(lambda: not running(parent.pid), "processes are left")
        wait_for(lambda: not list(SHARED.glob(f"*{parent.pid}*")), "the workers' copy of the records is left in memory")
    finally:
        if running(parent.pid):
            os.killpg(parent.pid, signal.SIGKILL)
