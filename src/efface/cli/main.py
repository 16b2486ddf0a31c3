"""The command line: `efface unlearn`, `audit`, `methods`, `demo`, and the verbs of a store."""

import io
import sys
from pathlib import Path
from typing import Annotated, NoReturn, TextIO

import typer

from efface.auditing.api import audit as run_audit
from efface.auditing.api import audit_models
from efface.auditing.config import MIN_MODELS, MODELS, REFERENCES, Level
from efface.auditing.options import AuditOptions
from efface.auditing.report.build import Report
from efface.cli import requests, store
from efface.cli.display import describe, show_methods, show_report, show_unjudged
from efface.cli.failures import Code, guarded
from efface.cli.loading import check_level, choose_method, load_inputs, reference_files, working_folder_importable
from efface.cli.output import check_folder, print_json, run_of, save, summary
from efface.errors import RequestError, collect_errors
from efface.methods import REGISTRY
from efface.runtime.devices import resolve_device
from efface.runtime.provenance import versions
from efface.unlearning.driver import unlearn as run_unlearn
from efface.unlearning.options import UnlearnOptions
from efface.unlearning.result import Result

EXIT_CODES = (
    "Exit codes: 0 verified; 1 an unexpected failure; 2 the request was refused, and nothing was written; "
    "3 done, but undecided or not verified; 4 a store is damaged; 5 a store is busy; 6 the disk is full or cannot be "
    "written to; 7 a run's model was refused, and nothing changed; 130 interrupted."
)

