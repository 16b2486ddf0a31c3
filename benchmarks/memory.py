"""How much memory a run takes beside the model, in multiples of the memory of its weights.

    python -m benchmarks.memory                                   # a network of DistilBERT's size: some minutes
    python -m benchmarks.memory --records 2000 --tokens 32        # with more to know: half an hour of a core
    python -m benchmarks.memory --case adapters                   # LoRA on a base; needs transformers and peft

The network has DistilBERT's form: six blocks, and by default its width and number of words. It is trained from random
weights until it knows its records: a fifth of their labels are wrong, and it gives more of them than of the holdout's.
The base of the adapters is trained on one set of records, and the adapters on another.

Each case is measured in a process of its own, which loads the trained weights. A thread notes the highest resident
memory while `efface.unlearn` runs, above that of the loaded model with its records. Activations are those of
`--micro-batch` records; they are measured alone, by one forward and backward pass of as many records, less the
gradients of the weights, and taken off. The aim: at most 6 times the weights where all of them move, and 2.5 where the
last block or adapters alone do. What is held does not depend on the number of steps, so steer makes only `--steps`.
"""

import argparse
import gc
import resource
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import efface
from benchmarks import memory_adapters as adapters
from efface import Recipe, Task, UnlearnOptions

CASES = {"all weights": 6.0, "last block": 2.5, "adapters": 2.5}
HOLDOUT, FORGET, CLASSES = 600, 20, 2
WRONG = 0.2  # share of labels that only who remembers a record can know
OWN, TELLING = 10, 2  # words of a class, and how many of them a record has
BATCH, RATE, RATE_WORDS = 16, 3e-4, 3e-2
# at its own rate, which is that of smaller networks, the reference of a transformer of this size learns nothing
OPTIONS = UnlearnOptions(reference=Recipe(epochs=2, lr=RATE, batch=BATCH, least_steps=1))


class Encoder(nn.Module):
    """Embeddings, six blocks and a classifier; DistilBERT has 30,522 words and a width of 768."""

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, width // 64, 4 * width, dropout=0.0, batch_first=True) for _ in range(6)
        )
        self.last = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.words(x)
        for block in self.blocks:
            h = block(h)
        out: Tensor = self.last(h.mean(1))
        return out


def drawn(n: int, seed: int, given: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Records of two classes, each with some words of its class among words that hardly another record has."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % CLASSES
    x = torch.randint(CLASSES * OWN, given.words, (n, given.tokens), generator=generator)
    x[:, :TELLING] = torch.randint(OWN, (n, TELLING), generator=generator) + OWN * y[:, None]
    wrong = torch.rand(n, generator=generator) < WRONG
    return x, torch.where(wrong, 1 - y, y)


def both_sets(given: argparse.Namespace) -> list[tuple[Tensor, Tensor]]:
    """The training records and the holdout."""
    return [drawn(n, seed, given) for seed, n in enumerate((given.records, HOLDOUT))]


def train(
    logits: Callable[[Tensor], Tensor], groups: list[dict[str, Any]], data: tuple[Tensor, Tensor], passes: int
) -> None:
    """Train in place by Adam, with one cycle of rates."""
    x, y = data
    optimiser = torch.optim.Adam(groups, fused=True)
    peaks = [group["lr"] for group in groups]
    steps = passes * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, peaks, total_steps=steps)
    for _ in range(passes):
        for rows in torch.randperm(len(x)).split(BATCH):
            optimiser.zero_grad()
            nn.functional.cross_entropy(logits(x[rows]), y[rows]).backward()
            optimiser.step()
            schedule.step()


def known(logits: Callable[[Tensor], Tensor], data: tuple[Tensor, Tensor]) -> str:
    """The share of labels that a model gives rightly, of up to 500 records."""
    with torch.no_grad():
        given = torch.cat([logits(x).argmax(1) for x in data[0][:500].split(50)])
    return f"{float((given == data[1][:500]).float().mean()):.3f}"


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


def _size(parameters: Any) -> float:
    return sum(p.numel() * p.element_size() for p in parameters) / 1e6


