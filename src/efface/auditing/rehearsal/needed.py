"""Whether a request needs a rehearsal, and why there can be none."""

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from efface.auditing.audit_test import AuditTest
from efface.auditing.inputs import AuditInputs
from efface.auditing.rehearsal.findings import DIRECT
from efface.auditing.verdict import MIN_RECORDS, Forgotten

NOT_NEEDED = "nothing was rehearsed: the requested records can speak for themselves"


def speaks(tests: Sequence[AuditTest], forgotten: Forgotten) -> bool:
    """Whether the requested records could verify a model by themselves, whatever model is judged."""
    counted = forgotten.records if forgotten.groups is None else forgotten.groups
    able = [t for t in tests if not t.uninformative_reason and t.of_model]
    return counted >= MIN_RECORDS and any(t.kind != "attack" for t in able)


def why_none(inputs: AuditInputs, references: Sequence[nn.Module]) -> str:
    """Why the request of an audit cannot be rehearsed; empty if it can.

    Args:
        inputs: The checked audit.
        references: Its reference models.
    """
    if inputs.digests[0] == inputs.digests[1]:
        return "there is no rehearsal, since nothing was unlearned"
    if inputs.request.forget_classes:
        return "there is no rehearsal of whole classes, which have no like"
    if not references:
        return "there is no rehearsal without reference models"
    if inputs.references:
        return (
            "there is no rehearsal with reference models that were given, since they may know the records to rehearse: "
            "let the audit train its own"
        )
    return ""


def shared(tests: Sequence[AuditTest]) -> list[AuditTest]:
    """The tests of the requested records with their part of the error rate, beside those of a rehearsal."""
    return [replace(t, p_adjusted=min(1.0, t.p_adjusted / DIRECT)) for t in tests]
