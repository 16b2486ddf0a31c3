"""What two successive versions of a model tell of who left between them, by the size of the batch that left.

    python -m benchmarks.two_versions                     # about 8 minutes of CPU time
    python -m benchmarks.two_versions --seeds 1 --repeats 1    # half a minute, to see that it works

The task is that of `benchmarks/digits_demo.py`: 1,000 training records of digits, 15 % of the labels wrong, a CNN that
knows them by heart. A batch of records drawn at random is unlearned by steer, as `efface run` does by default; the
attacker knows a record and its label, has the answers of the version before and of the one after, and wants to know
whether it is one of those that left. Attacks, each a score that is higher for who left:

    margin fell     margin of the label before, minus after (the two versions' logits)
    answers moved   total variation between the two versions' probabilities (no label)
    label only      whether the answer was the label before and is not after (no probabilities)
    before alone    margin of the version before; after alone: minus the margin of the version after

AUC is the chance that a record that left scores higher than another one: a training record that stayed, or a record
that no model saw. It is the mean over records that left, each against the records of its own run, with a 95 %
interval over seeds. "Found first" is the share of the batch found among as many highest scores of all training
records; chance is .001 to .05. Controls: "retrained" is the same batch left out of a training from another start,
"same start" from that of the version before, and "nobody left" two trainings on all records. Steer judges itself as
it does in a store, by its stop checks; no audit may refuse a version here.
"""

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor, nn

import efface
from benchmarks.digits_demo import digits_setting
from efface.data.records import Records
from efface.models.running import logits_of
from efface.models.training import Recipe, retrain
from efface.numerics.logits import margin
from efface.runtime.cost import Meter
from efface.runtime.devices import threads
from efface.runtime.provenance import versions
from efface.runtime.seeds import derive_seed
from efface.task import Task
from efface.unlearning.nothing import NothingUnlearnedError

SIZES = (1, 5, 20, 50)
RUNS = {1: 20, 5: 6, 20: 3, 50: 2}  # batches of a size, for each seed
TRAININGS = {1: 6, 5: 3, 20: 2, 50: 1}  # of which so many are left out of trainings too, which take ten times as long
CHANGES = ("steer", "retrained", "retrained, same start", "nobody left")
FIELDS = {"stayed": "AUC against those who stayed", "never": "AUC against those never seen", "first": "found first"}


@dataclass(frozen=True)
class Answers:
    """What two versions say of some records."""

    before: Tensor
    after: Tensor
    labels: Tensor


ATTACKS: dict[str, Callable[[Answers], Tensor]] = {
    "margin fell": lambda a: margin(a.before, a.labels) - margin(a.after, a.labels),
    "answers moved": lambda a: (a.before.softmax(1) - a.after.softmax(1)).abs().sum(1) / 2,
    "label only": lambda a: ((a.before.argmax(1) == a.labels) & (a.after.argmax(1) != a.labels)).double(),
    "before alone": lambda a: margin(a.before, a.labels),
    "after alone": lambda a: -margin(a.after, a.labels),
}


@dataclass(frozen=True)
class Found:
    """What an attack finds of one batch: AUC against who stayed and who was never there, and the share found first."""

    stayed: float
    never: float
    first: float


