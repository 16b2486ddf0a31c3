"""A process of its own at work on a store: `python store_worker.py STORE run`, killed by a test at any time."""

import sys
from pathlib import Path

import torch

from efface.store import Store
from helpers.store_cases import AUDITED, task_of
from helpers.tiny import make_tiny


def main(path: Path) -> None:
    torch.set_num_threads(1)
    task = task_of(make_tiny())
    print("ready", flush=True)
    Store(path, task).run(AUDITED)
    print("done", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