app = typer.Typer(
    help="Erase chosen training records from a trained PyTorch model, and check that they are gone.",
    # one paragraph a line, since some versions of Typer join the lines of a paragraph
    epilog=f"{EXIT_CODES}\n\nExample:\n\nefface demo --out demo-run",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
store.register(app)
app.add_typer(requests.app, name="request")

TaskPath = Annotated[
    str,
    typer.Argument(
        metavar="MODULE:NAME",
        help="An efface.Task, or a function without arguments that returns one, in a module that can be imported "
        "from the working folder; its build_model makes the network.",
        show_default=False,
    ),
]
Forget = Annotated[
    str,
    typer.Option(
        metavar="FILE",
        help="Ids of the records to forget, one a line, in UTF-8; # starts a comment line; - reads standard input.",
        show_default=False,
    ),
]
Out = Annotated[
    Path, typer.Option(metavar="FOLDER", help="Where to write; must be absent or empty.", show_default=False)
]
Force = Annotated[bool, typer.Option("--force", help="Write into a folder that is not empty.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document on standard output.")]
Seed = Annotated[int, typer.Option(help="Seed of everything drawn at random.")]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or cuda:N.")]
AuditLevel = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="quick: no extra models, only for requests that look like a random sample; standard: a few reference "
        "models; strong: ensembles, trained by Task.fit, at the cost of some 2.5 trainings for each of --models.",
    ),
]
ReferenceModels = Annotated[int, typer.Option(min=1, help="Reference models that the audit trains for itself.")]
Models = Annotated[int, typer.Option(min=MIN_MODELS, help="Models of each ensemble, at level strong.")]
Cache = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Keeps the ensembles' models, so that an interrupted or second audit finds them. Some of them know the "
        "forget records: delete it afterwards.",
    ),
]
Jobs = Annotated[int | None, typer.Option(min=1, help="Processes that train ensembles; all cores by default.")]
HideIds = Annotated[bool, typer.Option("--hide-ids", help="Leave record ids out of the report; hashes stay.")]


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Show the version, or the help where no command is named."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a sign must not end a run in an error
            stream.reconfigure(errors="backslashreplace")
    if version:
        typer.echo(f"efface {versions()['efface']}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(
    epilog="Example:\n\nefface unlearn my_task:task --checkpoint model.pt --forget ids.txt --out run",
)
def unlearn(
    task: TaskPath,
    checkpoint: Annotated[
        Path, typer.Option(metavar="FILE", help="Weights of the trained model: .safetensors, .pt or .pth.")
    ],
    forget: Forget,
    out: Out,
    method: Annotated[str, typer.Option(metavar="KEY", help=f"One of {', '.join(REGISTRY)}.")] = "steer",
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="An option of the method (see efface methods); may be repeated."),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    level: AuditLevel = "standard",
    reference_models: ReferenceModels = REFERENCES,
    models: Models = MODELS,
    cache: Cache = None,
    jobs: Jobs = None,
    hide_ids: HideIds = False,
    no_checks: Annotated[
        bool, typer.Option("--no-checks", help="Skip the pass over all records that looks for twins and NaN.")
    ] = False,
    no_audit: Annotated[
        bool, typer.Option("--no-audit", help="Write the weights only; nothing is verified, so the exit code is 3.")
    ] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Erase records from a trained model, audit the result, and write weights and report."""
    with guarded(as_json) as stdout, working_folder_importable():
        problems: list[str] = []
        inputs = load_inputs(problems, task, {"--checkpoint": checkpoint}, forget, device)
        chosen = collect_errors(problems, choose_method, method, option or [])
        collect_errors(problems, check_folder, out, force, [checkpoint])
        collect_errors(problems, check_level, level, inputs, cache)
        if no_audit and level != Level.STANDARD:
            problems.append("--level says how to audit, and --no-audit not to: leave one out")
        if problems or inputs is None or chosen is None:
            raise RequestError(problems)
        result = run_unlearn(
            inputs.models[0],
            forget=inputs.forget,
            task=inputs.task,
            method=chosen,
            seed=seed,
            options=UnlearnOptions(checks=not no_checks),
        )
        report = None
        if not no_audit:
            report = run_audit(
                result,
                level=level,
                references=reference_models,
                options=AuditOptions(models=models, cache=cache, jobs=jobs, show_ids=not hide_ids),
            )
        _finish(out, result, report, as_json, stdout)


@app.command(
    epilog="Example:\n\nefface audit my_task:task --original a.pt --unlearned b.pt --forget ids.txt --out audit\n\n"
    "efface audit my_task:task --original a.pt --unlearned b.pt --forget ids.txt --out audit --level strong "
    "--method finetune --cache ensembles",
)
def audit(
    task: TaskPath,
    original: Annotated[Path, typer.Option(metavar="FILE", help="Weights of the model before unlearning.")],
    unlearned: Annotated[
        Path, typer.Option(metavar="FILE", help="Weights of the model after unlearning, by whatever tool.")
    ],
    forget: Forget,
    out: Out,
    retrained: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Weights of a model trained without the records; may be repeated."),
    ] = None,
    level: AuditLevel = "standard",
    references: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Weights of reference models that saw neither forget nor holdout records; trained here without it.",
        ),
    ] = None,
    reference_models: ReferenceModels = REFERENCES,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="At level strong: the method that made the model, to be run on many originals; known without it if "
            "efface wrote the weights.",
        ),
    ] = None,
    models: Models = MODELS,
    cache: Cache = None,
    jobs: Jobs = None,
    hide_ids: HideIds = False,
    seed: Seed = 0,
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Judge an unlearned model, made by any tool, against records that neither model saw."""
    with guarded(as_json) as stdout, working_folder_importable():
        again = {f"--retrained ({i})": path for i, path in enumerate(retrained or [], 1)}
        problems: list[str] = []
        given = collect_errors(problems, reference_files, references) if references is not None else []
        named = {f"--references ({path.name})": path for path in given or []}
        checkpoints = {"--original": original, "--unlearned": unlearned, **again, **named}
        inputs = load_inputs(problems, task, checkpoints, forget, device)
        collect_errors(problems, check_folder, out, force)
        collect_errors(problems, check_level, level, inputs, cache, method)
        if given and level == Level.QUICK:
            problems.append("--references is for levels standard and strong")
        chosen = None if method is None else collect_errors(problems, choose_method, method, [])
        if problems or inputs is None:
            raise RequestError(problems)
        before, after, *others = inputs.models
        run = run_of(unlearned, after)
        if run is not None and chosen is not None and chosen.key != run.method.key:
            raise RequestError(f"the report beside {unlearned} says that {run.method.key} made it: leave --method out")
        report = audit_models(
            before,
            after,
            forget=inputs.forget,
            task=inputs.task,
            level=level,
            references=others[len(again) :] or reference_models,
            retrained=others[: len(again)],
            seed=seed,
            options=AuditOptions(
                method=chosen or (run.method if run is not None and level == Level.STRONG else None),
                models=models,
                cache=cache,
                jobs=jobs,
                run_seed=None if run is None else run.seed,
                used_reference=None if run is None else run.reference,
                show_ids=not hide_ids,
            ),
        )
        _finish(out, None, report, as_json, stdout)


@app.command(epilog="Example:\n\nefface methods --json")
def methods(as_json: Json = False) -> None:
    """List the unlearning methods with their options."""
    with guarded(as_json) as stdout:
        described = [describe(m) for m in REGISTRY.values()]
        if as_json:
            print_json({"methods": described}, stdout)
        else:
            show_methods(described, stdout)


@app.command(epilog="Example:\n\nefface demo --out demo-run")
def demo(
    out: Out,
    seed: Seed = 0,
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train a small model, erase records from it, retrain without them, and audit."""
    with guarded(as_json) as stdout:
        from efface.cli.demo import run_demo  # data sets and training, which no other command needs

        problems: list[str] = []
        collect_errors(problems, resolve_device, device)
        collect_errors(problems, check_folder, out, force)
        if problems:
            raise RequestError(problems)
        run = run_demo(seed=seed, device=device)
        _finish(out, run.result, run.report, as_json, stdout)


def _finish(out: Path, result: Result | None, report: Report | None, as_json: bool, stdout: TextIO) -> NoReturn:
    """Write the files, print the answer, and end with the code of the verdict."""
    files = save(out, result, report)
    if as_json:
        print_json(summary(report, files), stdout)
    elif report is not None:
        show_report(report, files, stdout)
    elif result is not None:
        show_unjudged(result, files, stdout)
    raise typer.Exit(Code.NOT_VERIFIED if report is None else Code.of(report.verdict.status))
