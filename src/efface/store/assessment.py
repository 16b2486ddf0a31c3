"""What was found of a new model, and whether it may go into service."""

from dataclasses import dataclass
from typing import Any

from efface.auditing.verdict import Status
from efface.store.plan import NOT_AUDITED, RETRAINED


@dataclass(frozen=True)
class Assessment:
    """What was found of a new model.

    Args:
        status: the audit's conclusion, `not_audited` or `retrained`.
        reasons: of that conclusion, one line each.
        files: hashes of the report's files, by name.
        within_limits: whether a retrained model lost no more accuracy than the store's limit.
    """

    status: str
    reasons: list[str]
    files: dict[str, str]
    within_limits: bool = True

    def passes(self, accept: str) -> bool:
        """Whether the model goes into service."""
        if accept == "any":
            return True
        good = self.status in (NOT_AUDITED, RETRAINED, Status.VERIFIED)
        return self.within_limits and (good or self.status == accept == Status.UNDECIDED)

    @property
    def noted(self) -> dict[str, Any]:
        """What the history notes of it."""
        return {"status": self.status, "reasons": self.reasons, "files": self.files}
