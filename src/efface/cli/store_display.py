"""Output of the commands of a store, on the terminal and as JSON."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from efface.auditing.report.meanings import MEANINGS
from efface.auditing.report.wording import VERDICTS
from efface.cli.display import make_console, say, say_meaning, say_next, say_result, say_verdict
from efface.cli.failures import Code
from efface.cli.output import print_json
from efface.cli.process_display import say_process, say_remeasured
from efface.cli.request_display import day_text, records_text
from efface.runtime.jsonable import to_jsonable
from efface.runtime.printing import by_number, how_many
from efface.store.plan import NOTHING_UNLEARNED
from efface.store.wording import numbered

if TYPE_CHECKING:
    from efface.store import Alert, DeletionRequest, Overview, RunOutcome, Store, Verification, Version

STATUSES = {
    **VERDICTS,
    "not_audited": "Not audited",
    "retrained": "Retrained",
    NOTHING_UNLEARNED: "Nothing unlearned",
    "nothing": "Nothing to do: no request is pending",
}
URGENCIES: dict[int, str] = {Code.DAMAGED: "damage", Code.NOT_VERIFIED: "now", Code.DUE_SOON: "soon"}


def print_answer(value: Any, as_json: bool, stdout: TextIO, show: Callable[[Any, TextIO], None]) -> None:
    """Print the output of a command.

    Args:
        value: the output, such as an `Overview`.
        as_json: whether to print it as one JSON document.
        stdout: where to print.
        show: prints the value for people, if it is not printed as JSON.
    """
    if as_json:
        print_json(to_jsonable(value), stdout)
    else:
        show(value, stdout)


def show_made(store: "Store", stdout: TextIO) -> None:
    """Print the paths of a new store and its key, and what to do next."""
    out = make_console(stdout)
    say(out, Text.assemble(("Store made: ", "bold"), f"{store.path}"))
    say(out, f"  key      {store.key_path}")
    say(out, "           Keep it safe and apart from backups of the store: without it no id can be matched any more.")
    say(out, f"  serving  {store.current}: always the version in service")
    say(out, "Next: efface request add --ids ids.txt --note 'ticket 4711', then efface run.")


def show_run(outcome: "RunOutcome", store: "Store", stdout: TextIO) -> None:
    """Print the outcome of a run: its result, what that means, what to do next, and the files."""
    out = make_console(stdout)
    if outcome.status == "nothing":
        say(out, Text(f"{STATUSES[outcome.status]}.", style="bold"))
    else:
        say_result(out, STATUSES[outcome.status], outcome.status, "")
    for reason in outcome.reasons:
        say(out, f"  - {reason}")
    for warning in outcome.warnings:
        say(out, f"Note: {warning}")
    for line in outcome.deferred:
        say(out, Text(line[:1].upper() + line[1:] + ".", style="yellow"))
    if outcome.status == "nothing":
        return
    if outcome.resumed:
        say(out, f"Run {outcome.run} was interrupted before, and went on where it was.")
    made = outcome.version
    say(out, _rejected(outcome) if made is None else _served(outcome, made))
    if made is not None:
        _drift(out, made)
    say_meaning(out, MEANINGS[outcome.status])
    if made is not None and outcome.status == "undecided":
        say(
            out,
            "Undecided lets it pass by default (--accept verified asks for more); the report has each record's rank.",
        )
    say_next(out, outcome.next_steps)
    if made is None:
        return
    for line in outcome.retraining:
        say(out, Text(f"A retraining is due: {line}. efface run --retrain does it.", style="yellow"))
    say(out, f"File: {store.current}")
    if made.audit and made.audit["files"] and made.run is not None:
        say(out, f"File: {store.report_folder(made.run) / 'report.html'}")


def _served(outcome: "RunOutcome", made: "Version") -> str:
    """That a run's model went into service, and what it honours."""
    if not outcome.requests:
        return f"Version {made.number} is in service: none was pending."
    batch = f"{records_text(outcome.records)} of {numbered('request', outcome.requests)}"
    is_sure = outcome.status in ("verified", "verified_by_rehearsal", "retrained")
    done = (
        f"{batch} {by_number(outcome.records, 'is', 'are')} forgotten" if is_sure else f"it was made to forget {batch}"
    )
    return f"Version {made.number} is in service: {done}."


def _rejected(outcome: "RunOutcome") -> str:
    """That a run's model did not go into service."""
    ended = "honours nothing" if outcome.status == NOTHING_UNLEARNED else "is rejected"
    pending = f", and {numbered('request', outcome.requests)} pending" if outcome.requests else ""
    return f"Run {outcome.run} {ended}: the model stays as it was{pending}."


