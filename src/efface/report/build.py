"""From an audit to the document of its report."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from efface.models import device_of
from efface.numerics.logits import margin
from efface.report.document import SCHEMA_VERSION, plain, write
from efface.result import Result
from efface.runtime import git_state, versions
from efface.tables import Table
from efface.types import Cost, Metric, PhaseCost, RecordId, Verdict


@dataclass(frozen=True)
class Report:
    """What an audit found, ready to be read or saved.

    verdict: status, reasons and the smallest effect that the request could have shown.
    metrics: the rows of the table.
    cost: of the audit itself; that of unlearning is in `result.cost`, where a result was given.
    """

    verdict: Verdict
    metrics: tuple[Metric, ...]
    table: Table
    result: Result | None
    original: nn.Module
    unlearned: nn.Module
    digests: tuple[str, str]
    ids: Sequence[RecordId]
    training_records: int
    holdout_records: int
    holdout_used_for: str
    groups: Mapping[str, int]
    cost: Cost
    retrain_cost: PhaseCost | None
    seed: int
    title: str
    notes: tuple[str, ...]

    def __post_init__(self) -> None:
        """Build the document at once: it states what was so when the audit was made."""
        _ = self.document

    def save(self, folder: str | Path) -> tuple[Path, Path]:
        """Write report.json and report.html into `folder`, each whole or not at all; gives their paths."""
        return write(self.document, folder)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The report as report.json holds it (see report.schema.json)."""
        git = git_state()
        result = self.result
        return plain(  # type: ignore[no-any-return]
            {
                "schema_version": SCHEMA_VERSION,
                "created": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
                "title": self.title,
                "versions": versions(),
                "git": None if git is None else {"commit": git[0], "dirty": git[1]},
                "device": str(device_of(self.original)),
                "threads": torch.get_num_threads(),
                "seed": self.seed,
                "request": {
                    "kind": "records",
                    "count": len(self.ids),
                    "ids_digest": ids_digest(self.ids),
                    "training_records": self.training_records,
                    "holdout_records": self.holdout_records,
                    "holdout_used_for": self.holdout_used_for,
                    "groups": dict(self.groups),
                },
                "method": None
                if result is None
                else {"key": result.method.key, "options": asdict(result.method), "source": result.method.source},
                "weights": {
                    "original": self.digests[0],
                    "unlearned": self.digests[1],
                },
                "cost": self._cost(),
                "evidence": None if result is None else asdict(result.evidence),
                "metrics": [asdict(m) for m in self.metrics],
                "records": self._records(),
                "distributions": self._distributions(),
                "verdict": asdict(self.verdict),
                "notes": list(self.notes),
            }
        )

    def _cost(self) -> dict[str, Any]:
        ours = None if self.result is None else self.result.cost
        again = self.retrain_cost
        return {
            "unlearn": None if ours is None else _spent(ours),
            "audit": _spent(self.cost),
            "retrain": None
            if again is None
            else {
                "models": len(self.table.retrained),
                "cpu_s_each": again.cpu_s,
                "wall_s_each": again.wall_s,
            },
            "ratio_cpu": ours.cpu_s / again.cpu_s if ours is not None and again is not None and again.cpu_s else None,
        }

    def _records(self) -> list[dict[str, Any]]:
        ranks, margins, gaps = self.table.record_ranks(), self.table.record_margins(), self.table.record_gaps()
        kinds = ["all"] * len(self.ids)
        for name, mask in self.table.groups.items():
            for i in mask.nonzero().flatten().tolist():
                kinds[i] = name
        return [
            {
                "record": ids_digest([name]).removeprefix("sha256:")[:12],
                "group": kinds[i],
                **{f"rank_{who}": None if r is None else float(r[i]) for who, r in ranks.items()},
                **{f"margin_{who}": None if m is None else float(m[i]) for who, m in margins.items()},
                **{f"gap_{who}": None if g is None else float(g[i]) for who, g in gaps.items()},
            }
            for i, name in enumerate(self.ids)
        ]

    def _distributions(self) -> dict[str, Any]:
        table = self.table
        shown = {"original": table.original, "unlearned": table.unlearned}
        if table.retrained:
            shown["retrained"] = table.retrained[0]
        told: dict[str, Any] = {
            who: {
                "forget": margin(s.forget.logits, s.forget.targets).tolist(),
                "holdout": margin(s.strangers.logits, s.strangers.targets).tolist(),
            }
            for who, s in shown.items()
        }
        return {"statistic": "margin (log-odds of the label)", "retrained": None, **told}


def ids_digest(ids: Sequence[RecordId]) -> str:
    """`sha256:` and the hash of the sorted ids, one a line, so that their order does not matter."""
    text = "\n".join(sorted(f"{type(i).__name__}:{i}" for i in ids))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _spent(cost: Cost) -> dict[str, Any]:
    return {"phases": {name: asdict(p) for name, p in cost.phases.items()}, "total": asdict(cost.total)}
