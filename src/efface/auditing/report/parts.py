"""Parts of the document of a report: a test, a rehearsal, and a look at single records."""

import math
from dataclasses import asdict
from typing import Any

from efface.auditing.audit_test import AuditTest
from efface.auditing.rehearsal.findings import Rehearsal
from efface.auditing.single.record_ranks import RecordRanks
from efface.kinds import Kind


def outputs_part(rules: Kind) -> dict[str, Any]:
    """What the model says of a record, as report.json holds it, with the words that stand for its statistics."""
    return {
        "kind": rules.key,
        "options": asdict(rules),
        "title": rules.title,
        "margin": rules.words.definition,
        "utility": rules.words.utility,
        "utility_is_share": math.isfinite(rules.least),
    }


def test_part(test: AuditTest) -> dict[str, Any]:
    """A test, as report.json holds it."""
    return {
        "key": test.key,
        "title": test.title,
        "kind": test.kind,
        "unit": test.unit,
        "of_model": test.of_model,
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
        "runs": found.runs,
        "process": str(found.process.status),
        "doing_nothing_fails": found.doing_nothing_fails,
        "no_trace": found.no_trace,
        "alone": found.alone,
        "tests": [test_part(t) for t in found.tests],
        "standings": [asdict(s) for s in found.standings],
        "agreement": {**asdict(found.agreement), "holds": found.agreement.holds},
    }


def single_part(found: RecordRanks) -> dict[str, Any]:
    """A look at single requested records, as report.json holds it."""
    return {
        "key": found.key,
        "title": found.title,
        "why": found.why,
        "others": found.others,
        "records": [
            {
                "record": at,  # its position in `records` of the report
                "original": found.ranks["original"][i],
                "unlearned": found.ranks["unlearned"][i],
                "retrained": found.ranks["retrained"][i] if "retrained" in found.ranks else None,
                "could_see": found.could_see[i],
                "sentence": found.sentence(i),
            }
            for i, at in enumerate(found.records)
        ],
    }
