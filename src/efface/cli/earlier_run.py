"""Finding the efface run that made a weights file, by the report in the same folder."""

import json
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from efface.auditing.report.provenance import METHODS_REFERENCE
from efface.cli.output import REPORT
from efface.errors import RequestError
from efface.methods import Method, get
from efface.models.checkpoint import weights_digest
from efface.models.weights_file import find_weights


@dataclass(frozen=True)
class EarlierRun:
    """What a report says about the run that it is of.

    Args:
        seed: seed of the run.
        method: the method, with its options.
        reference: digest of the weights of the run's reference model; None if it had none.
    """

    seed: int
    method: Method
    reference: str | None


def find_earlier_run(weights: Path, model: nn.Module) -> EarlierRun | None:
    """Find the run that made a weights file, so that an audit can leave out the holdout records that the run used.

    Args:
        weights: the weights, as a file or in a folder; a report is looked for beside them.
        model: a network with these weights.

    Returns:
        The run; None if there is no report, or it is about other weights.
    """
    try:
        report = json.loads((find_weights(weights).path.parent / REPORT).read_text(encoding="utf-8"))
        if report["weights"]["unlearned"] != weights_digest(model):
            return None
        options = {name: str(value) for name, value in report["method"]["options"].items()}
        references = [m["digest"] for m in report["models"] if m["what"] == METHODS_REFERENCE]
        method = get(report["method"]["key"], options)
        return EarlierRun(int(report["seed"]), method, next(iter(references), None))
    except (OSError, ValueError, KeyError, TypeError, RequestError):
        return None
