"""How `unlearn`, `audit` and `demo` end: with files and an answer, or with the reason why nothing was unlearned."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

import typer

from efface.cli.failures import Code, done
from efface.cli.output import nothing_summary, print_json, save, summary

if TYPE_CHECKING:
    from efface.auditing.report.build import Report
    from efface.unlearning.plan import Plan
    from efface.unlearning.result import Result


def finish(out: Path, result: "Result | None", report: "Report | None", as_json: bool, stdout: TextIO) -> NoReturn:
    """Write the files, print the answer, and end with the code of the verdict.

    Args:
        out: the folder to write.
        result: the run, if weights are to be written.
        report: the audit, if one was made.
        as_json: whether the answer is one JSON document.
        stdout: where to print.
    """
    from efface.cli.display import show_report, show_unjudged

    files = save(out, result, report)
    code = Code.NOT_VERIFIED if report is None else Code.of(report.verdict.status)
    done(code, f"the files in {out} hold it")
    if as_json:
        print_json(summary(result, report, files), stdout)
    elif report is not None:
        show_report(report, files, stdout)
    elif result is not None:
        show_unjudged(result, files, stdout)
    raise typer.Exit(code)


@contextmanager
def or_nothing_unlearned(as_json: bool, stdout: TextIO) -> Iterator[None]:
    """Where a run in the block unlearns nothing, print why and what to do, write no file, and end with its own code."""
    from efface.unlearning.nothing import NothingUnlearnedError

    try:
        yield
    except NothingUnlearnedError as error:
        from efface.cli.display import show_nothing

        if as_json:
            print_json(nothing_summary(error), stdout)
        else:
            show_nothing(error, stdout)
        raise typer.Exit(Code.NOTHING_UNLEARNED) from None


def finish_plan(plan: "Plan", as_json: bool, show_ids: bool, stdout: TextIO) -> NoReturn:
    """Print what a request would do, and end.

    Args:
        plan: the plan.
        as_json: whether to print one JSON document.
        show_ids: whether to name the records; if not, they are only counted, and so are warnings.
        stdout: where to print.
    """
    if as_json:
        from efface.runtime.jsonable import to_jsonable

        document = {
            "status": "dry_run",
            "method": plan.method.key,
            "training_records": plan.training_records,
            "names": plan.names,
            "count": len(plan.records),
            "records": to_jsonable(plan.records) if show_ids else None,
            "warnings": list(plan.warnings) if show_ids else None,
        }
        print_json(document, stdout)
    else:
        from efface.cli.display import show_plan

        show_plan(plan, show_ids, stdout)
    raise typer.Exit(0)