class Seed:
    """The models of one seed, and batches of its records.

    Args:
        seed: of everything drawn at random.
    """

    def __init__(self, seed: int) -> None:
        setting = digits_setting(seed)
        self.seed, self.task, self.method, self.build = seed, setting.task, setting.method, setting.build
        self.train = Records(self.task.train, self.task)
        self.never = Records(checked(self.task).test, self.task)
        self.original = self.trained(np.arange(len(self.train)), "original")

    def trained(self, records: np.ndarray, start: str) -> nn.Module:
        """A model trained on some of the records."""
        torch.manual_seed(derive_seed(self.seed, "start", start))
        return retrain(self.task, self.build(), records, derive_seed(self.seed, start), Meter(), Recipe())

    def batch(self, size: int, number: int) -> np.ndarray:
        """Records that leave together."""
        return np.random.default_rng([self.seed, size, number]).choice(len(self.train), size, replace=False)

    def unlearned(self, batch: np.ndarray) -> nn.Module | None:
        """The version that unlearns a batch, made as a store makes it; None where nothing was unlearned."""
        request = {"task": self.task, "forget": batch.tolist(), "method": self.method, "seed": self.seed}
        try:
            return efface.unlearn(self.original, **request, progress=False).model
        except NothingUnlearnedError:
            return None

    def attacked(self, after: nn.Module, batch: np.ndarray) -> Iterator[tuple[str, Found]]:
        """What each attack finds."""
        known, never = (self.answers(after, data) for data in (self.train, self.never))
        left = torch.zeros(len(self.train), dtype=torch.bool)
        left[batch] = True
        for name, attack in ATTACKS.items():
            scores, others = attack(known), attack(never)
            yield name, Found(auc(scores[left], scores[~left]), auc(scores[left], others), among_first(scores, left))

    def answers(self, after: nn.Module, data: Records) -> Answers:
        """What the original and another model say of all records of a set."""
        at = np.arange(len(data))
        before, now = (logits_of(self.task, model, data, at, Meter()).double() for model in (self.original, after))
        return Answers(before, now, data.targets(at))


def checked(task: Task) -> Task:
    """The task, which has records that no model sees."""
    assert task.test is not None
    return task


def auc(left: Tensor, others: Tensor) -> float:
    """The chance that a score of the first is higher than one of the others, ties counting half."""
    return float(((left[:, None] > others).double() + (left[:, None] == others).double() / 2).mean())


def among_first(scores: Tensor, left: Tensor) -> float:
    """The share of those that left among as many highest scores; of records with the same score, a share of each."""
    count = int(left.sum())
    least = scores.sort(descending=True).values[count - 1]
    above, level = scores > least, scores == least
    room = (count - int(above.sum())) / int(level.sum())
    return float((left & above).sum() + room * (left & level).sum()) / count


def means(by_seed: dict[int, list[Found]], field: str) -> list[float]:
    """For each seed, the mean over its batches."""
    return [statistics.mean(getattr(one, field) for one in batches) for batches in by_seed.values()]


def interval(values: list[float]) -> str:
    """The mean of the values of seeds, and half of its 95 % interval."""
    if not values:
        return "-"
    if len(values) < 2:
        return f"{values[0]:.3f}"
    half = student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.mean(values):.3f} ±{half:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--repeats", type=int, help="at most so many batches of a size for each seed")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    # by what was done, size and attack, then seed: what was found of each batch
    found: dict[tuple[str, int, str], dict[int, list[Found]]] = defaultdict(lambda: defaultdict(list))
    nothing = 0

    def note(what: str, size: int, seed: Seed, after: nn.Module, batch: np.ndarray) -> None:
        for attack, result in seed.attacked(after, batch):
            found[what, size, attack][seed.seed].append(result)

    for number in range(args.seeds):
        seed = Seed(number)
        everything = np.arange(len(seed.train))
        again = seed.trained(everything, "again")
        for size in SIZES:
            runs, trainings = (min(n[size], args.repeats or n[size]) for n in (RUNS, TRAININGS))
            for at in range(runs):
                batch = seed.batch(size, at)
                note("nobody left", size, seed, again, batch)
                after = seed.unlearned(batch)
                if after is None:
                    nothing += 1
                    continue
                note("steer", size, seed, after, batch)
            for at in range(trainings):
                batch = seed.batch(size, at)
                stays = np.setdiff1d(everything, batch)
                note("retrained", size, seed, seed.trained(stays, "again"), batch)
                note("retrained, same start", size, seed, seed.trained(stays, "original"), batch)
        print(f"seed {number} is done", flush=True)
    for field, title in FIELDS.items():
        print(f"\n{title:40}" + "".join(f"{f'batch of {size}':14}" for size in SIZES))
        for what in CHANGES:
            for attack in ATTACKS:
                values = [means(found[what, size, attack], field) for size in SIZES]
                print(f"{what:22}  {attack:14}  " + "".join(f"{interval(v):14}" for v in values))
    print(f"{nothing} batches of which steer unlearned nothing are left out; {versions()}")
    if args.json:
        rows = [
            {"what": what, "size": size, "attack": attack, **{field: means(seeds, field) for field in FIELDS}}
            for (what, size, attack), seeds in found.items()
        ]
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    with threads(1):
        main()