def _encoder(given: argparse.Namespace, folder: Path) -> tuple[nn.Module, Task, nn.Module]:
    """The model to unlearn, its task, and the network that holds all of its weights."""

    def build() -> Encoder:
        network = Encoder(given.words, given.width)
        if given.case == "last block":
            network.requires_grad_(False)
            for part in (network.blocks[-1], network.last):
                part.requires_grad_(True)
        return network

    model = build().eval()
    model.load_state_dict(load_file(folder / "encoder.safetensors"))
    sets = [TensorDataset(*records) for records in both_sets(given)]
    return model, Task(train=sets[0], holdout=sets[1], build_model=build), model


def measure(given: argparse.Namespace) -> None:
    """Print one case; for a process of its own."""
    folder = Path(given.weights)
    load = adapters.load if given.case == "adapters" else _encoder
    model, task, network = load(given, folder)
    task.batch_size = task.micro_batch = given.micro_batch
    size, moving = _size(network.parameters()), _size(p for p in network.parameters() if p.requires_grad)
    _warm_up()
    gc.collect()
    before = megabytes()
    with Peak() as pass_alone:
        records = [task.train[i] for i in range(given.micro_batch)]
        out = task.forward(model, task.unpack(task.collate(records))[0])
        out.sum().backward()
    for part in (model, network):
        part.zero_grad(set_to_none=True)
    del out
    gc.collect()
    activations = max(0.0, pass_alone.most - before - moving)
    start = megabytes()
    method = efface.methods.Steer(steps=given.steps, passes=0.0, pool=300)
    # so few steps may change too little to be kept
    with Peak() as run, suppress(efface.NothingUnlearnedError):
        efface.unlearn(model, forget=range(FORGET), task=task, method=method, options=OPTIONS)
    above = run.most - start
    print(
        f"{given.case}: weights {size:.0f} MB, of which {moving:.1f} MB move; peak {above:.0f} MB above the loaded "
        f"model, activations {activations:.0f} MB: {(above - activations) / size:.2f} times the weights "
        f"(aim {CASES[given.case]})",
        flush=True,
    )


def make(given: argparse.Namespace, folder: Path) -> None:
    """Train the network that all weights and the last block are measured on, and write its weights."""
    network = Encoder(given.words, given.width)
    words = {id(p) for p in network.words.parameters()}
    rest = [p for p in network.parameters() if id(p) not in words]
    groups = [{"params": [*network.words.parameters()], "lr": RATE_WORDS}, {"params": rest, "lr": RATE}]
    sets = both_sets(given)
    train(network, groups, sets[0], given.passes)
    print(f"network: accuracy {known(network, sets[0])} on training records, {known(network, sets[1])} on the holdout")
    save_file(network.state_dict(), folder / "encoder.safetensors")


def main() -> None:
    """Train, and measure each case in a new process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=30_522)
    parser.add_argument("--width", type=int, default=768, help="a multiple of 64")
    parser.add_argument("--records", type=int, default=600, help="of training")
    parser.add_argument("--tokens", type=int, default=8, help="of a record")
    parser.add_argument("--passes", type=int, default=2, help="over the records, in training")
    parser.add_argument("--steps", type=int, default=3, help="of steer")
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--case", choices=list(CASES), help="one case; by default all weights and the last block")
    parser.add_argument("--weights", help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.manual_seed(4711)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", efface.EffaceWarning)
    if given.weights:
        measure(given)
        return
    with tempfile.TemporaryDirectory() as folder:
        if given.case == "adapters":
            adapters.make(given, Path(folder))
        else:
            make(given, Path(folder))
        for case in [given.case] if given.case else ["all weights", "last block"]:
            options = {
                "words": given.words,
                "width": given.width,
                "steps": given.steps,
                "weights": folder,
                "case": case,
            }
            words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
            words += ["--micro-batch", str(given.micro_batch)]
            subprocess.run([sys.executable, "-m", "benchmarks.memory", *words], check=True)


if __name__ == "__main__":
    main()
