"""Wall time of one request by one process and by two, one thread each, on a CNN whose step takes 100 ms or more.

    python benchmarks/two_processes.py --pairs 3

Unlearns 240 of 6,000 records by steer with `efface.unlearning.parallel.unlearn`, in turn by one process and by two that
torchrun starts, and prints what each pair took, how much CPU other programs had meanwhile, and the ratio of the least
times. The two need two free cores: other work on the machine is not theirs. Starting and reading data is not counted.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.utils.data import TensorDataset

from efface import Recipe, Task
from efface.data.records import Records
from efface.models.checkpoint import load_weights, save_weights
from efface.models.training import train
from efface.runtime.cost import Meter
from efface.runtime.provenance import versions
from efface.unlearning import parallel

RECORDS, HOLDOUT, FORGET = 6000, 3000, 240
WIDTH, KINDS, NOISE, WRONG = 24, 30, 1.2, 0.1
LAUNCH = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


class Block(nn.Module):
    """Two convolutions beside a shortcut; GroupNorm, so that no row of a batch depends on another."""

    def __init__(self, width, out, stride):
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(width, out, 3, stride, 1, bias=False),
            nn.GroupNorm(8, out),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, 1, 1, bias=False),
            nn.GroupNorm(8, out),
        )
        self.shortcut = nn.Conv2d(width, out, 1, stride, bias=False)

    def forward(self, x):
        return torch.relu(self.path(x) + self.shortcut(x))


def network():
    """A small residual network for images of 32 x 32 in three colours."""
    blocks = (Block(WIDTH, WIDTH, 1), Block(WIDTH, 2 * WIDTH, 2), Block(2 * WIDTH, 4 * WIDTH, 2))
    first = nn.Conv2d(3, WIDTH, 3, 2, 1)
    return nn.Sequential(first, nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * WIDTH, 10))


def problem():
    """Noisy copies of blurred patterns, three of them a class, some with a wrong label."""
    order = torch.Generator().manual_seed(0)
    count = RECORDS + HOLDOUT
    patterns = F.interpolate(torch.randn(KINDS, 3, 4, 4, generator=order), size=32, mode="bilinear")
    kind = torch.randint(KINDS, (count,), generator=order)
    x = patterns[kind] + NOISE * torch.randn(count, 3, 32, 32, generator=order)
    wrong = torch.rand(count, generator=order) < WRONG
    y = torch.where(wrong, torch.randint(10, (count,), generator=order), kind % 10)
    held = TensorDataset(x[RECORDS:], y[RECORDS:])
    return Task(train=TensorDataset(x[:RECORDS], y[:RECORDS]), holdout=held, build_model=network)


def work(folder):
    """Unlearn in this process, alone or with the other, and write the seconds."""
    torch.set_num_threads(1)
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
    task, model = problem(), network()
    load_weights(model, folder / "original.safetensors")
    if dist.is_initialized():
        dist.barrier()
    begun, others = time.perf_counter(), psutil.cpu_times()
    result = parallel.unlearn(model.eval(), forget=range(FORGET), task=task, progress=False)
    wall, busy = time.perf_counter() - begun, _busy(psutil.cpu_times()) - _busy(others)
    cpu, steps = result.cost.cpu_s, result.cost.phases["steps"].wall_s / result.evidence.evaluations[-1].step
    if not dist.is_initialized() or dist.get_rank() == 0:
        found = {"wall_s": wall, "cpu_s": cpu, "others_s": busy - cpu, "step_s": steps}
        (folder / "found.json").write_text(json.dumps(found))
    if dist.is_initialized():
        dist.destroy_process_group()


def _busy(times):
    return times.user + times.system + getattr(times, "nice", 0.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker is not None:
        work(given.worker)
        return
    torch.set_num_threads(1)
    torch.manual_seed(0)
    task = problem()
    records = Records(task.train, task)
    original = train(task, network(), records, range(RECORDS), Recipe(epochs=4), 0, Meter())
    print(f"{sum(p.numel() for p in original.parameters()):,} weights; {versions()}")
    taken = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as name:
        save_weights(original, Path(name) / "original.safetensors")
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        for _ in range(given.pairs):
            for processes, launch in ((1, ()), (2, LAUNCH)):
                subprocess.run(
                    [sys.executable, *launch, __file__, "--worker", name],
                    check=True,
                    env={k: v for k, v in environment.items() if k not in ("RANK", "WORLD_SIZE")},
                )
                found = json.loads((Path(name) / "found.json").read_text())
                taken[processes].append(found["wall_s"])
                print(
                    f"{processes} of one thread: {found['wall_s']:.1f} s, CPU {found['cpu_s']:.1f} s, other programs "
                    f"{found['others_s']:.1f} s, a step {1000 * found['step_s']:.0f} ms",
                    flush=True,
                )
    print(f"least times: {min(taken[2]):.1f} / {min(taken[1]):.1f} = {min(taken[2]) / min(taken[1]):.3f}")


if __name__ == "__main__":
    main()
