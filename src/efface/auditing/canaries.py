"""Canaries: records with random labels that some shadows are trained on and forget; how well can one guess which?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from efface.auditing.audit_test import CONFIDENCE
from efface.auditing.inputs import AuditInputs
from efface.auditing.relabel import relabel
from efface.auditing.shadow_models import forget_by_method, train_shadows
from efface.data.groups import read_groups
from efface.data.limits import MAX_SHARE, MIN_RETAIN
from efface.data.records import Records, subset
from efface.metrics.epsilon import canary_epsilon
from efface.models.ensembles import ModelSpec
from efface.models.running import logits_of
from efface.numerics.logits import symlog
from efface.runtime.cost import Meter
from efface.runtime.printing import Brief
from efface.runtime.progress import track
from efface.runtime.seeds import derive_seed
from efface.task import Task
from efface.types import Indices, SizedDataset

CANARIES = 32


@dataclass(frozen=True)
class Canaries:
    """The result of guessing, for each canary and each of half of the shadows, whether the shadow was trained on it.

    Args:
        records: Number of canaries.
        shadows: Number of shadows.
        guesses: Number of guesses.
        right: How many guesses are right after unlearning.
        epsilon_low: Lower bound of epsilon after unlearning, 0 or more; 0 if guessing is no better than chance.
        level: Coverage of the bounds.
        original_right: How many guesses are right before unlearning.
        original_epsilon_low: Lower bound of epsilon before unlearning, 0 or more.
    """

    records: int
    shadows: int
    guesses: int
    right: int
    epsilon_low: float
    level: float
    original_right: int
    original_epsilon_low: float


@dataclass(frozen=True, repr=False)
class Planted(Brief):
    """Canaries, and the shadows that are trained on them.

    Args:
        chosen: Training positions of the canaries.
        inside: Whether a shadow is trained on a canary, (shadows, canaries).
        held: For each shadow, the training positions that it is trained on.
        train: The training records with the canaries' labels.
        read: The same without augmentation; None if the task has no such records.
    """

    chosen: Indices
    inside: NDArray[np.bool_]
    held: Sequence[Indices]
    train: SizedDataset
    read: SizedDataset | None

    def shadow_task(self, task: Task, k: int) -> Task:
        """The task of shadow k: its training set holds the records that the shadow was trained on.

        Args:
            task: The task of the request.
            k: Number of the shadow, from 0.

        Returns:
            The task, with positions in the training set of `task` as ids.
        """
        at = self.held[k].tolist()
        read = None if self.read is None else subset(self.read, at)
        keys = read_groups(task, len(task.train), [])
        groups = None if keys is None else [keys[i] for i in at]
        return replace(task, train=subset(self.train, at), ids=at, groups=groups, eval_records=read)


def try_canaries(inputs: AuditInputs, planted: Planted, meter: Meter) -> Canaries:
    """Train shadows on a random half of the canaries each, unlearn these with the request, and guess which they were.

    Canaries replace retain records that no part of the run used. Inclusion is by a fair coin for each canary and
    shadow, so a guesser against an epsilon-indistinguishable method is right at most e^eps / (1 + e^eps) of the time
    (Steinke, Nasr and Jagielski, arXiv 2305.08846, with delta = 0): Clopper and Pearson's lower limit of that share
    gives the bound.

    Args:
        inputs: The checked audit; its method must be known.
        planted: The canaries of `plant`.
        meter: Charged with what is trained and read.
    """
    task, shadows = inputs.request.task, len(planted.held)
    before: list[Tensor] = []
    after: list[Tensor] = []
    seeds = [derive_seed(inputs.seed, "canaries", str(k)) for k in range(shadows)]
    specs = [ModelSpec(planted.train, at, seed) for at, seed in zip(planted.held, seeds, strict=True)]
    originals = train_shadows(inputs, specs, "canaries", meter).models
    records = Records(planted.train if planted.read is None else planted.read, task)
    with track("forgetting the canaries", shadows, inputs.options.progress) as advance:
        for k, model in enumerate(originals):
            asked = [*inputs.request.forget.tolist(), *planted.chosen[planted.inside[k]].tolist()]
            seed = derive_seed(inputs.seed, "canary", str(k))
            unlearned = forget_by_method(inputs, planted.shadow_task(task, k), model, asked, seed, None, meter)
            before.append(_read(task, records, model, planted.chosen, meter))
            after.append(_read(task, records, unlearned, planted.chosen, meter))
            advance()
    inside = torch.from_numpy(planted.inside)
    (right, guesses), (original_right, _) = (guess(torch.stack(values), inside) for values in (after, before))
    low, original_low = (canary_epsilon(r, guesses, CONFIDENCE) for r in (right, original_right))
    return Canaries(len(planted.chosen), shadows, guesses, right, low, CONFIDENCE, original_right, original_low)


def plant(inputs: AuditInputs) -> Planted | str:
    """Choose canaries, their labels, and the shadows that are trained on them: half as many as an ensemble has models.

    Args:
        inputs: The checked audit.

    Returns:
        The canaries, or the reason why there can be none.
    """
    request, task, shadows = inputs.request, inputs.request.task, inputs.options.models // 2
    # a shadow forgets its canaries with the request: both together must not exceed the limit for one request
    asked_for, size = len(request.forget), len(request.train)
    if not task.rules.has_classes:
        return f"no canaries, which are records of a wrong class: here a target is {task.rules.title}"
    if task.structure is not None:
        return "no canaries, whose wrong labels would reach the records that are read with them"
    room = min(int(MAX_SHARE * size), size - MIN_RETAIN) - asked_for
    if room < 1:
        return f"canaries need room in the request: it is {asked_for} of {size} training records already"
    rng = np.random.default_rng(derive_seed(inputs.seed, "canaries"))
    chosen = np.sort(rng.permutation(inputs.reference_records)[: min(CANARIES, room)])
    true = request.train.targets(chosen).numpy()
    drawn = (true + rng.integers(1, request.classes, len(chosen))) % request.classes
    if not (donors := _donors(request.train, chosen, true, drawn)):
        return "no canaries: all training records are of one class"
    inside = rng.random((shadows, len(chosen))) < 0.5
    held = [np.setdiff1d(np.arange(size, dtype=np.int64), chosen[~row]) for row in inside]
    train = relabel(task, task.train, donors)
    read = None if task.eval_records is None else relabel(task, task.eval_records, donors)
    if isinstance(train, str) or isinstance(read, str):
        return f"no canaries: {train if isinstance(train, str) else read}"
    return Planted(chosen, inside, held, train, read)


def _donors(records: Records, chosen: Indices, true: Indices, drawn: Indices) -> dict[int, int]:
    """A record of the class that was drawn for each canary; of the next class where no record has that one."""
    first: dict[int, int] = {}
    for start in range(0, len(records), 1024):
        targets = records.targets(range(start, min(start + 1024, len(records)))).tolist()
        first = {target: start + at for at, target in reversed([*enumerate(targets)])} | first
        if first.keys() >= set(drawn.tolist()):
            break
    classes = sorted(first)
    if len(classes) < 2:
        return {}
    donors = {}
    for at, own, label in zip(chosen.tolist(), true.tolist(), drawn.tolist(), strict=True):
        others = [c for c in classes if c != own]
        donors[at] = first[next((c for c in others if c >= label), others[0])]
    return donors


def guess(values: Tensor, inside: Tensor) -> tuple[int, int]:
    """Guess which canaries the second half of the shadows were trained on; the rule is learned on the first half.

    For each canary the threshold is the middle between its mean values in the first half's shadows with and without
    it. Which side of the threshold means "trained on" is learned once for all canaries, since forgetting may overshoot.
    If each shadow were guessed from all others, the guesses would be dependent, and the bound would fail more often
    than its level states.

    Args:
        values: The value of each canary under each shadow, (shadows, canaries).
        inside: Whether the shadow was trained on the canary, (shadows, canaries).

    Returns:
        How many guesses are right, and how many there are.
    """
    values = values - values.mean(1, keepdim=True)  # the mean of a shadow says nothing about single canaries
    half = len(values) // 2
    v, held = values[:half], inside[:half].double()
    mean_in = (v * held).sum(0) / held.sum(0)
    mean_out = (v * (1 - held)).sum(0) / (1 - held).sum(0)
    middle = torch.where((mean_in + mean_out).isfinite(), (mean_in + mean_out) / 2, v.mean(0))
    higher = bool((mean_in - mean_out).nanmean() >= 0)
    right = ((values[half:] > middle) == higher) == inside[half:]
    return int(right.sum()), right.numel()


def _read(task: Task, records: Records, model: nn.Module, at: Indices, meter: Meter) -> Tensor:
    """The symmetric logarithm of each canary's margin, (canaries,)."""
    with meter.phase("scoring"):
        return symlog(task.rules.margin(logits_of(task, model, records, at, meter), records.targets(at)))
