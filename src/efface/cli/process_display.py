"""What all audited runs of a lineage say together, and what a new measurement of its model says, on the terminal."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from efface.cli.display import say
from efface.runtime.printing import how_many

if TYPE_CHECKING:
    from efface.store import ProcessEvidence, Remeasured

STYLES = {"left": "bold red", "cleared": "green"}


def say_process(out: Console, process: "ProcessEvidence", in_full: bool = False) -> None:
    """Print what all audited runs say together.

    Args:
        out: where to print.
        process: what they say.
        in_full: whether to print what the sentence rests on as well.
    """
    line = f"Process up to version {process.version}: {process.sentence}."
    say(out, Text(line, style=STYLES.get(process.conclusion, "")))
    if not in_full:
        return
    if process.original is not None and process.effect is not None:
        before, chance = process.original, (1 - process.effect.level) / 2
        say(
            out,
            f"  before the runs: effect {before.value:+.3f} [{before.low:+.3f}, {before.high:+.3f}]. The chance that a "
            f"limit is ever beyond the truth is at most {chance:.0%}, however often one looks.",
        )
    if process.tolerance:
        say(
            out,
            "  The requests are not like other records in difficulty, which is measured with error: "
            f"{process.tolerance:g} of the effect is allowed for.",
        )
    for number, what in (
        (process.repeated, "at records that were counted before"),
        (process.without_partners, "for which the holdout had no unused records of equal difficulty left"),
        (process.not_counted, "without an audit that ranks records at equal difficulty"),
    ):
        if number:
            say(out, f"  not counted: {how_many(number, 'run')} {what}")


def say_remeasured(out: Console, found: "Remeasured") -> None:
    """Print how the model in service ranks all records that its lineage has forgotten."""
    now, first = found.effect, found.original
    say(
        out,
        f"Version {found.version} measured again, on {found.records} of {found.forgotten} forgotten records: effect "
        f"{now.value:+.3f} [{now.low:+.3f}, {now.high:+.3f}], of the first model {first.value:+.3f}.",
    )
