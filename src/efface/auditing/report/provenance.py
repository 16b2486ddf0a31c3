"""Which records were used for what, and which models took part in an audit."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from efface.auditing.inputs import AuditInputs
from efface.auditing.report.wording import METHODS_REFERENCE
from efface.auditing.run import AuditResult
from efface.types import Indices, RecordId


def ids_digest(ids: Sequence[RecordId]) -> str:
    """`sha256:` and the hash of the sorted ids, one on each line; their order does not matter."""
    text = "\n".join(sorted(f"{type(i).__name__}:{i}" for i in ids))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def uses_of(inputs: AuditInputs, findings: AuditResult) -> list[dict[str, Any]]:
    """Each part of the training and holdout sets with its use.

    Args:
        inputs: The checked audit.
        findings: What the audit found.

    Returns:
        For each part `who` used it, `what` it is, its number of `records`, and the `digest` of their ids (training set)
        or positions (holdout).
    """
    return list(_uses(inputs, findings))


def _uses(inputs: AuditInputs, findings: AuditResult) -> Iterator[dict[str, Any]]:
    parts = inputs.splits
    if inputs.run_is_known:
        yield _training(inputs, "method: its reference model", parts.reference)
        yield _training(inputs, "method: retain records that its reference never saw", parts.heldout_retain)
        yield _holdout("method: calibration of its targets", parts.calibration)
        yield _holdout("stop rule", parts.stopping)
    yield _holdout("audit: never-seen records to compare with", inputs.nonmembers)
    yield _training(inputs, "audit: accuracy on retain", inputs.retain)
    if findings.references and not inputs.references:
        yield _training(inputs, "audit: its reference models", inputs.reference_records)
    if findings.ensembles is not None:
        yield _training(inputs, "audit: its retrained models", parts.retain)


def _training(inputs: AuditInputs, who: str, at: Indices) -> dict[str, Any]:
    names = inputs.request.names.ids
    chosen = [names[i] for i in at.tolist()]
    return {"who": who, "what": "training records", "records": len(at), "digest": ids_digest(chosen)}


def _holdout(who: str, at: Indices) -> dict[str, Any]:
    return {
        "who": who,
        "what": "holdout records (by position)",
        "records": len(at),
        "digest": ids_digest(at.tolist()),
    }


def models_of(inputs: AuditInputs, findings: AuditResult) -> list[dict[str, Any]]:
    """Each model that took part: `what` it is, the `digest` of its weights (or None), and what it was `trained_on`.

    Args:
        inputs: The checked audit.
        findings: What the audit found.
    """
    found = [
        _model("original", inputs.digests[0], "all training records"),
        _model("unlearned", inputs.digests[1], "made from the original"),
    ]
    if inputs.used_reference is not None:
        found.append(_model(METHODS_REFERENCE, inputs.used_reference, "some retain records"))
    on = (
        "handed in: said to have seen neither forget nor holdout records"
        if inputs.references
        else "some retain records"
    )
    found += [_model(f"reference {i} of the audit", d, on) for i, d in enumerate(findings.references)]
    handed = len(inputs.retrained)
    found += [_model(f"retrained {i}, handed in", None, "said to be all but the forget set") for i in range(handed)]
    if (made := findings.ensembles) is not None:
        found.append(_model(f"{len(made.retrained)} retrained of the audit", None, "all retain records"))
        if made.of_method and inputs.method is not None:
            key = inputs.method.key
            found.append(_model(f"{len(made.originals)} originals of the audit", None, "all training records"))
            found.append(_model(f"{len(made.unlearned)} unlearned of the audit", None, f"made from those by {key}"))
        if (caught := findings.canaries) is not None:
            on = f"all training records, some of {caught.records} with random labels"
            found.append(_model(f"{caught.shadows} shadows with canaries", None, on))
    return found


def _model(what: str, digest: str | None, trained_on: str) -> dict[str, Any]:
    return {"what": what, "digest": digest, "trained_on": trained_on}
