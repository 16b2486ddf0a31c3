"""The reference model of a run, trained when it is first asked for."""

from torch import nn

from efface.calibration.counterfactual import CalibrationRecords, CounterfactualLogits
from efface.calibration.reference import RECIPE, check_reference, reference_model
from efface.errors import RequestError
from efface.models.checkpoint import weights_digest
from efface.unlearning.run import Run


class Reference:
    """What a model that never saw a record would say of it, by a reference model of the run's own.

    The reference model is trained on no forget, heldout_retain or holdout record.
    """

    def __init__(self, run: Run) -> None:
        self.digest: str | None = None  # of the reference model's weights, once it is trained
        self._run = run
        self._counterfactual: CounterfactualLogits | None = None

    def counterfactual(self) -> CounterfactualLogits:
        """The same object at every call; the first call trains the reference model.

        Raises:
            RequestError: The reference model learned nothing, so it cannot serve.
            DivergedError: Its training diverged.
        """
        if self._counterfactual is None:
            trained = self._train()
            self.digest = weights_digest(trained)
            self._counterfactual = self._calibrate(trained)
        return self._counterfactual

    def _train(self) -> nn.Module:
        run = self._run
        request, recipe = run.request, run.options.reference or RECIPE
        with run.meter.phase("reference"):
            trained = reference_model(
                request.task, run.original, request.train, run.splits.reference, recipe, run.seed, run.meter
            )
            problem = check_reference(request, run.splits.calibration, trained, run.meter)
        if problem is not None:
            raise RequestError(problem)
        return trained

    def _calibrate(self, trained: nn.Module) -> CounterfactualLogits:
        run = self._run
        request = run.request
        with run.meter.phase("targets"):
            return CounterfactualLogits(
                request.task,
                run.original,
                trained,
                CalibrationRecords(
                    train=request.train,
                    holdout=request.holdout,
                    members=run.splits.heldout_retain,
                    nonmembers=run.splits.calibration,
                    forget_classes=request.forget_classes,
                ),
                run.meter,
            )