def show_overview(seen: "Overview", stdout: TextIO, alerts: "Sequence[Alert] | None" = None) -> None:
    """Print the state of a store, and what it needs if somebody looked for that."""
    out = make_console(stdout)
    if seen.retired:
        # without its key a store may be retired, or the key lie elsewhere
        head = "Retired" if seen.retired.startswith(("on ", "since ")) else "Takes no requests"
        say(out, Text(f"{head}: {seen.retired}", style="bold red"))
    if seen.unfinished_retirement:
        say(out, Text("Retirement is unfinished: what is left:", style="bold red"))
        for line in seen.unfinished_retirement:
            say(out, f"  - {line}")
        say(out, "efface retire --yes goes on with it.")
    table = Table(title="Versions", title_justify="left")
    for name in ("version", "lineage", "made (UTC)", "kind", "honours", "audit", ""):
        table.add_column(name, overflow="fold")
    for version in seen.versions:
        serving = version.number == seen.serving.number
        table.add_row(
            str(version.number),
            str(version.lineage),
            day_text(version.made),
            version.kind,
            numbered("request", seen.honours[version.number]) if seen.honours[version.number] else "",
            "" if version.audit is None else STATUSES[version.audit["status"]].lower(),
            "in service" if serving else "removed" if version.removed else "",
        )
    out.print(table)
    say(out, f"In service: {seen.file}")
    _drift(out, seen.serving)
    say_process(out, seen.process)
    if seen.unfinished is not None:
        say(out, f"Run {seen.unfinished.number} is at work or was interrupted; efface run goes on with it.")
    _pending(out, seen.pending, alerts is None)
    if alerts is None:
        for request in seen.overdue:
            say(out, Text(f"Overdue: request {request.number}, due {request.due}.", style="bold red"))
        for line in seen.retraining:
            say(out, Text(f"A retraining is due: {line}. efface run --retrain does it.", style="yellow"))
    for line in seen.warnings:
        say(out, Text(f"Warning: {line}", style="yellow"))
    say(out, Text(f"History: {how_many(seen.head[0], 'event')}, the last one {seen.head[1][:16]}", style="dim"))
    for alert in alerts or ():
        say(out, Text(f"Alert ({URGENCIES[alert.code]}): {alert.what}; {alert.advice}.", style="bold red"))
    if alerts is not None and not alerts:
        say(out, Text("The store needs nothing.", style="green"))


def show_verification(found: "Verification", stdout: TextIO) -> None:
    """Print what was checked, what is damaged, the new audit, and what else may hold the records."""
    out = make_console(stdout)
    count = found.checked
    say(
        out,
        f"Checked: {how_many(count['events'], 'event')}, {how_many(count['files'], 'file')}, "
        f"{how_many(count['requests'], 'request')}, {how_many(count['records'], 'forgotten record')}.",
    )
    for line in found.problems:
        say(out, Text(f"Damaged: {line}", style="bold red"))
    for line in found.warnings:
        say(out, Text(f"Warning: {line}", style="yellow"))
    if not found.problems:
        say(out, Text("Nothing was changed since it was written.", style="green"))
    if found.report is not None:
        say_verdict(out, found.report.verdict, "New audit")
        say_next(out, found.report.verdict.next_steps)
    else:
        say(out, f"No new audit: {found.not_audited}.")
    if found.process is not None:
        say_process(out, found.process, in_full=True)
    if found.remeasured is not None:
        say_remeasured(out, found.remeasured)
    say(out, "What else may hold forgotten records:")
    for leftover in found.leftovers:
        mark = "found" if leftover.found else "not seen from here"
        say(out, f"  - [{mark}] {leftover.what}: {leftover.advice}")


def show_export(number: int, files: Sequence[Path], stdout: TextIO) -> None:
    """Print the files of an export."""
    out = make_console(stdout)
    say(out, f"What became of request {number}, for whoever asked: no records, no ids, and nothing of others.")
    for file in files:
        say(out, f"  {file}")


def _pending(out: Console, requests: "Sequence[DeletionRequest]", with_reasons: bool) -> None:
    """Print which requests are pending, and what honours them."""
    if not requests:
        say(out, "No request is pending.")
    waiting = {r.number: r.deferred.text for r in requests if r.deferred is not None}
    for command, those in (
        ("efface run", [r.number for r in requests if r.deferred is None and not r.unknown]),
        ("efface run --retrain", [r.number for r in requests if r.deferred is None and r.unknown]),
    ):
        if those:
            say(out, f"Pending: {numbered('request', those)}; {command} honours {'it' if len(those) == 1 else 'them'}.")
    if waiting:
        say(out, f"Pending: {numbered('request', list(waiting))}, which the last run left out.")
    for number, why in waiting.items() if with_reasons else ():
        say(out, Text(f"Request {number} waits: {why}.", style="yellow"))


def _drift(out: Console, version: "Version") -> None:
    drift = version.drift
    if drift is None:
        return
    if "missing" in drift:
        say(out, f"Drift is not known: {drift['missing']}.")
        return
    say(
        out,
        f"Drift from the lineage's first model, on {how_many(drift['records'], 'holdout record')}: "
        f"{drift['changed']:.1%} of answers changed, accuracy {drift['accuracy']:+.3f}.",
    )
