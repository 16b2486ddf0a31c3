"""Finding the efface run that made a weights file, by the report in the same folder."""

import json
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from efface.auditing.report.wording import METHODS_REFERENCE
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
        twins: what the run did with twins; None if it looked for none that were to be forgotten or kept.
    """

    seed: int
    method: Method
    reference: str | None
    twins: str | None = None

    def check(self, weights: Path, method: str | None, twins: str | None) -> None:
        """Refuse options of an audit that contradict the run; `weights` are those that it made."""
        by = f"the report beside {weights} says that"
        problems = []
        if method not in (None, self.method.key):
            problems.append(f"{by} {self.method.key} made it: leave --method out")
        if twins not in (None, self.twins) and (self.twins is not None or twins == "forget"):
            did = "the run forgot no twins" if self.twins is None else f"the run was made with --twins {self.twins}"
            problems.append(f"{by} {did}: --twins {twins} would judge other records")
        if problems:
            raise RequestError(problems)


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
        twins = report["request"].get("twins", {}).get("policy", "refuse")  # which older reports do not have
        return EarlierRun(
            int(report["seed"]), method, next(iter(references), None), None if twins == "refuse" else twins
        )
    except (OSError, ValueError, KeyError, TypeError, RequestError):
        return None
