"""Canaries: records with random labels, put into some shadows and forgotten again; can it be told which had them?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset, TensorDataset

from efface.auditing.inputs import AuditInputs
from efface.auditing.shadow_models import MethodSpec, forgotten, train_all
from efface.data.checks import MAX_SHARE, MIN_RETAIN
from efface.data.records import Records
from efface.ensembles import ModelSpec, Training
from efface.metrics.epsilon import canary_epsilon
from efface.models.running import logits_of
from efface.numerics.logits import margin, symlog
from efface.runtime.cost import Meter
from efface.runtime.progress import track
from efface.runtime.seeds import derive_seed
from efface.task import Task, unpack_pair
from efface.types import Indices

CANARIES = 32
LEVEL = 0.95


@dataclass(frozen=True)
class Canaries:
    """What came of guessing, for each canary and half of the shadows, whether it was put in before it was forgotten.

    `right` of `guesses` were right after unlearning, `original_right` before. The epsilons are lower bounds of
    coverage `level`; 0 where guessing is no better than chance.
    """

    records: int
    shadows: int
    guesses: int
    right: int
    epsilon_low: float
    level: float
    original_right: int
    original_epsilon_low: float


class Relabelled(Dataset[Any]):
    """A dataset of pairs, some of whose targets are others."""

    def __init__(self, dataset: Dataset[Any], labels: dict[int, int]) -> None:
        self._dataset, self._labels = dataset, labels

    def __len__(self) -> int:
        return len(self._dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Any:
        inputs, target = self._dataset[index]
        return inputs, self._labels.get(index, target)


def relabelled(dataset: Dataset[Any], labels: dict[int, int]) -> Dataset[Any]:
    """The dataset with other targets at some positions; a plain TensorDataset stays one, since it is read faster."""
    if type(dataset) is TensorDataset and len(dataset.tensors) == 2:
        inputs, targets = dataset.tensors
        targets = targets.clone()
        for at, label in labels.items():
            targets[at] = label
        return TensorDataset(inputs, targets)
    return Relabelled(dataset, labels)


@dataclass(frozen=True)
class Planted:
    """Canaries at training positions `chosen`, put into shadow k where inside[k] says so; held[k] is what it trains on.

    `train` has their labels, and so has `read` where records are read without augmentation.
    """

    chosen: Indices
    inside: NDArray[np.bool_]
    held: Sequence[Indices]
    train: Dataset[Any]
    read: Dataset[Any] | None

    def task(self, whole: Task, k: int) -> Task:
        """The task of shadow k, whose training set is what it was trained on; ids are positions in the whole one."""
        at = self.held[k].tolist()
        read = None if self.read is None else Subset(self.read, at)
        return replace(whole, train=Subset(self.train, at), ids=at, eval_records=read)


def try_canaries(
    subject: AuditInputs, remake: MethodSpec, shadows: int, training: Training, seed: int, meter: Meter
) -> Canaries | str:
    """Train shadows with a random half of the canaries each, unlearn those with the request, and guess; or say why not.

    Canaries take the place of retain records that no part of the run used. Inclusion is by a fair coin for each
    canary and shadow, so a guesser against an epsilon-indistinguishable method is right at most
    e^eps / (1 + e^eps) of the time (Steinke, Nasr and Jagielski, arXiv 2305.08846, with delta = 0): Clopper and
    Pearson's lower limit of that share gives the bound.
    """
    planted = plant(subject, shadows, seed)
    if isinstance(planted, str):
        return planted
    task = subject.request.task
    before: list[Tensor] = []
    after: list[Tensor] = []
    specs = [ModelSpec(planted.train, at, derive_seed(seed, "canaries", str(k))) for k, at in enumerate(planted.held)]
    originals = train_all(subject, specs, "canaries", training, meter).models
    records = Records(planted.train if planted.read is None else planted.read, task)
    with track("forgetting the canaries", shadows, training.progress) as advance:
        for k, model in enumerate(originals):
            asked = [*subject.request.forget.tolist(), *planted.chosen[planted.inside[k]].tolist()]
            own = derive_seed(seed, "canary", str(k))
            done = forgotten(planted.task(task, k), model, asked, remake, own, None, meter)
            for kept, one in ((before, model), (after, done)):
                kept.append(_read(subject, records, one, planted.chosen, meter))
            advance()
    bits = torch.from_numpy(planted.inside)
    (right, guesses), (known, _) = (guessed(torch.stack(v), bits) for v in (after, before))
    bounds = [canary_epsilon(r, guesses, LEVEL) for r in (right, known)]
    return Canaries(len(planted.chosen), shadows, guesses, right, bounds[0], LEVEL, known, bounds[1])


def plant(subject: AuditInputs, shadows: int, seed: int) -> Planted | str:
    """Choose canaries, their labels and their shadows; or say why there can be none."""
    request, task = subject.request, subject.request.task
    if task.unpack is not unpack_pair:
        return "canaries need records that are pairs (input, target), without Task.unpack"
    # a shadow forgets its canaries with the request, and both together may not be more than a request may be
    asked_for, size = len(request.forget), len(request.train)
    room = min(int(MAX_SHARE * size), size - MIN_RETAIN) - asked_for
    if room < 1:
        return f"canaries need room in the request: it is {asked_for} of {size} training records already"
    rng = np.random.default_rng(derive_seed(seed, "canaries"))
    chosen = np.sort(rng.permutation(subject.references)[: min(CANARIES, room)])
    true = request.train.targets(chosen).numpy()
    drawn = (true + rng.integers(1, request.classes, len(chosen))) % request.classes
    labels = dict(zip(chosen.tolist(), drawn.tolist(), strict=True))
    inside = rng.random((shadows, len(chosen))) < 0.5
    held = [np.setdiff1d(np.arange(size, dtype=np.int64), chosen[~row]) for row in inside]
    read = None if task.eval_records is None else relabelled(task.eval_records, labels)
    return Planted(chosen, inside, held, relabelled(task.train, labels), read)


def guessed(values: Tensor, inside: Tensor) -> tuple[int, int]:
    """How many inclusions are guessed right from values (shadows, canaries), and of how many: those of the second half.

    A guess compares a canary's value with the middle between its means in the first half's shadows with and without
    it. Which side means `inside` is learned over all canaries there, since forgetting may overshoot. Were each shadow
    guessed from all others, guesses would hang together, and the bound be missed more often than stated.
    """
    values = values - values.mean(1, keepdim=True)  # a shadow's level is common to all its canaries
    half = len(values) // 2
    v, held = values[:half], inside[:half].double()
    with_it = (v * held).sum(0) / held.sum(0)
    without = (v * (1 - held)).sum(0) / (1 - held).sum(0)
    middle = torch.where((with_it + without).isfinite(), (with_it + without) / 2, v.mean(0))
    higher = bool((with_it - without).nanmean() >= 0)
    right = ((values[half:] > middle) == higher) == inside[half:]
    return int(right.sum()), right.numel()


def _read(
    subject: AuditInputs, records: Records, model: nn.Module, at: Sequence[int] | Indices, meter: Meter
) -> Tensor:
    with meter.phase("scoring"):
        return symlog(margin(logits_of(subject.request.task, model, records, at, meter), records.targets(at)))
