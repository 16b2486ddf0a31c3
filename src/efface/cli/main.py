"""The command line: `efface unlearn`, `audit`, `methods`, `demo`, `doctor`, and the commands of a store.

A command first makes the checks that need no model, and imports torch only after them, within its function. So help
and most refusals do not wait for torch.
"""

from pathlib import Path
from typing import Annotated

import typer

import efface
from efface.auditing.config import MODELS, REFERENCES, Level
from efface.cli import doctor, store, store_backup, store_init, store_repair, store_requests, store_status
from efface.cli.checks import (
    check_audit,
    check_fit,
    check_inputs,
    check_method,
    check_no_audit,
    check_twins,
    reference_files,
    weights_files,
)
from efface.cli.endings import finish, finish_plan, or_nothing_unlearned
from efface.cli.failures import EPILOG, guarded
from efface.cli.ids import IdSource
from efface.cli.output import check_folder, print_json
from efface.cli.parameters import (
    AuditLevel,
    ByGroups,
    Cache,
    Checkpoint,
    Commands,
    Confirm,
    Device,
    DryRun,
    Force,
    Forget,
    ForgetFormat,
    HideIds,
    Jobs,
    Json,
    MethodCommand,
    MethodKey,
    MethodOptions,
    Models,
    NoAudit,
    NoChecks,
    Out,
    OutUnlessDry,
    ReferenceModels,
    Rehearse,
    Seed,
    TaskPath,
    TwinsWord,
)
from efface.cli.taskpath import working_folder_importable
from efface.errors import RequestError, collect_errors
from efface.methods import REGISTRY
from efface.runtime.devices import check_device_name, resolve_device
from efface.runtime.provenance import efface_version

