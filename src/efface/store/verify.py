"""Checking a store against its history: every hash, every row, and the model in service."""

from dataclasses import dataclass
from logging import INFO, WARNING

import torch

from efface.auditing.config import NO_FIT, REFERENCES, Level, level_problem
from efface.auditing.report.build import Report
from efface.errors import RequestError, collect_errors
from efface.models.checkpoint import weights_digest
from efface.runtime.kinds import network_problem
from efface.runtime.notices import quietly
from efface.runtime.options import is_integer
from efface.runtime.printing import Brief
from efface.store.accounting import file_faults
from efface.store.build import load
from efface.store.clock_state import clock_warnings
from efface.store.context import StoreContext
from efface.store.errors import BusyError
from efface.store.files import others_may_read
from efface.store.fingerprint_rows import fingerprint_faults
from efface.store.first_outputs import output_faults
from efface.store.history import History
from efface.store.in_service import check_in_service
from efface.store.leftovers import Leftover, leftovers
from efface.store.logs import log
from efface.store.plan import unused_references
from efface.store.process import ProcessEvidence, process_evidence
from efface.store.reaudit import Reaudit, ReauditOptions, Remeasured, reaudit
from efface.store.row_faults import row_faults
from efface.store.schema import schema_faults
from efface.store.still_there import still_there
from efface.store.tag_rows import tags_of
from efface.store.unfinished import unfinished_line
from efface.task import Task

TRIES = 5  # to read the whole store while nobody writes to it


@dataclass(frozen=True, repr=False)
class Verification(Brief):
    """The result of verifying a store.

    Args:
        problems: damage, one line each.
        warnings: oddities that are no damage, one line each.
        leftovers: other places that may hold forgotten records.
        checked: numbers of events, files, requests and forgotten records.
        report: the new audit of the model in service; None if there is none.
        not_audited: why there is no new audit; None if there is one.
        complete: whether nothing is damaged and the audit was made, was left out by `level`, or had nothing to judge.
        process: what all audited runs of the lineage in service say together; None if something is damaged.
        remeasured: how the model in service ranks all records that its lineage has forgotten; None without a new audit
            at equal difficulty.
    """

    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    leftovers: tuple[Leftover, ...]
    checked: dict[str, int]
    report: Report | None = None
    not_audited: str | None = None
    complete: bool = True
    process: ProcessEvidence | None = None
    remeasured: Remeasured | None = None


@dataclass(frozen=True, repr=False)
class Inspection(Brief):
    """The state of a store's files and rows, as of one event of its history.

    Args:
        history: the history up to that event.
        forgotten: tags of all forgotten records.
        problems: damage, one line each.
        warnings: oddities that are no damage, one line each.
    """

    history: History
    forgotten: set[bytes]
    problems: list[str]
    warnings: list[str]


@quietly()  # the notes are in the report
def verify(
    context: StoreContext, task: Task | None, device: torch.device, level: str | None, options: ReauditOptions
) -> Verification:
    """Check every hash, and audit the model in service on all records that its lineage has forgotten; change nothing.

    Args:
        context: the open store.
        task: the task, for the audit and for finding forgotten records in the training set; None leaves both out.
        device: where models are judged.
        level: level of the audit; None leaves it out.
        options: further options of the audit.

    Raises:
        DamagedError: the history itself cannot be read.
        BusyError: other processes keep writing to the store.
        RequestError: an argument is invalid, `original` is not the first model of the lineage, or the key is missing.
    """
    _check_options(level, options, task)
    found = inspect(context)
    counts = len(found.problems), len(found.warnings)
    log(context.folder.path, "verified: %d problems, %d warnings", *counts, level=WARNING if counts[0] else INFO)
    history = found.history
    if options.original is not None:
        first = history.first_of(history.serving.lineage)
        if weights_digest(options.original) != first.weights:
            raise RequestError(
                f"the model given is not {first.title}, which the lineage began with (original, or --original)"
            )
    there, model, new = None, None, Reaudit(None, "no task was given")
    if task is not None and not found.problems:
        there = collect_errors(found.warnings, still_there, context, task)
        found.warnings.extend([] if there is None else there.warnings)
        serving = history.serving
        model = load(task, context.folder.checked("checkpoints", serving.file, serving.title), device)
        odd = collect_errors(found.warnings, check_in_service, context, task, serving, model)
        found.warnings.extend(odd or [])
    if found.problems:
        new = Reaudit(None, "the store is damaged")
    elif level is None:
        new = Reaudit(None, "the audit was left out")
    elif task is not None and model is not None:
        new = reaudit(context, history, task, model, level, options)
    audited = level is None or new.report is not None or not history.unlearned_in_lineage
    return Verification(
        problems=tuple(found.problems),
        warnings=tuple(found.warnings),
        leftovers=tuple(leftovers(context, history, model, there)),
        checked={
            "events": history.seq,
            "files": len(history.needed_files()),
            "requests": len(history.requests),
            "records": len(found.forgotten),
        },
        report=new.report,
        not_audited=None if new.report else new.why,
        complete=audited and not found.problems,
        process=None if found.problems else process_evidence(history),
        remeasured=new.remeasured,
    )


def _check_options(level: str | None, options: ReauditOptions, task: Task | None) -> None:
    """Check the options of an audit before any work; RequestError with every problem if they are not valid."""
    problems: list[str] = []
    if level is not None and (problem := level_problem(level)):
        problems.append(problem)
    if level == Level.STRONG and task is not None and task.fit is None:
        problems.append(NO_FIT)
    if not is_integer(options.references, 1):
        problems.append(f"references: expected an integer of 1 or more, got {options.references!r}")
    elif level in (None, Level.QUICK) and options.references != REFERENCES:
        problems.append(unused_references(options.references))
    if options.original is not None and (problem := network_problem(options.original)):
        problems.append(f"original: {problem}")
    if problems:
        raise RequestError(problems)


def inspect(context: StoreContext) -> Inspection:
    """Check every row and file of a store; started over, at most TRIES times, if others write to it meanwhile."""
    for _ in range(TRIES):
        history = context.reread_history()
        problems, oddities = file_faults(context, history)
        problems += [*context.database.faults(), *schema_faults(context.database), *_link_faults(context, history)]
        with context.reading() as snapshot:
            if snapshot.history.seq != history.seq:
                continue
            wrong = [*row_faults(snapshot), *fingerprint_faults(snapshot)]
            forgotten = set() if wrong else tags_of(snapshot, history.honoured)
        wrong += output_faults(context, history, forgotten)
        readable = context.folder.open_to_others() + [context.key_path] * others_may_read(context.key_path)
        odd = [f"{path}: others than its owner may read it" for path in readable]
        warnings = [*unfinished_line(context, history), *clock_warnings(history), *history.restore_warnings]
        if why := history.foreign_contents:
            warnings.append(why)
        warnings += [*odd, *oddities]
        return Inspection(history, forgotten, list(dict.fromkeys([*problems, *wrong])), warnings)
    raise BusyError("others went on writing to the store while it was verified: try again when it is quieter")


def _link_faults(context: StoreContext, history: History) -> list[str]:
    if context.folder.serves(history.serving.file) or context.folder.at_work():
        return []
    return [f"{context.folder.link.name} does not lead to version {history.current}; efface run puts that right"]
