"""steer by one process and by two under accelerate, one thread each: how far apart, how many rows each, how long.

    python benchmarks/two_processes.py                    # 10,000 records of Fashion-MNIST, a CNN, 400 to forget
    python benchmarks/two_processes.py --data digits      # 1,000 digits, a small CNN: too small to gain

`apart` is the Euclidean norm of the difference of the unlearned weights, over that of the change that one process made
to them: in float64, in float32, and in float32 between one process and itself, beginning at weights that were nudged
by a ten-millionth. Where such a nudge grows, so does rounding, and float32 cannot show that two processes do what one
does; float64 can. Rows are those that reach a process's own network, with gradients and without. Times are of
unlearning in float32, after the processes have started and met: the least of --repeats, and each phase apart.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import TensorDataset

from efface import Recipe, Task, parallel
from efface.cli.demo import small_cnn
from efface.data.records import Records
from efface.data.sets import digits, fashion_mnist
from efface.models.checkpoint import load_weights, save_weights
from efface.models.training import train
from efface.runtime.cost import Meter
from efface.runtime.provenance import versions

NUDGE = 1e-7
ROWS = {True: 0, False: 0}
SHAPES = {"digits": (8, (32, 64)), "fashion-mnist": (28, (32, 64))}
LAUNCH = (
    *("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
)


class Counting(nn.Module):
    """Counts the rows that pass, those with gradients and the others."""

    def forward(self, x):
        ROWS[torch.is_grad_enabled()] += len(x)
        return x


def setting(data):
    """The task, and the records to forget."""
    side, channels = SHAPES[data]
    order = torch.Generator().manual_seed(0)
    if data == "digits":
        x, y = digits()
        at = torch.randperm(len(x), generator=order)
        (x_train, y_train), (x_held, y_held) = ((x[part], y[part]) for part in (at[:1000], at[1000:]))
    else:
        x, y, x_held, y_held = fashion_mnist()
        at = torch.randperm(len(x), generator=order)[:10_000]
        x_train, y_train, x_held, y_held = x[at], y[at], x_held[:4000], y_held[:4000]
    task = Task(
        train=TensorDataset(x_train, y_train),
        holdout=TensorDataset(x_held, y_held),
        build_model=lambda: nn.Sequential(Counting(), small_cnn(side, channels, 128)),
    )
    return task, list(range(len(x_train) // 25))


def work(folder, data, repeats):
    """Unlearn in this process, alone or with the others, and write what came out."""
    torch.set_num_threads(1)
    name = f"{parallel.launched()}-{os.environ.get('RANK', 0)}"
    unlearn(folder, data, "float64", name)
    if parallel.launched() == 1:
        unlearn(folder, data, "nudged", name)
    told = [unlearn(folder, data, "float32", name) for _ in range(repeats)]
    (folder / f"{name}.json").write_text(json.dumps(min(told, key=lambda t: t["wall_s"])))


def unlearn(folder, data, kind, name):
    """One run: its weights go to a file, its rows and seconds are given back."""
    task, forget = setting(data)
    model = task.build_model()
    load_weights(model, folder / "original.safetensors")
    if kind == "nudged":
        draws = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(1 + NUDGE * torch.randn(p.shape, generator=draws))
    if kind == "float64":
        model = model.double()
        task = replace(task, train=double(task.train), holdout=double(task.holdout))
    ROWS.update({True: 0, False: 0})
    parallel.barrier()
    result = parallel.unlearn(model, forget=forget, task=task, progress=False)
    save_weights(result.model, folder / f"{kind}-{name}.safetensors")
    if parallel.is_main():
        auc, right = (result.evidence.evaluations[-1].auc.value, result.evidence.evaluations[-1].holdout_accuracy)
        print(f"{kind}, {parallel.launched()} processes: conditional AUC {auc:.4f}, holdout accuracy {right:.4f}")
    phases = {phase: round(p.wall_s, 2) for phase, p in result.cost.phases.items()}
    rows = {"rows with gradients": ROWS[True], "rows read": ROWS[False]}
    return {**rows, "wall_s": round(result.cost.wall_s, 2), "cpu_s": round(result.cost.cpu_s, 2), "phases": phases}


def double(records):
    x, y = records.tensors
    return TensorDataset(x.double(), y)


def flat(file):
    return torch.cat([t.double().reshape(-1) for _, t in sorted(load_file(file).items())])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=SHAPES, default="fashion-mnist")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker is not None:
        work(given.worker, given.data, given.repeats)
        return
    torch.set_num_threads(1)
    task, forget = setting(given.data)
    torch.manual_seed(0)
    everything = Records(task.train, task)
    original = train(task, task.build_model(), everything, range(len(everything)), Recipe(epochs=5), 0, Meter())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_weights(original, folder / "original.safetensors")
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
        words = [__file__, "--worker", name, "--data", given.data, "--repeats", str(given.repeats)]
        for launch in ((), LAUNCH):
            subprocess.run([sys.executable, *launch, *words], check=True, env=environment)
        weights = sum(p.numel() for p in original.parameters())
        print(f"{given.data}: {len(everything)} records, {len(forget)} to forget, {weights:,} weights; {versions()}")
        for key, words in (("1-0", "one process"), ("2-0", "two, rank 0"), ("2-1", "two, rank 1")):
            print(f"{words:12s} {(folder / f'{key}.json').read_text()}")
        before = flat(folder / "original.safetensors")
        for kind, other in (("float64", "float64-2-0"), ("float32", "float32-2-0"), ("float32", "nudged-1-0")):
            alone, then = flat(folder / f"{kind}-1-0.safetensors"), flat(folder / f"{other}.safetensors")
            print(f"apart, {kind}-1-0 and {other}: {float((then - alone).norm() / (alone - before).norm()):.1e}")
        same = torch.equal(flat(folder / "float32-2-0.safetensors"), flat(folder / "float32-2-1.safetensors"))
        print(f"both ranks alike, bit for bit: {same}")


if __name__ == "__main__":
    main()
