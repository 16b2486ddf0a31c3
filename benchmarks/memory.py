"""How much memory a run takes beside the model, in multiples of the memory of its weights.

    python -m benchmarks.memory                 # of DistilBERT's size: all weights move, or the last block alone
    python -m benchmarks.memory --width 256     # a smaller one

Random weights and made-up records: what is held does not depend on what is known. Each case runs in a process of its
own, and a thread notes the highest resident memory while `efface.unlearn` runs, above that of the loaded model with its
records. Activations are those of `--micro-batch` records; they are measured alone, by one forward and backward pass of
as many records, less the gradients of the weights, and taken off. The aim: at most 6 times the weights where all of
them move, and 2.5 where the last block alone does.
"""

import argparse
import gc
import resource
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import TensorDataset

import efface
from efface import Recipe, Task, UnlearnOptions

CASES = {"all weights": 6.0, "last block": 2.5}
RECORDS, HOLDOUT, TOKENS, CLASSES = 400, 300, 8, 2
VOCABULARY = 5  # words of a class


class Encoder(nn.Module):
    """Embeddings, six blocks and a classifier; DistilBERT has 30,522 words and a width of 768."""

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, width // 64, 4 * width, dropout=0.0, batch_first=True) for _ in range(6)
        )
        self.last = nn.Linear(width, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.words(x)
        for block in self.blocks:
            h = block(h)
        out: torch.Tensor = self.last(h.mean(1))
        return out


def megabytes() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


class Peak:
    """The highest resident memory while the block runs, in MB."""

    def __enter__(self) -> "Peak":
        self.most, self._ends = megabytes(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._ends.is_set():
            self.most = max(self.most, megabytes())
            time.sleep(0.002)

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()


def _warm_up() -> None:
    """Load what a run loads, such as SciPy, by a small one."""
    x, y = torch.randn(300, 4), torch.arange(300) % 2
    x[:, 0] += 3 * y
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    sets = TensorDataset(x[:200], y[:200]), TensorDataset(x[200:], y[200:])
    options = UnlearnOptions(reference=Recipe(epochs=20, lr=1e-2), checks=False)
    with suppress(efface.NothingUnlearnedError):
        efface.unlearn(network, train=sets[0], holdout=sets[1], forget=[1], options=options)


def measure(case: str, words: int, width: int, micro_batch: int) -> None:
    """Print one case; for a process of its own."""
    torch.manual_seed(4711)
    torch.set_num_threads(1)

    def build() -> Encoder:
        network = Encoder(words, width)
        if case == "last block":
            network.requires_grad_(False)
            for part in (network.blocks[-1], network.last):
                part.requires_grad_(True)
        return network

    def drawn(n: int) -> TensorDataset:
        # words of their own for either class, so that the reference model can learn them in one pass
        labels = torch.randint(CLASSES, (n,))
        return TensorDataset(torch.randint(VOCABULARY, (n, TOKENS)) + VOCABULARY * labels[:, None], labels)

    model = build().eval()
    size = sum(p.numel() * p.element_size() for p in model.parameters()) / 1e6
    moving = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad) / 1e6
    task = Task(
        train=drawn(RECORDS), holdout=drawn(HOLDOUT), build_model=build, batch_size=micro_batch, micro_batch=micro_batch
    )
    _warm_up()
    gc.collect()
    before = megabytes()
    with Peak() as pass_alone:
        out = model(torch.randint(words, (micro_batch, TOKENS)))
        out.sum().backward()
    model.zero_grad(set_to_none=True)
    del out
    gc.collect()
    activations = max(0.0, pass_alone.most - before - moving)
    start = megabytes()
    options = UnlearnOptions(reference=Recipe(epochs=1, lr=1e-3, batch=micro_batch, least_steps=1), checks=False)
    method = efface.methods.Steer(steps=3, passes=0.0)
    # random weights know nothing that could be forgotten
    with Peak() as run, suppress(efface.NothingUnlearnedError):
        efface.unlearn(model, forget=range(8), task=task, method=method, options=options)
    above = run.most - start
    print(
        f"{case}: weights {size:.0f} MB, of which {moving:.0f} MB move; peak {above:.0f} MB above the loaded model, "
        f"activations {activations:.0f} MB: {(above - activations) / size:.2f} times the weights (aim {CASES[case]})"
    )


def main() -> None:
    """Measure each case in a new process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=30_522)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--case", choices=list(CASES), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        measure(given.case, given.words, given.width, given.micro_batch)
        return
    for case in CASES:
        words = ["--words", given.words, "--width", given.width, "--micro-batch", given.micro_batch, "--case", case]
        subprocess.run([sys.executable, "-m", "benchmarks.memory", *map(str, words)], check=True)


if __name__ == "__main__":
    main()
