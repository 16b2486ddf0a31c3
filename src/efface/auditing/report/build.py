"""From an audit to the document of its report."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from efface.auditing.config import Level
from efface.auditing.inputs import AuditInputs
from efface.auditing.readings import Metric
from efface.auditing.report.document import SCHEMA_VERSION, to_jsonable, write
from efface.auditing.report.provenance import ids_digest, models_of, uses_of
from efface.auditing.run import AuditResult
from efface.auditing.table import Table
from efface.auditing.verdict import CORRECTION, AuditTest, Verdict
from efface.models.running import device_of
from efface.numerics.logits import margin
from efface.runtime.cost import Cost, PhaseCost
from efface.runtime.provenance import git_state, versions
from efface.unlearning.result import Result


@dataclass(frozen=True)
class Report:
    """What an audit found, ready to be read or saved.

    verdict: status, one sentence, reasons and the smallest effect that the request could have shown.
    tests: the ladder of evidence that the verdict follows from; metrics: the rows of the table.
    cost: of the audit itself; that of unlearning is in `result.cost`, where a result was given.
    """

    subject: AuditInputs
    judgement: AuditResult
    level: Level
    result: Result | None
    cost: Cost
    retrain_cost: PhaseCost | None
    seed: int
    title: str
    show_ids: bool
    notes: tuple[str, ...]

    def __post_init__(self) -> None:
        """Build the document at once: it states what was so when the audit was made."""
        _ = self.document

    @property
    def verdict(self) -> Verdict:
        """The conclusion."""
        return self.judgement.verdict

    @property
    def tests(self) -> Sequence[AuditTest]:
        """The ladder of evidence."""
        return self.judgement.tests

    @property
    def table(self) -> Table:
        """All that the models said."""
        return self.judgement.table

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """The rows of the table."""
        return tuple(self.table.metrics())

    def save(self, folder: str | Path) -> tuple[Path, Path]:
        """Write report.json and report.html into `folder`, each whole or not at all; gives their paths."""
        return write(self.document, folder)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The report as report.json holds it (see report.schema.json)."""
        git = git_state()
        result, subject, judgement = self.result, self.subject, self.judgement
        request = subject.request
        return to_jsonable(  # type: ignore[no-any-return]
            {
                "schema_version": SCHEMA_VERSION,
                "created": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
                "title": self.title,
                "versions": versions(),
                "git": None if git is None else {"commit": git[0], "dirty": git[1]},
                "device": str(device_of(subject.original)),
                "threads": torch.get_num_threads(),
                "seed": self.seed,
                "level": str(self.level),
                "request": {
                    "kind": "class" if request.forget_classes else "records",
                    "count": len(request.ids),
                    "ids_digest": ids_digest(request.ids),
                    "training_records": len(request.train),
                    "holdout_records": len(request.holdout),
                    "holdout_used_for": request.task.holdout_used_for,
                    "groups": {name: int(mask.sum()) for name, mask in subject.groups.items()},
                },
                "method": None
                if result is None
                else {"key": result.method.key, "options": asdict(result.method), "source": result.method.source},
                "weights": {
                    "original": subject.digests[0],
                    "unlearned": subject.digests[1],
                },
                "uses": uses_of(subject, judgement),
                "models": models_of(subject, judgement),
                "cost": self._cost(),
                "evidence": None if result is None else asdict(result.evidence),
                "exchangeable": self._exchangeable(),
                "correction": CORRECTION,
                "tests": [_test(r) for r in judgement.tests],
                "roc": None if self.table.barred else self.table.roc(),
                "canaries": None if judgement.canaries is None else asdict(judgement.canaries),
                "ensembles": self._ensembles(),
                "metrics": [asdict(m) for m in self.metrics],
                "records": self._records(),
                "distributions": self._distributions(),
                "verdict": asdict(self.verdict),
                "notes": list(self.notes),
            }
        )

    def _cost(self) -> dict[str, Any]:
        spent = None if self.result is None else self.result.cost
        retraining, made = self.retrain_cost, self.judgement.ensembles
        return {
            "unlearn": None if spent is None else _phases(spent),
            "audit": _phases(self.cost),
            "retrain": None
            if retraining is None
            else {
                "models": len(self.subject.retrained) if made is None else len(made.retrained),
                "cpu_s_each": retraining.cpu_s,
                "wall_s_each": retraining.wall_s,
            },
            "ratio_cpu": spent.cpu_s / retraining.cpu_s
            if spent is not None and retraining is not None and retraining.cpu_s
            else None,
        }

    def _exchangeable(self) -> dict[str, Any] | None:
        found = self.judgement.exchangeable
        if found is None:
            return None
        return {
            "is_exchangeable": found.is_exchangeable,
            "p": found.p,
            "tests": [{"title": t, "p": p} for t, p in found.tests],
        }

    def _ensembles(self) -> dict[str, Any] | None:
        made, remake = self.judgement.ensembles, self.judgement.remake
        if made is None:
            return None
        phases = [p for name, p in self.cost.phases.items() if name.startswith("ensemble")]
        return {
            "unlearned": len(made.unlearned),
            "retrained": len(made.retrained),
            "originals": len(made.originals),
            "cpu_s": sum(p.cpu_s for p in phases),
            "found": made.found,
            "method": None if remake is None else {"key": remake.method.key, "options": asdict(remake.method)},
        }

    def _records(self) -> list[dict[str, Any]]:
        table = self.table
        ranks, margins, gaps = table.scores.ranks(), table.record_margins(), table.record_gaps()
        tests = None if table.barred else table.scores.record_tests()
        ids = self.subject.request.ids
        kinds = ["all"] * len(ids)
        for name, mask in self.subject.groups.items():
            for i in mask.nonzero().flatten().tolist():
                kinds[i] = name
        return [
            {
                "id": name if self.show_ids else None,
                "record": ids_digest([name]).removeprefix("sha256:")[:12],
                "group": kinds[i],
                **{f"rank_{who}": None if r is None else float(r[i]) for who, r in ranks.items()},
                **{f"margin_{who}": None if m is None else float(m[i]) for who, m in margins.items()},
                **{f"gap_{who}": None if g is None else float(g[i]) for who, g in gaps.items()},
                "p_unlearned": None if tests is None else float(tests[0][i]),
                "flagged": tests is not None and bool(tests[1][i]),
            }
            for i, name in enumerate(ids)
        ]

    def _distributions(self) -> dict[str, Any]:
        scores = self.table.scores
        shown = {"original": scores.original, "unlearned": scores.unlearned}
        if scores.retrained:
            shown["retrained"] = scores.retrained[0]
        margins: dict[str, Any] = {
            who: {
                "forget": margin(s.forget.logits, s.forget.targets).tolist(),
                "holdout": margin(s.nonmembers.logits, s.nonmembers.targets).tolist(),
            }
            for who, s in shown.items()
        }
        return {"statistic": "margin (log-odds of the label)", "retrained": None, **margins}


def _test(test: AuditTest) -> dict[str, Any]:
    return {
        "key": test.key,
        "title": test.title,
        "kind": test.kind,
        "unit": test.unit,
        "original": asdict(test.original),
        "unlearned": asdict(test.unlearned),
        "retrained": None if test.retrained is None else asdict(test.retrained),
        "equivalence_interval": asdict(test.equivalence_interval),
        "margin": test.margin,
        "p_value": test.p,
        "p_adjusted": test.p_adjusted,
        "outcome": test.outcome,
        "why": test.why,
    }


def _phases(cost: Cost) -> dict[str, Any]:
    return {"phases": {name: asdict(p) for name, p in cost.phases.items()}, "total": asdict(cost.total)}
