"""What an examination of a task found: facts, problems and what is missing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from efface.runtime.printing import how_many

# the order in which sections are shown
SECTIONS = ("records", "inputs", "labels", "model", "outputs", "holdout", "test", "audit", "price")


@dataclass(frozen=True)
class Fact:
    """One fact about a task.

    Args:
        section: What it is about: records, inputs, labels, model, outputs, holdout, test, audit or price.
        name: Its name, unique within the section.
        value: Its value, in lists, dicts and Python scalars.
        text: The fact in words; empty where another fact of the section says it.
    """

    section: str
    name: str
    value: Any
    text: str = ""


@dataclass(frozen=True, repr=False)
class Examination:
    """What efface sees in a model and its task before anything is asked; `print` shows it.

    Args:
        facts: What was seen, section by section.
        problems: Why `efface.unlearn` or its audit would refuse whatever is asked, each with its mend; empty if a
            default run would start.
        missing: What the task lacks without being refused, each with the next step.
        warnings: What the checks noted.
    """

    facts: tuple[Fact, ...]
    problems: tuple[str, ...]
    missing: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def can_start(self) -> bool:
        """Whether a default run of `efface.unlearn`, with its audit, would start."""
        return not self.problems

    @property
    def summary(self) -> str:
        """One sentence: whether a request would be taken."""
        if self.can_start:
            return "A deletion request can start: all checks passed that need no request."
        return f"A deletion request would be refused: {how_many(len(self.problems), 'problem')} must be mended first."

    def of(self, section: str) -> dict[str, Any]:
        """The values of one section's facts, by name."""
        return {fact.name: fact.value for fact in self.facts if fact.section == section}

    def as_json(self) -> dict[str, Any]:
        """All that was found, in lists, dicts and Python scalars."""
        return {
            "status": "ready" if self.can_start else "refused",
            "problems": list(self.problems),
            "missing": list(self.missing),
            "warnings": list(self.warnings),
            "facts": {name: self.of(name) for name in SECTIONS if self.of(name)},
        }

    def __repr__(self) -> str:
        lines = [self.summary]
        for title, texts in (("Problem", self.problems), ("Missing", self.missing), ("Note", self.warnings)):
            lines += [f"{title}: {text}" for text in texts]
        for name in SECTIONS:
            lines += [f"  {name:<8} {text}" for text in texts_of(self.facts, name)]
        return "\n".join(lines)


def texts_of(facts: Sequence[Fact], section: str) -> list[str]:
    """The facts of a section in words."""
    return [fact.text for fact in facts if fact.section == section and fact.text]
