"""The two controls that every score stands between: doing nothing, and training afresh without the forget set.

To unlink only is beside the first, since it moves no weight either.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from efface.errors import RequestError
from efface.methods.base import Method, Problem, Step
from efface.models.running import own_weights
from efface.models.training import Recipe, retrain
from efface.runtime.options import option
from efface.runtime.seeds import derive_seed
from efface.task import Task


@dataclass(frozen=True)
class Noop(Method):
    """w = w*: the original's weights, untouched."""

    key = "noop"
    summary = "control: change nothing"
    source = "control"
    is_control = True

    @property
    def length(self) -> int:
        return 0

    @property
    def max_evaluations(self) -> int:
        return 0

    def run(self, problem: Problem) -> Iterator[Step]:
        return iter(())


@dataclass(frozen=True)
class UtU(Noop):
    """w = w*: what leaves is no longer read with the rest, and no weight moves.

    Every run of efface reads a model in the structure after the deletion, so that this is all that is left to do. It
    is a method of its own since it is published as one; beside `noop` it tells that the structure changed.
    """

    key = "utu"
    summary = "unlink only: what leaves is no longer read with the rest, and no weight moves"
    source = "Tan et al. (UtU), arXiv 2402.10695 (by its abstract)"
    needs_structure = True


@dataclass(frozen=True)
class Retrain(Method):
    """w = argmin over w of the training loss on the retain set, from a fresh start, by `Task.fit`.

    Without `Task.fit`, by the default recipe with `epochs` and `lr`, which need not be how the original was trained.
    """

    key = "retrain"
    summary = "control: train afresh on the retain set (Task.fit, else a default recipe)"
    starts_anew = True
    source = "control"
    is_control = True
    needs_fresh = True

    epochs: int = option(30, "epochs of the default recipe, where there is no Task.fit", 1, 10_000)
    lr: float = option(1e-3, "learning rate of the default recipe", 1e-8, 1.0)

    @property
    def length(self) -> int:
        return 1

    @property
    def max_evaluations(self) -> int:
        return 1

    def warnings(self, task: Task) -> tuple[str, ...]:
        """That the recipe is not the user's own, where there is none."""
        if task.fit is not None:
            return ()
        recipe = f"Adam, {self.epochs} epochs, learning rate {self.lr:g}"
        return (f"the task has no fit, so the model was trained anew by a stock recipe ({recipe}), not its own",)

    def run(self, problem: Problem) -> Iterator[Step]:
        recipe = Recipe(epochs=self.epochs, lr=self.lr, batch=128)
        seed = derive_seed(problem.seed, "retrain")
        model = retrain(problem.task, problem.original, problem.all_retain, seed, problem.meter, recipe)
        own_weights(problem.model, problem.original)  # before they are written to
        try:
            problem.model.load_state_dict(model.state_dict())
        except RuntimeError as error:
            raise RequestError("Task.build_model gives another network than the model: their weights differ") from error
        yield Step(1, float("nan"), is_eval_point=True)
