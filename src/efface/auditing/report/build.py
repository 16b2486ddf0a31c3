"""The report of an audit, and its content as a JSON document."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from efface.attacks.label_margin import label_margin
from efface.auditing.audit_test import AuditTest
from efface.auditing.config import Level
from efface.auditing.inputs import AuditInputs
from efface.auditing.readings import Metric
from efface.auditing.report.document import SCHEMA_VERSION, write
from efface.auditing.report.parts import outputs_part, rehearsal_part, single_part, test_part
from efface.auditing.report.provenance import ids_digest, models_of, uses_of
from efface.auditing.report.text import on_one_screen
from efface.auditing.run import AuditResult
from efface.auditing.table import Table
from efface.auditing.verdict import CORRECTION, JUDGE_VERSION, Verdict
from efface.errors import EffaceError, reason_of
from efface.models.running import device_of
from efface.runtime.cost import Cost, PhaseCost
from efface.runtime.files import as_path, folder_problem
from efface.runtime.jsonable import to_jsonable
from efface.runtime.options import clear_calls
from efface.runtime.provenance import git_state, versions
from efface.unlearning.result import Result


@clear_calls()
@dataclass(frozen=True, repr=False)
class Report:
    """What an audit found, ready to be read or saved.

    Args:
        inputs: The judged models, and the records that they were compared on.
        findings: The verdict, with the tests and tables behind it.
        cost: Cost of the audit; that of unlearning is `result.cost`, if a result was given.
    """

    inputs: AuditInputs
    findings: AuditResult
    cost: Cost

    def __post_init__(self) -> None:
        """Build the document at once, since it states versions and the time of the audit."""
        _ = self.document

    def __repr__(self) -> str:
        return on_one_screen(self)

    @property
    def verdict(self) -> Verdict:
        """Status, one sentence, reasons, and the smallest effect that the request could have shown."""
        return self.findings.verdict

    @property
    def result(self) -> Result | None:
        """The run whose model was judged; None for two models of any origin."""
        return self.inputs.result

    @property
    def level(self) -> Level:
        """Level of the audit."""
        return self.inputs.level

    @property
    def seed(self) -> int:
        """The seed of the run that was judged, else that of the audit."""
        return self.inputs.report_seed

    @property
    def title(self) -> str:
        """Heading of the report."""
        return self.inputs.options.title

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks beside the verdict."""
        return (*self.inputs.notes, *self.findings.notes)

    @property
    def retrain_cost(self) -> PhaseCost | None:
        """Cost of training one model without the forget set; None if it is not known."""
        ensembles = self.findings.ensembles
        return self.inputs.options.retrain_cost or (None if ensembles is None else ensembles.cost_each)

    @property
    def tests(self) -> Sequence[AuditTest]:
        """The tests that decide the verdict."""
        return self.table.tests

    @property
    def table(self) -> Table:
        """The outputs of all models, and the rows made from them."""
        return self.findings.table

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """The rows of the table."""
        return tuple(self.table.metrics())

    def save(self, folder: str | Path) -> tuple[Path, Path]:
        """Write report.json and report.html, and the receipt (receipt.html, receipt.pdf), each whole or not at all.

        Args:
            folder: Where to write; made if it is missing.

        Returns:
            The paths of report.json and of report.html.

        Raises:
            RequestError: `folder` is no path.
            EffaceError: A file cannot be written; files from before are unchanged, and another folder can be given.
        """
        target = as_path("folder", folder)
        try:
            return write(self.document, target)
        except OSError as error:
            problem = folder_problem(target) or reason_of(error)
            raise EffaceError(f"{target}: the report cannot be saved there: {problem}") from error

    @cached_property
    def document(self) -> dict[str, Any]:
        """The report as report.json holds it (see report.schema.json)."""
        git = git_state()
        result, inputs, findings = self.result, self.inputs, self.findings
        request = inputs.request
        return to_jsonable(  # type: ignore[no-any-return]
            {
                "schema_version": SCHEMA_VERSION,
                "created": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
                "title": self.title,
                "versions": versions(),
                "git": None if git is None else {"commit": git[0], "dirty": git[1]},
                "device": str(device_of(inputs.original)),
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
                    "twins": {
                        "policy": request.twins.policy,
                        "forgotten": len(request.twins.forgotten),
                        "kept": len(request.twins.kept),
                        "holdout": request.twins.holdout,
                        "test": request.twins.test,
                    },
                    "groups": self.table.scores.groups,
                    "kinds": {name: int(mask.sum()) for name, mask in inputs.kinds.items()},
                },
                "outputs": outputs_part(request.task.rules),
                "method": None
                if result is None
                else {
                    "key": result.method.key,
                    "version": result.method.version,
                    "options": asdict(result.method),
                    "source": result.method.source,
                },
                "judge_version": JUDGE_VERSION,
                "weights": {
                    "original": inputs.digests[0],
                    "unlearned": inputs.digests[1],
                },
                "uses": uses_of(inputs, findings),
                "models": models_of(inputs, findings),
                "cost": self._cost(),
                "evidence": None if result is None else asdict(result.evidence),
                "exchangeable": self._exchangeable(),
                "correction": CORRECTION,
                "tests": [test_part(r) for r in self.tests],
                "roc": None if self.table.barred else self.table.roc(),
                "canaries": None if findings.canaries is None else asdict(findings.canaries),
                "ensembles": self._ensembles(),
                "rehearsal": rehearsal_part(findings.rehearsal),
                "single_records": [single_part(each) for each in findings.single_records],
                "metrics": [asdict(m) for m in self.metrics],
                "records": self._records(),
                "distributions": self._distributions(),
                "verdict": _verdict(self.verdict),
                "notes": list(self.notes),
            }
        )

    def _cost(self) -> dict[str, Any]:
        spent = None if self.result is None else self.result.cost
        retraining, made = self.retrain_cost, self.findings.ensembles
        return {
            "unlearn": None if spent is None else _phases(spent),
            "audit": _phases(self.cost),
            "retrain": None
            if retraining is None
            else {
                "models": len(self.inputs.retrained) if made is None else len(made.retrained),
                "cpu_s_each": retraining.cpu_s,
                "wall_s_each": retraining.wall_s,
            },
            "ratio_cpu": spent.cpu_s / retraining.cpu_s
            if spent is not None and retraining is not None and retraining.cpu_s
            else None,
        }

    def _exchangeable(self) -> dict[str, Any] | None:
        found = self.findings.exchangeable
        if found is None:
            return None
        return {
            "is_exchangeable": found.is_exchangeable,
            "p": found.p,
            "tests": [{"title": t, "p": p} for t, p in found.tests],
        }

    def _ensembles(self) -> dict[str, Any] | None:
        made, method = self.findings.ensembles, self.inputs.method
        if made is None:
            return None
        phases = [p for name, p in self.cost.phases.items() if name.startswith("ensemble")]
        return {
            "unlearned": len(made.unlearned),
            "retrained": len(made.retrained),
            "originals": len(made.originals),
            "cpu_s": sum(p.cpu_s for p in phases),
            "found": made.found,
            "method": None if method is None else {"key": method.key, "options": asdict(method)},
        }

    def _records(self) -> list[dict[str, Any]]:
        table = self.table
        ranks, margins, gaps = table.scores.ranks(), table.record_margins(), table.record_gaps()
        tests = None if table.barred else table.scores.record_tests()
        ids = self.inputs.request.ids
        kinds = ["all"] * len(ids)
        for name, mask in self.inputs.kinds.items():
            for i in mask.nonzero().flatten().tolist():
                kinds[i] = name
        options, known = self.inputs.options, self.inputs.request.records
        return [
            {
                "id": name if options.show_ids else None,
                "record": ids_digest([name]).removeprefix("sha256:")[:12],
                "position": known[i].position if options.show_ids and options.show_positions else None,
                "label": known[i].label,
                "description": known[i].description if options.show_ids else None,
                "kind": kinds[i],
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
                "forget": label_margin(s.forget, ()).tolist(),
                "holdout": label_margin(s.nonmembers, ()).tolist(),
            }
            for who, s in shown.items()
        }
        return {"statistic": f"margin ({scores.rules.words.margin})", "retrained": None, **margins}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    held = asdict(verdict)
    following = held.pop("next_steps")
    return {**held, "next": following}


def _phases(cost: Cost) -> dict[str, Any]:
    return {"phases": {name: p.as_json() for name, p in cost.phases.items()}, "total": cost.total.as_json()}
