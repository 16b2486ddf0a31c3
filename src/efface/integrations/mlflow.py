"""MLflow: a run with the metrics, the report and the receipt, and a version of the model that says what was done."""

import math
import re
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from efface.auditing.report.build import Report
from efface.data.records import Records
from efface.errors import RequestError, kind_of
from efface.integrations import library
from efface.models.running import copy_model
from efface.runtime.options import clear_calls
from efface.unlearning.result import Result

FOLDER = "efface"  # of the run's artifacts
TAG = "efface."
NOT_IN_NAMES = re.compile(r"[^\w/ .:-]")  # of metrics, as MLflow takes them


@clear_calls()
def log(
    report: Report,
    *,
    result: Result | None = None,
    name: str | None = None,
    log_model: Callable[..., Any] | None = None,
) -> str:
    """Log an unlearning run and its audit to MLflow, and register the unlearned model.

    It logs to the active run, or to a run of its own. The artifacts are what `report.save` and `result.save` write.

    Args:
        report: The audit of the run.
        result: The result of the run; by default the one that the report is about.
        name: The registered model that gets a version; None logs no model.
        log_model: How the model is logged, called as `log_model(model, name=...)`; by default by
            `mlflow.pytorch.log_model`, traced by `torch.export` on inputs of zeros, so that nothing is pickled.

    Returns:
        The id of the MLflow run.

    Raises:
        RequestError: MLflow is missing, the report is about no run of efface, or the model takes more than one tensor.
    """
    mlflow = library("mlflow", "mlflow")
    if not isinstance(report, Report):
        raise RequestError(f"expected a report of efface.audit, got {kind_of(report)}")
    run = result or report.result
    if run is None:
        raise RequestError("the report is about two models, not about a run of efface: give result=")
    own = None if mlflow.active_run() else mlflow.start_run(run_name=f"unlearn {len(run.splits.forget)} records")
    try:
        return _log(mlflow, report, run, name, log_model)
    finally:
        if own is not None:
            mlflow.end_run()


def tags_of(report: Report, result: Result) -> dict[str, str]:
    """What the tags of a run and of a model version say: outcome, verdict, method, size of the request, seed."""
    return {
        f"{TAG}status": str(report.verdict.status),
        f"{TAG}outcome": str(result.evidence.outcome),
        f"{TAG}method": result.method.key,
        f"{TAG}forgotten": str(len(result.splits.forget)),
        f"{TAG}level": str(report.level),
        f"{TAG}seed": str(result.seed),
    }


def metrics_of(report: Report, result: Result) -> dict[str, float]:
    """Numbers of the audit and of the cost, by names that MLflow takes."""
    found = {"cost/wall_seconds": result.cost.wall_s, "cost/cpu_seconds": result.cost.cpu_s}
    for metric in report.metrics:
        for side in ("original", "unlearned", "retrained"):
            estimate = getattr(metric, side).estimate
            if estimate is not None and math.isfinite(estimate.value):
                key = NOT_IN_NAMES.sub("_", f"audit/{metric.records}/{metric.key}/{side}")
                found[key] = float(estimate.value)
    return found


def _log(mlflow: Any, report: Report, result: Result, name: str | None, log_model: Callable[..., Any] | None) -> str:
    run = mlflow.active_run().info.run_id
    tags = tags_of(report, result)
    mlflow.set_tags(tags)
    mlflow.log_metrics(metrics_of(report, result))
    with tempfile.TemporaryDirectory() as folder:
        report.save(folder)
        result.save(Path(folder) / "unlearned.safetensors")
        mlflow.log_artifacts(folder, FOLDER)
    if name is not None:
        if log_model is None:
            log_model = partial(mlflow.pytorch.log_model, input_example=_zeros(result), serialization_format="pt2")
        logged = log_model(copy_model(result.model).cpu().eval(), name=name)
        version = mlflow.register_model(logged.model_uri, name)
        client = mlflow.MlflowClient()
        for key, value in {**tags, f"{TAG}run": run}.items():
            client.set_model_version_tag(name, version.version, key, value)
    return str(run)


def _zeros(result: Result) -> NDArray[Any]:
    """Inputs by which MLflow traces a model: zeros, since an example of real ones would put records into the run."""
    inputs = Records(result.task.holdout, result.task).read([0, 1]).inputs
    if not isinstance(inputs, Tensor):
        raise RequestError(
            "MLflow traces a model by one tensor, and this one takes several: give log_model=, such as a function "
            "that calls mlflow.transformers.log_model"
        )
    return torch.zeros_like(inputs).cpu().numpy()
