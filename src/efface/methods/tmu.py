"""tmu: predict, by a twin of the problem, which forget records stay known; wrong labels for the others alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from efface.data.records import Records
from efface.methods.base import Problem, Step, descend, endless
from efface.methods.relabelling import Relabelling
from efface.models.features import penultimate
from efface.models.init import fresh_model
from efface.models.running import copy_model, device_of, joint_logits, logits_of, mode
from efface.models.training import Recipe, train
from efface.numerics.logits import of_classes
from efface.runtime.options import option
from efface.runtime.seeds import derive_seed
from efface.types import Floats, Indices


@dataclass(frozen=True)
class TMU(Relabelling):
    """w <- w - lr grad [ sum over forget CE(x, y') + alpha sum over retain CE(x, y) ] / (f + alpha r), y' = y if easy.

    A forget record is easy if a model without it would get it right; any other has a random wrong label y' (as in
    RandomLabel, in whose steps both kinds of records are read). Which are easy is predicted by a twin problem, whose
    answer is known: a copy of the original goes on training with the never-seen (calibration) records among the
    training records, so that these are to the twin what the forget records are to the original, and the original is the
    model without them. From two features of such a record a logistic regression learns whether the original gets it
    right, and then tells it of the forget records. The features are the mean distance to the `near` nearest retain
    records of the same label, by the normalised inputs of the last layer (of the twin, then of the original), and the
    loss under a young network that saw neither. Of a class that is wholly forgotten, no record is easy.

    Niu et al., for a tenth of a class of CIFAR-10. Public code trains the twin for 10 epochs by Adam at 1e-4, the young
    network for 2, and unlearns for 5 at 0.01 with decay 5e-4 and batches of 64; it is incomplete. The paper's third
    feature, robustness to an attack on the inputs, is not used there and not here, and noise that an earlier version
    adds in the last phase could not be had. We depart where the code scales features in each set by its own extremes
    (which a few records do not have), goes on from the twin, so that the model would have learnt held-out records, and
    trains the young network, here by the default recipe, on the forget set too.
    """

    key = "tmu"
    summary = "wrong labels for the forget records that a model without them is predicted to get wrong"
    source = "inspired by Niu et al., arXiv 2501.08615, of which only abstract, reviews and a part of the code were had"

    passes: int = option(10, "passes over training and never-seen records that train the twin", 1, 100_000)
    lr_twin: float = option(1e-4, "learning rate of Adam for the twin", 1e-8, 1.0)
    young: int = option(2, "passes over the retain records that train the young network", 1, 100_000)
    near: int = option(5, "nearest retain records whose mean distance is a feature", 1, 1000)

    def run(self, problem: Problem) -> Iterator[Step]:
        optimiser = self.make_optimiser(problem, decay=self.decay)
        return self.relabel(problem, optimiser, ~self.easy(problem))

    def easy(self, problem: Problem) -> Tensor:
        """Which forget records a model without them is predicted to get right, (records,), bool, on the CPU."""
        unseen, labels = problem.calibration, problem.holdout.targets(problem.calibration)
        known = logits_of(problem.task, problem.original, problem.holdout, unseen, problem.meter)
        right = (known.argmax(1) == labels).numpy()
        dropped = of_classes(problem.train.targets(problem.forget), problem.forget_classes)
        if right.all() or not right.any():  # nothing to learn
            return torch.full_like(dropped, bool(right.all())) & ~dropped
        twin, young = self._twin(problem), self._young(problem)
        learnt = self._features(problem, (twin, young), problem.holdout, unseen)
        asked = self._features(problem, (problem.original, young), problem.train, problem.forget)
        predictor = make_pipeline(StandardScaler(), LogisticRegression()).fit(learnt, right)
        return torch.from_numpy(predictor.predict(asked)) & ~dropped

    def _twin(self, problem: Problem) -> nn.Module:
        """The working copy, which nothing has changed yet, trained on with the never-seen records among its own."""
        twin, device = copy_model(problem.model), device_of(problem.model)
        optimiser = torch.optim.Adam([p for p in twin.parameters() if p.requires_grad], lr=self.lr_twin, fused=True)
        own, unseen = np.concatenate([problem.forget, problem.retain]), problem.calibration
        batches = problem.batches(own, self.batch, "tmu twin")
        size = max(2, round(self.batch * len(unseen) / len(own)))  # in proportion, so that each is seen equally often
        more = endless(unseen, size, derive_seed(problem.seed, "tmu", "unseen"))
        with mode(twin, training=len(unseen) > 1), torch.enable_grad():  # one record breaks BatchNorm in train mode
            for _ in range(self.passes * -(-len(own) // self.batch)):
                both = next(batches), problem.holdout.read(next(more)).to(device)
                z = torch.cat(joint_logits(problem.task, twin, both))
                problem.meter.count(forward=len(z), backward=len(z))
                descend(optimiser, F.cross_entropy(z, torch.cat([problem.labels(b) for b in both])))
        return twin

    def _young(self, problem: Problem) -> nn.Module:
        seed, task = derive_seed(problem.seed, "tmu", "young"), problem.task
        recipe = Recipe(epochs=self.young, batch=self.batch, least_steps=1)
        model = fresh_model(task, problem.original, seed)
        return train(task, model, problem.train, problem.retain, recipe, seed, problem.meter)

    def _features(
        self, problem: Problem, models: tuple[nn.Module, nn.Module], records: Records, positions: Indices
    ) -> Floats:
        """Both features of records, (records, 2): distance by the first model, loss under the second."""
        there, labels = described(problem, models[0], records, positions), records.targets(positions)
        here, own = described(problem, models[0], problem.train, problem.retain), problem.train.targets(problem.retain)
        distance = torch.zeros(len(there), dtype=torch.float64)
        for label in labels.unique():
            others = here[own == label] if bool((own == label).any()) else here
            found = NearestNeighbors(n_neighbors=min(self.near, len(others))).fit(others.numpy())
            distance[labels == label] = torch.from_numpy(found.kneighbors(there[labels == label].numpy())[0]).mean(1)
        z = logits_of(problem.task, models[1], records, positions, problem.meter)
        loss = F.cross_entropy(z, labels, reduction="none").double()
        stacked: Floats = torch.stack([distance, loss], 1).numpy()
        return stacked


def described(problem: Problem, model: nn.Module, records: Records, positions: Indices) -> Tensor:
    """Normalised inputs of a model's last layer, or logits where no layer is the last; float64, (records, d)."""
    found = penultimate(problem.task, model, records, positions, problem.meter)
    z = logits_of(problem.task, model, records, positions, problem.meter) if found is None else found[0]
    return F.normalize(z.double(), dim=1)
