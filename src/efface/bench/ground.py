"""What a model says of a request's records, neighbours, retain and test records; what remains of a request."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from efface.attacks.views import copier, view
from efface.data.records import Records as Readable
from efface.features import penultimate
from efface.metrics.distance import Remains, common_removed, remains
from efface.metrics.membership import separate
from efface.numerics.logits import log_likelihood, margin, squash
from efface.runtime import Meter
from efface.strong.reading import CELLS

ELSEWHERE = 1000  # records of retain, of test, and of the control that takes out a model's level and scale


@dataclass
class Ground:
    """Where the models of one request are read; `judge` is a retrained model that neighbours are sought by."""

    task: object
    forget: np.ndarray
    judge: nn.Module
    seen: dict[str, tuple[Readable, np.ndarray]] = field(init=False)

    def __post_init__(self) -> None:
        train, test = Readable(self.task.train, self.task), Readable(self.task.test, self.task)
        kept = np.setdiff1d(np.arange(len(train)), self.forget)
        rng = np.random.default_rng(5)
        self.seen = {
            "forget": (train, self.forget),
            "retain": (train, np.sort(rng.choice(kept, ELSEWHERE, replace=False))),
            "test": (test, np.arange(ELSEWHERE)),
            "control": (test, np.arange(ELSEWHERE, 2 * ELSEWHERE)),
        }
        others = np.arange(2 * ELSEWHERE, len(test))
        seen = [
            penultimate(self.task, self.judge, r, at, Meter())[0] for r, at in (self.seen["forget"], (test, others))
        ]
        ours, theirs = (nn.functional.normalize(v.double() - seen[1].double().mean(0), dim=1) for v in seen)
        self.seen["near"] = test, others[np.unique((ours @ theirs.T).argmax(1).numpy())]

    def read(self, model: nn.Module) -> dict[str, Tensor]:
        """Each statistic with the model's level and scale on never-seen records taken out, and plain ones."""
        train = self.seen["forget"][0]
        perturb = copier(self.task, train)
        views = {
            name: view(self.task, model, records, at, 3, Meter(), perturb if name in ("forget", "control") else None)
            for name, (records, at) in self.seen.items()
        }
        told = {}
        for cell in CELLS:
            values, control = cell.read(views[cell.place], ()), cell.read(views["control"], ())
            if values is not None and control is not None:
                told[cell.key] = common_removed(squash(values)[None], squash(control)[None])[0]
        z, y = views["forget"].logits, views["forget"].targets
        t, ty = views["test"].logits, views["test"].targets
        unseen, uy = torch.cat([t, views["control"].logits]), torch.cat([ty, views["control"].targets])
        told["accuracy forget"] = (z.argmax(1) == y).double().mean()
        told["accuracy retain"] = (views["retain"].logits.argmax(1) == views["retain"].targets).double().mean()
        told["accuracy test"] = (unseen.argmax(1) == uy).double().mean()
        told["auc"] = torch.tensor(separate(log_likelihood(z, y), log_likelihood(unseen, uy)).value)
        told["probabilities"] = z.double().softmax(1)
        told["raw margin"] = margin(z, y)
        return told

    def reads(self, models) -> dict[str, Tensor]:
        rows = [self.read(m) for m in models]
        return {key: torch.stack([r[key] for r in rows]) for key in rows[0]}


def judged(original, unlearned, retrained) -> dict[str, Remains]:
    """What remains by each statistic; unlearned model i was made from original i."""
    return {
        c.key: remains(original[c.key], unlearned[c.key], retrained[c.key], paired=True)
        for c in CELLS
        if c.key in original
    }
