"""The reference model of a run, trained on first use."""

from contextlib import suppress

from torch import nn

from efface.calibration.counterfactual import CalibrationRecords, CounterfactualLogits, original_logits
from efface.calibration.reference import RECIPES, check_reference, half_way_model, kept_share, reference_model
from efface.errors import DivergedError, RequestError
from efface.models.checkpoint import weights_digest
from efface.models.training import Recipe
from efface.unlearning.run import Run


class Reference:
    """Trains the reference model of a run, and makes the expected logits of never-seen records from it.

    The reference model is not trained on forget, heldout_retain or holdout records.

    Args:
        run: The run.
    """

    def __init__(self, run: Run) -> None:
        self.digest: str | None = None  # of the reference model's weights, once it is trained
        self._run = run
        self._counterfactual: CounterfactualLogits | None = None

    def counterfactual(self) -> CounterfactualLogits:
        """The expected logits; the first call trains the reference model, later calls return the same object.

        Raises:
            RequestError: The reference model is no better than chance, or no holdout record is of a class that stays.
            DivergedError: Its training diverged.
        """
        if self._counterfactual is None:
            run = self._run
            request, places = run.request, self._records()
            with run.meter.phase("targets"):
                known = original_logits(request.task, run.original, places, run.meter)
            trained = self._train(kept_share(known.gap))
            self.digest = weights_digest(trained)
            with run.meter.phase("targets"):
                self._counterfactual = CounterfactualLogits(
                    request.task, run.original, trained, places, run.meter, known
                )
        return self._counterfactual

    def release(self) -> None:
        """Let go of the reference model's weights, if it was trained."""
        if self._counterfactual is not None:
            self._counterfactual.release()

    def _records(self) -> CalibrationRecords:
        request, splits = self._run.request, self._run.splits
        return CalibrationRecords(
            train=request.train,
            holdout=request.holdout,
            members=splits.heldout_retain,
            nonmembers=splits.calibration,
            forget_classes=request.forget_classes,
            request=len(splits.forget),
        )

    def _train(self, kept: float) -> nn.Module:
        given = self._run.options.reference
        *first, last = (given,) if given else RECIPES
        for recipe in first:
            with suppress(DivergedError, RequestError):
                return self._trained(recipe, kept)
        return self._trained(last, kept)

    def _trained(self, recipe: Recipe, kept: float) -> nn.Module:
        run, request = self._run, self._run.request
        with run.meter.phase("reference"):
            start = half_way_model(request.task, run.original, run.seed, kept)
            # members are to be as new to it as the forget records are, so they have left too
            task = request.task.after(run.splits.heldout_retain)
            trained = reference_model(task, start, request.train, run.splits.reference, recipe, run.seed, run.meter)
            problem = check_reference(request, run.splits.calibration, trained, run.meter)
        if problem is not None:
            raise RequestError(problem)
        return trained
