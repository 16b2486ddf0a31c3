"""The audit's reference models, trained on none of the forget records, the holdout, and the method's own records."""

from collections.abc import Sequence

from torch import nn

from efface.auditing.config import Level
from efface.auditing.inputs import AuditInputs
from efface.calibration.reference import check_reference
from efface.data.checks import Findings
from efface.errors import RequestError
from efface.models.checks import check_fresh
from efface.models.init import fresh_model
from efface.models.training import train
from efface.runtime.cost import Meter
from efface.runtime.printing import how_many_do
from efface.runtime.progress import track
from efface.runtime.seeds import derive_seed

MIN_REFERENCE_RECORDS = 50


def reference_models(inputs: AuditInputs, meter: Meter) -> tuple[Sequence[nn.Module], str]:
    """The reference models that were given, or else new ones.

    Args:
        inputs: The checked audit.
        meter: Charged with what is trained and read.

    Returns:
        The models and an empty text, or no models and the reason.

    Raises:
        RequestError: A given model is no better than chance on never-seen records.
    """
    if inputs.level is Level.QUICK:
        return [], "level quick has no reference models: use level standard"
    with meter.phase("references"):
        if not inputs.references:
            return _trained(inputs, meter)
        problems = [check_reference(inputs.request, inputs.nonmembers, m, meter) for m in inputs.references]
        if bad := [f"references[{i}]: {p}" for i, p in enumerate(problems) if p]:
            raise RequestError(bad)
        return inputs.references, ""


def _trained(inputs: AuditInputs, meter: Meter) -> tuple[list[nn.Module], str]:
    request, positions, count = inputs.request, inputs.reference_records, inputs.reference_count
    if len(positions) < MIN_REFERENCE_RECORDS:
        return (
            [],
            f"only {how_many_do(len(positions), 'retain record')} left for reference models of the audit",
        )
    found = Findings()
    check_fresh(inputs.original, request.task, request.train, request.width, found)
    if found.problems:
        return [], "; ".join(found.problems)
    models: list[nn.Module] = []
    with track("training reference models of the audit", count, inputs.options.progress) as advance:
        for k in range(count):
            seed = derive_seed(inputs.seed, "reference", str(k))
            start = fresh_model(request.task, inputs.original, seed)
            model = train(request.task, start, request.train, positions, inputs.options.recipe, seed, meter)
            if problem := check_reference(request, inputs.nonmembers, model, meter):
                return [], problem
            models.append(model)
            advance()
    return models, ""
