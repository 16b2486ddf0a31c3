"""How a new model was judged, and whether it may go into service."""

from dataclasses import dataclass
from typing import Any

from efface.store.plan import ACCEPT, NOT_AUDITED, RETRAINED

# What to do next, beside the advice of an audit.
VERIFY = "audit the model in service: store.verify() (efface verify)"
SEE_TO_FIT = "see to Task.fit, which trained a model that is worse than the first one before"


def take_it(found: "Assessment") -> str:
    """How to let a model pass that was judged so and rejected."""
    accept = found.status if found.status in ACCEPT and found.within_limits else "any"
    return f"or take the model as it is: RunPlan(accept={accept!r}) (efface run --accept {accept})"


@dataclass(frozen=True)
class Assessment:
    """How a new model was judged.

    Args:
        status: the audit's conclusion, as `efface.Status` has it, or `not_audited` or `retrained`.
        reasons: the reasons for `status`, one line each.
        files: SHA-256 of the report's files, by name.
        within_limits: whether the model lost no more holdout accuracy than the store's limit.
        next_steps: what to do next, one line each; the history does not store it.
        ranks: what the audit adds to the evidence about the process, as `noted_ranks` returns it; None if nothing.
    """

    status: str
    reasons: list[str]
    files: dict[str, str]
    within_limits: bool = True
    next_steps: tuple[str, ...] = ()
    ranks: dict[str, Any] | None = None

    def passes(self, accept: str) -> bool:
        """Whether the model goes into service; `accept` is the required conclusion, one of `plan.ACCEPT`."""
        if accept == "any":
            return True
        good = self.status in (NOT_AUDITED, RETRAINED)
        return self.within_limits and (good or self.status in ACCEPT[: ACCEPT.index(accept) + 1])

    def why_not(self, accept: str) -> str:
        """Why the model does not go into service, for the history."""
        past = "" if self.within_limits else "; holdout accuracy is past the limit"
        return f"{self.status}{past}, and {accept} was asked for"

    @property
    def noted(self) -> dict[str, Any]:
        """The part of the assessment that is stored in the history."""
        ranks = {} if self.ranks is None else {"ranks": self.ranks}
        return {"status": self.status, "reasons": self.reasons, "files": self.files, **ranks}
