"""`efface.audit` and `efface.audit_models` with the fields of their options beside their other keywords."""

from dataclasses import fields
from typing import Any

import efface
from efface import AuditOptions, Report, Result

FIELDS = {field.name for field in fields(AuditOptions)}


def audited(result: Result | None = None, **given: Any) -> Report:
    """The audit of a result, or of the models among the keywords."""
    rest = {name: value for name, value in given.items() if name not in FIELDS}
    options = AuditOptions(**{name: given[name] for name in FIELDS & set(given)})
    if result is not None:
        return efface.audit(result, **rest, options=options)
    return efface.audit_models(rest.pop("original"), rest.pop("unlearned"), **rest, options=options)
