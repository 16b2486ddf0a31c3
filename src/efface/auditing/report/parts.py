"""Parts of the document of a report: a test, a rehearsal, and a look at single records."""

from dataclasses import asdict
from typing import Any

from efface.auditing.audit_test import AuditTest
from efface.auditing.rehearsal.findings import Rehearsal
from efface.auditing.single.looks import Look


def test_part(test: AuditTest) -> dict[str, Any]:
    """A test, as report.json holds it."""
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


def rehearsal_part(found: Rehearsal | None) -> dict[str, Any] | None:
    """A rehearsal, as report.json holds it: aggregates alone, no record that was rehearsed."""
    if found is None:
        return None
    return {
        "records": found.records,
        "process": str(found.process.status),
        "doing_nothing_fails": found.doing_nothing_fails,
        "no_trace": found.no_trace,
        "alone": found.alone,
        "tests": [test_part(t) for t in found.tests],
        "standings": [asdict(s) for s in found.standings],
        "agreement": {**asdict(found.agreement), "holds": found.agreement.holds},
    }


def look_part(look: Look) -> dict[str, Any]:
    """A look at single requested records, as report.json holds it."""
    return {
        "key": look.key,
        "title": look.title,
        "why": look.why,
        "others": look.others,
        "records": [
            {
                "record": at,  # its position in `records` of the report
                "original": look.ranks["original"][i],
                "unlearned": look.ranks["unlearned"][i],
                "retrained": look.ranks["retrained"][i] if "retrained" in look.ranks else None,
                "could_see": look.could_see[i],
                "sentence": look.sentence(i),
            }
            for i, at in enumerate(look.records)
        ],
    }