app = typer.Typer(
    cls=Commands,
    help="Erase chosen training records from a trained PyTorch model, and check that they are gone.",
    epilog=EPILOG,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Show the version, or the help if no command is given."""
    if version:
        typer.echo(f"efface {efface_version()}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(
    cls=MethodCommand,
    epilog="Example:\n\nefface unlearn my_task:task --checkpoint model.pt --forget ids.txt --out run",
)
def unlearn(
    task: TaskPath,
    checkpoint: Checkpoint,
    forget: Forget,
    out: OutUnlessDry = None,
    forget_format: ForgetFormat = None,
    groups: ByGroups = False,
    method: MethodKey = "steer",
    option: MethodOptions = None,
    seed: Seed = 0,
    device: Device = "auto",
    level: AuditLevel = "standard",
    reference_models: ReferenceModels = REFERENCES,
    models: Models = MODELS,
    cache: Cache = None,
    jobs: Jobs = None,
    hide_ids: HideIds = False,
    twins: TwinsWord = None,
    confirm: Confirm = None,
    no_checks: NoChecks = False,
    no_audit: NoAudit = False,
    rehearse: Rehearse = False,
    dry_run: DryRun = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Erase records from a trained model, audit the result, and write weights and report."""
    with guarded(as_json) as stdout, working_folder_importable():
        problems: list[str] = []
        source = IdSource(forget, style=forget_format, by_group=groups)
        lines = check_inputs(problems, task, [("--checkpoint", checkpoint)], source, device)
        options = collect_errors(problems, check_method, method, option or [])
        if out is not None:
            collect_errors(problems, check_folder, out, force, weights_files(checkpoint))
        elif not dry_run:
            problems.append("--out is missing: name the folder to write to, or look first with --dry-run")
        check_audit(problems, level, cache, None, models, jobs, rehearse)
        confirmed = check_twins(problems, twins, confirm, no_checks)
        check_no_audit(problems, no_audit, level)
        if problems or lines is None:
            raise RequestError(problems)

        from efface.cli.loading import load_inputs

        inputs = load_inputs(problems, task, [checkpoint], lines, device, confirmed)
        chosen = collect_errors(problems, efface.methods.get, method, options)
        check_fit(problems, level, inputs)
        if problems or inputs is None or chosen is None:
            raise RequestError(problems)
        settings = efface.UnlearnOptions(checks=not no_checks, twins=twins or "refuse", confirmed=inputs.confirmed)
        model, forgotten, given = inputs.models[0], inputs.forget, inputs.task
        if dry_run or out is None:
            plan = efface.check(model, forget=forgotten, task=given, method=chosen, options=settings)
            finish_plan(plan, as_json, not hide_ids, stdout)
        with or_nothing_unlearned(as_json, stdout):
            result = efface.unlearn(model, forget=forgotten, task=given, method=chosen, seed=seed, options=settings)
        report = None
        if not no_audit:
            how = efface.AuditOptions(models=models, cache=cache, jobs=jobs, show_ids=not hide_ids, rehearse=rehearse)
            report = efface.audit(result, level=level, references=reference_models, options=how)
        finish(out, result, report, as_json, stdout)


@app.command(
    epilog="Example:\n\nefface audit my_task:task --original a.pt --unlearned b.pt --forget ids.txt --out audit\n\n"
    "efface audit my_task:task --original a.pt --unlearned b.pt --forget ids.txt --out audit --level strong "
    "--method finetune --cache ensembles",
)
def audit(
    task: TaskPath,
    original: Annotated[Path, typer.Option(metavar="FILE", help="Weights before unlearning: a file or a folder.")],
    unlearned: Annotated[
        Path, typer.Option(metavar="FILE", help="Weights of the model after unlearning, by whatever tool, likewise.")
    ],
    forget: Forget,
    out: Out,
    forget_format: ForgetFormat = None,
    groups: ByGroups = False,
    retrained: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Weights of a model trained without the records; may be repeated."),
    ] = None,
    level: AuditLevel = "standard",
    references: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Reference models that saw neither forget nor holdout records, each a file or a folder; else trained.",
        ),
    ] = None,
    reference_models: ReferenceModels = REFERENCES,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="The method that made the model, which a rehearsal runs again, and level strong on many originals; "
            "known without it if efface wrote the weights.",
        ),
    ] = None,
    models: Models = MODELS,
    cache: Cache = None,
    jobs: Jobs = None,
    hide_ids: HideIds = False,
    twins: TwinsWord = None,
    confirm: Confirm = None,
    rehearse: Rehearse = False,
    seed: Seed = 0,
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Judge an unlearned model, made by any tool, against records that neither model saw."""
    with guarded(as_json) as stdout, working_folder_importable():
        problems: list[str] = []
        given = (collect_errors(problems, reference_files, references) if references is not None else None) or []
        checkpoints = [
            ("--original", original),
            ("--unlearned", unlearned),
            *(("--retrained", path) for path in retrained or []),
            *(("--references", path) for path in given),
        ]
        source = IdSource(forget, style=forget_format, by_group=groups)
        lines = check_inputs(problems, task, checkpoints, source, device)
        collect_errors(problems, check_folder, out, force)
        check_audit(problems, level, cache, method, models, jobs, rehearse)
        confirmed = check_twins(problems, twins, confirm)
        problems += ["--references is for levels standard and strong"] * (references is not None and level == "quick")
        if problems or lines is None:
            raise RequestError(problems)

        from efface.cli.earlier_run import find_earlier_run
        from efface.cli.loading import load_inputs

        inputs = load_inputs(problems, task, [path for _, path in checkpoints], lines, device, confirmed)
        check_fit(problems, level, inputs)
        if problems or inputs is None:
            raise RequestError(problems)
        before, after, *others = inputs.models
        run = find_earlier_run(unlearned, after)
        if run is not None:
            run.check(unlearned, method, twins)
        report = efface.audit_models(
            before,
            after,
            forget=inputs.forget,
            task=inputs.task,
            level=level,
            references=others[len(retrained or []) :] or reference_models,
            retrained=others[: len(retrained or [])],
            seed=seed,
            options=efface.AuditOptions(
                method=method or (run.method if run is not None and (level == Level.STRONG or rehearse) else None),
                rehearse=rehearse,
                models=models,
                cache=cache,
                jobs=jobs,
                run_seed=None if run is None else run.seed,
                used_reference=None if run is None else run.reference,
                twins=twins or (None if run is None else run.twins),
                confirmed=inputs.confirmed,
                show_ids=not hide_ids,
            ),
        )
        finish(out, None, report, as_json, stdout)


@app.command(epilog="Example:\n\nefface methods --json")
def methods(as_json: Json = False) -> None:
    """List the unlearning methods with their options."""
    with guarded(as_json) as stdout:
        from efface.cli.methods_display import describe, show_methods

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
    """Train a small model, erase records from it, retrain without them, and audit that and doing nothing."""
    with guarded(as_json) as stdout:
        problems: list[str] = []
        collect_errors(problems, check_device_name, device)
        collect_errors(problems, check_folder, out, force)
        if problems:
            raise RequestError(problems)
        resolve_device(device)
        from efface.cli.demo_end import finish_demo, run_pen_demo

        with or_nothing_unlearned(as_json, stdout):
            run = run_pen_demo(seed, device)
        finish_demo(out, run, as_json, stdout)


# beside the commands above, and after them in the help
for part in (doctor, store_init, store, store_status, store_backup, store_repair):
    app.registered_commands += part.app.registered_commands
app.add_typer(store_requests.app, name="request")
