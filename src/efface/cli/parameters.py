"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from efface.auditing.config import MIN_ENSEMBLE
from efface.cli.failures import CommandGroup
from efface.methods import available
from efface.store.place import KEY_VARIABLE

# commands that people try, and what does it
ELSEWHERE = {
    "check": "efface unlearn --dry-run makes all checks of a request, and shows which records would go; efface doctor "
    "examines a task before anything is asked",
    "forget": "efface unlearn erases records",
    "store": "a store's commands are efface init, request, run, status, verify, export, rollback, backup, "
    "restore, head, clock and retire",
    "history": "efface status shows the versions, efface request list the requests",
}


class Commands(CommandGroup):
    """All commands: where there is no such command, what does it under another name."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the first word names."""
        try:
            return super().resolve_command(ctx, args)
        except Exception as error:  # a usage error of Click, whose classes Typer keeps at various places
            if hasattr(error, "message") and (hint := ELSEWHERE.get(args[0])):
                error.message = f"{error.message.partition('. ')[0].removesuffix('.')}: {hint}"
            raise


class MethodCommand(TyperCommand):
    """A command that runs a method: a word that it does not know is often an option of that method."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words of a command line; a usage error says how options of the method are written."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as error:  # a usage error of Click, whose classes Typer keeps at various places
            hint = {
                "NoSuchOption": "an option of the method is given as --option NAME=VALUE",
                "UsageError": "an option of the method is one word: --option NAME=VALUE" * ("--option" in given),
            }.get(type(error).__name__, "")
            if hint and hasattr(error, "message"):
                error.message = f"{error.message.removesuffix('.')}; {hint}"
            raise


ID_LINES = "each line is exactly an id, or in a .jsonl file a JSON string or integer"
DEFAULT_STORE = Path("efface-store")

TaskPath = Annotated[
    str,
    typer.Argument(
        metavar="MODULE:NAME",
        help="An efface.Task, or a function without arguments that returns one, in a module that can be imported "
        "from the working folder; its build_model makes the network.",
        show_default=False,
    ),
]
Checkpoint = Annotated[
    Path,
    typer.Option(
        metavar="FILE",
        help="Weights of the trained model: a file (.safetensors, .pt, .pth, .ckpt, .bin), a folder of one model as "
        "Hugging Face's libraries write it, or its .index.json.",
    ),
]
Forget = Annotated[
    str,
    typer.Option(
        metavar="FILE",
        help=f"Ids of the records to forget, in UTF-8: {ID_LINES}; - reads standard input.",
        show_default=False,
    ),
]
ForgetFormat = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="text or jsonl, where the name of the file does not say it, as for -."),
]
ByGroups = Annotated[
    bool,
    typer.Option("--groups", help="The lines are keys of Task.groups: all records of each group are meant."),
]
MethodKey = Annotated[str, typer.Option(metavar="KEY", help=f"One of {', '.join(available())}.")]
MethodOptions = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="An option of the method (see efface methods); may be repeated."),
]
Out = Annotated[
    Path, typer.Option(metavar="FOLDER", help="Where to write; must be absent or empty.", show_default=False)
]
OutUnlessDry = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FOLDER",
        help="Where to write; must be absent or empty. Needed without --dry-run.",
        show_default=False,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Make all checks and show which records would go; nothing is done or written."),
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
Models = Annotated[int, typer.Option(min=MIN_ENSEMBLE, help="Models of each ensemble, at level strong.")]
Cache = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Keeps the ensembles' models, so that an interrupted or second audit finds them. Some of them know the "
        "forget records: delete it afterwards.",
    ),
]
Jobs = Annotated[int | None, typer.Option(min=1, help="Processes that train ensembles; all cores by default.")]
NoChecks = Annotated[
    bool, typer.Option("--no-checks", help="Skip the pass over all records that looks for twins and NaN.")
]
Rehearse = Annotated[
    bool,
    typer.Option(
        "--rehearse",
        help="Where the request is too small to show anything, try the method on other records of its kind.",
    ),
]
NoAudit = Annotated[
    bool, typer.Option("--no-audit", help="Write the weights only; nothing is verified, so the exit code is 3.")
]
HideIds = Annotated[bool, typer.Option("--hide-ids", help="Leave record ids out of the report; hashes stay.")]
TwinsWord = Annotated[
    str | None,
    typer.Option(
        "--twins",
        metavar="WORD",
        help="What is done with other training records that have the inputs of a forget record: refuse (the default) "
        "lists them; forget forgets them too, if --confirm names them; keep leaves them, and the records with such a "
        "twin out of the request and of all tests.",
        show_default=False,
    ),
]
Confirm = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="With --twins forget: the ids of the twins to forget too, written as those of --forget."
    ),
]

StorePlace = Annotated[
    Path, typer.Option("--store", metavar="FOLDER", envvar="EFFACE_STORE", help="The store.", show_default=True)
]
KeyFile = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", envvar=KEY_VARIABLE, help="The store's key; by default beside its folder."),
]
NOTED = "SEQ:HASH as efface head printed it, or a file of such lines"
NotedHead = Annotated[
    str | None,
    typer.Option(
        metavar="SEQ:HASH", help=f"End with code 4 where the history lacks an event that was noted elsewhere: {NOTED}."
    ),
]
OtherTask = Annotated[
    str | None, typer.Option("--task", metavar="MODULE:NAME", help="The task, where it is not the one given to init.")
]
StoreAuditLevel = Annotated[
    str, typer.Option("--level", metavar="NAME", help="What the audit spends: quick, standard or strong.")
]
RequestNumber = Annotated[int, typer.Argument(metavar="REQUEST", help="Number of the request.", show_default=False)]
