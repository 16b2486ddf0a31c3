"""How much memory reading sequences of a large vocabulary takes, and a step of training on them.

    python -m benchmarks.memory_of_tokens                    # 2,000 records of 128 positions, 32,000 classes
    python -m benchmarks.memory_of_tokens --records 200

Each figure is the peak memory of a process of its own, less what it held before: torch alone takes some 300 MB. The
logits of all records would take 4 bytes x records x positions x classes, 33 GB by default. One CPU thread.
"""

import argparse
import multiprocessing
import resource
import time

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

import efface
from efface.data.records import Records
from efface.methods.base import descend
from efface.models.running import forward, logits_of
from efface.runtime.cost import Meter

MOST = 4000  # megabytes that reading may take
JOBS = ("start", "reading", "step")


def bigrams(classes, width=16):
    """Logits of the next class by the class before."""
    return nn.Sequential(nn.Embedding(classes, width), nn.Linear(width, classes))


def work(job, args, answer):
    """One job, and its peak memory in megabytes and seconds, put into `answer`."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = torch.randint(args.classes, (args.records, args.positions + 1))
    data = TensorDataset(x[:, :-1], x[:, 1:])
    task, model = efface.Task(train=data, holdout=data, kind="tokens"), bigrams(args.classes)
    records, started = Records(data, task), time.perf_counter()
    if job == "reading":
        logits_of(task, model, records, np.arange(args.records), Meter())
    elif job == "step":
        batch = records.read(np.arange(min(args.batch, args.records)))
        descend(torch.optim.Adam(model.parameters()), task.rules.loss(forward(task, model, batch), batch.targets))
    answer.put((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.perf_counter() - started))


def measured(job, args):
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=work, args=(job, args, answer))
    process.start()
    found = answer.get()
    process.join()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=32_000)
    parser.add_argument("--positions", type=int, default=128)
    parser.add_argument("--records", type=int, default=2_000)
    parser.add_argument("--batch", type=int, default=192, help="records in the step")
    args = parser.parse_args()
    logits = 4e-6 * args.records * args.positions * args.classes
    print(f"logits of all {args.records:,} records: {logits:,.0f} MB")
    before = None
    for job in JOBS:
        peak, seconds = measured(job, args)
        before = peak if before is None else before
        print(f"{job:8s} {peak:6,.0f} MB, {peak - before:6,.0f} MB more than at the start; {seconds:.0f} s", flush=True)
        if job == "reading" and peak > MOST:
            raise SystemExit(f"reading may take {MOST} MB")


if __name__ == "__main__":
    main()
