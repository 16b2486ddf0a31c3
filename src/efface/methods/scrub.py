"""scrub: disobey the original on the forget set and obey it on the retain set, in turn, then go back to fit."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from efface.data.records import Batch, Records
from efface.methods.base import Problem, Step, descend
from efface.methods.descent import Descent, Source, divergence, teacher_logits
from efface.models.checkpoint import copy_state
from efface.models.running import logits_of
from efface.runtime.options import option
from efface.types import Indices

CHECKPOINTS = 10  # as many as the published run has epochs


@dataclass(frozen=True)
class Scrub(Descent):
    """Max: w <- w + lr grad KL(original || w) on forget. Min: w <- w - lr grad [ alpha KL + gamma CE ] on retain.

    An epoch of min-steps is a pass over the retain set. Each of the first `rises` epochs begins with max-steps, a pass
    over the forget set; the others have min-steps alone. `steps` counts min-steps, so that 10 epochs are 10 times the
    retain set's batches; the max-steps belong to the min-step that they precede. One optimiser makes both kinds.
    Public code has Adam at 5e-4 for 10 epochs with alpha 0.5, gamma 1, 3 epochs with max-steps and T 2, or SGD at 5e-4
    for 3 epochs with alpha 0.001, gamma 0.99, 2 and T 4. KL is of outputs at temperature T, times its square. We decay
    neither weights nor learning rate. From w* itself KL has no slope, so unless dropout or batch statistics part model
    and original, the first max-steps hardly do anything.

    SCRUB+R is `rewind`: with the weights at the end, it takes the error on never-seen records of the forget set's
    classes (in its proportions; the calibration records) as the error that the forget set should have, and goes back
    to the checkpoint whose forget error is nearest. There are ten checkpoints, equally far apart, held on the CPU: one
    an epoch where there are ten. It happens before the last step is judged; a run that is stopped earlier stays there.
    """

    key = "scrub"
    summary = "disobey the original on the forget set and obey it on the retain set, then rewind to fit"
    source = "Kurmanji et al., NeurIPS 2023, arXiv 2302.09880 (written from the paper alone)"
    needs_classes = True

    lr: float = option(5e-4, "learning rate of Adam or SGD", 1e-8, 10.0)
    momentum: float = option(0.9, "first beta of Adam, or momentum of SGD", 0.0, 0.999)
    adam: bool = option(True, "whether to descend by Adam; else by SGD")
    alpha: float = option(0.5, "weight of KL(original || w) on the retain set", 0.0, 1e3)
    gamma: float = option(1.0, "weight of the cross-entropy on the retain set", 0.0, 1e3)
    rises: int = option(3, "epochs that begin with a pass of max-steps", 0, 100_000)
    temperature: float = option(2.0, "what the logits in KL are divided by", 1e-3, 1e3)
    rewind: bool = option(True, "whether to go back to the checkpoint with a fitting forget error")

    def run(self, problem: Problem) -> Iterator[Step]:
        optimiser = self.make_optimiser(problem, adam=self.adam)
        forget = problem.batches(problem.forget, self.batch, "scrub max")
        epoch, climb = (-(-len(at) // self.batch) for at in (problem.retain, problem.forget))
        done = 0

        def apart(batch: Batch, logits: Tensor) -> Tensor:
            return divergence(teacher_logits(problem, problem.original, batch), logits, self.temperature)

        def loss(retain: Batch) -> Tensor:
            nonlocal done
            if done % epoch == 0 and done < self.rises * epoch:
                for _ in range(climb):
                    batch = next(forget)
                    descend(optimiser, -apart(batch, problem.logits(batch)[0]))
            done += 1
            z = problem.logits(retain)[0]
            return self.alpha * apart(retain, z) + self.gamma * problem.loss(z, retain)

        # a batch of one forget record breaks BatchNorm in train mode
        training = len(problem.forget) > 1
        steps = self.sgd(problem, loss, [Source("retain", problem.retain)], training=training, optimiser=optimiser)
        yield from self._rewound(problem, steps) if self.rewind else steps

    def _rewound(self, problem: Problem, steps: Iterator[Step]) -> Iterator[Step]:
        """The steps, with the weights of the best checkpoint after the last."""
        due = {self.steps * i // CHECKPOINTS for i in range(1, CHECKPOINTS + 1)}
        checkpoints: list[tuple[float, dict[str, Any]]] = []
        for step in steps:
            if step.index in due:
                wrong = float(errors(problem, problem.train, problem.forget).mean())
                # a copy even of what is on the CPU
                state = copy_state(problem.model)
                checkpoints.append((wrong, {k: v.cpu() if isinstance(v, Tensor) else v for k, v in state.items()}))
            if step.index == self.steps:
                wanted = unseen_error(problem)
                if wanted is not None:
                    # the latest of equals
                    _, state = min(reversed(checkpoints), key=lambda checkpoint: abs(checkpoint[0] - wanted))
                    problem.model.load_state_dict(state)
            yield step


def errors(problem: Problem, records: Records, positions: Indices) -> Tensor:
    """Whether the working copy classifies each record wrongly: 1.0 if it does, else 0.0, (records,).

    Args:
        problem: The problem.
        records: A dataset.
        positions: Which of its records.
    """
    predicted = logits_of(problem.task, problem.model, records, positions, problem.meter).argmax(1)
    return (predicted != records.targets(positions)).float()


def unseen_error(problem: Problem) -> float | None:
    """Error rate, 0 to 1, on calibration records, with classes weighted as in the forget set; None without any."""
    forget, labels = problem.train.targets(problem.forget), problem.holdout.targets(problem.calibration)
    wrong = errors(problem, problem.holdout, problem.calibration)
    # of each class: how many forget records it has, and the error on its calibration records
    found = [
        (int((forget == c).sum()), float(wrong[labels == c].mean())) for c in forget.unique() if (labels == c).any()
    ]
    return sum(n * error for n, error in found) / sum(n for n, _ in found) if found else None
