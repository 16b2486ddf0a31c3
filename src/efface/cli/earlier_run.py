"""The efface run that made some weights, as the report beside them says."""

import json
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from efface.auditing.report.provenance import METHODS_REFERENCE
from efface.cli.output import REPORT
from efface.errors import RequestError
from efface.methods import Method, get
from efface.models.checkpoint import weights_digest


@dataclass(frozen=True)
class EarlierRun:
    """What is known of a run.

    Args:
        reference: digest of the reference model that the method used, if it used one.
    """

    seed: int
    method: Method
    reference: str | None


def find_earlier_run(weights: Path, model: nn.Module) -> EarlierRun | None:
    """The run that made these weights; None where the report beside them is of others, or there is none.

    An audit leaves out the holdout records that the run used.

    Args:
        weights: the file.
        model: a network that holds them.
    """
    try:
        report = json.loads((weights.parent / REPORT).read_text(encoding="utf-8"))
        if report["weights"]["unlearned"] != weights_digest(model):
            return None
        options = {name: str(value) for name, value in report["method"]["options"].items()}
        references = [m["digest"] for m in report["models"] if m["what"] == METHODS_REFERENCE]
        method = get(report["method"]["key"], options)
        return EarlierRun(int(report["seed"]), method, next(iter(references), None))
    except (OSError, ValueError, KeyError, TypeError, RequestError):
        return None
