"""Checks of a command's arguments that need no torch, so that most mistakes are reported before it is loaded."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from efface.auditing.config import MODELS, NO_FIT, Level, level_problem
from efface.cli.ids import IdLines, IdSource, read_id_lines
from efface.cli.taskpath import check_task_path
from efface.data.twin_policy import policy_problems
from efface.errors import RequestError, collect_errors, reason_of, shorten
from efface.methods import check_key
from efface.models.weights_file import INDEX, KINDS, find_weights, is_weights_name
from efface.runtime.devices import check_device_name
from efface.runtime.files import check_writable

if TYPE_CHECKING:
    from efface.cli.loading import Inputs


def check_inputs(
    problems: list[str], task: str, checkpoints: Iterable[tuple[str, Path]], forget: IdSource, device: str
) -> IdLines | None:
    """Check the arguments that all commands which load a model share.

    Args:
        problems: problems are added to this list.
        task: the task as `module:attribute`.
        checkpoints: weights files, each with the option that gave it.
        forget: the file of ids or groups.
        device: name of a device.

    Returns:
        The lines of the file of ids, since standard input can be read only once; None if they cannot be read.
    """
    collect_errors(problems, check_task_path, task)
    for option, path in checkpoints:
        collect_errors(problems, check_weights_of, option, path)
    lines = collect_errors(problems, read_id_lines, forget)
    collect_errors(problems, check_device_name, device)
    return lines


def check_weights_of(option: str, path: Path) -> None:
    """Check that `option` gives a file of weights, or a folder that holds those of one model; RequestError if not."""
    try:
        find_weights(path)
    except RequestError as error:
        raise RequestError([f"{line} ({option})" for line in error.problems]) from error


def weights_files(path: Path) -> tuple[Path, ...]:
    """All files that are read for the weights at a path; none if they cannot be."""
    found = collect_errors([], find_weights, path)
    return () if found is None else found.files


def check_level(level: str) -> None:
    """Check that there is an audit level of that name; RequestError if not."""
    if problem := level_problem(level):
        raise RequestError(f"{problem} (--level)")


def check_no_audit(problems: list[str], no_audit: bool, level: str) -> None:
    """Check that no level is named where nothing is to be audited; a problem is added to `problems`."""
    if no_audit and level != Level.STANDARD:
        problems.append("--level says how to audit, and --no-audit not to: leave one out")


def check_audit(
    problems: list[str],
    level: str,
    cache: Path | None,
    method: str | None = None,
    models: int = MODELS,
    jobs: int | None = None,
    rehearse: bool = False,
) -> None:
    """Check the level of an audit, and that options which only some levels use are given at those alone.

    Args:
        problems: problems are added to this list.
        level: name of the level.
        cache: folder for the models of ensembles, if one was given.
        method: key of a method, if one was given.
        models: number of models of each ensemble.
        jobs: number of processes, if one was given.
        rehearse: whether a rehearsal is wanted.
    """
    collect_errors(problems, check_level, level)
    if level in (Level.QUICK, Level.STANDARD):
        values = {
            "--cache": cache,
            "--jobs": jobs,
            "--models": None if models == MODELS else models,
        }
        unused = [name for name, value in values.items() if value is not None]
        problems += [f"{name} is for --level strong" for name in unused]
    if level == Level.QUICK and rehearse:
        problems.append("--rehearse is for levels standard and strong")
    elif level != Level.STRONG and method is not None and not rehearse:
        problems.append("--method is for --level strong and --rehearse")
    if level == Level.STRONG and cache is not None:
        collect_errors(problems, check_writable, cache, "cache")
    if method is not None:
        collect_errors(problems, check_key, method)


def check_twins(problems: list[str], twins: str | None, confirm: str | None, no_checks: bool = False) -> IdLines | None:
    """Check the choice about twins, and read the file of the ids that confirm it.

    Args:
        problems: problems are added to this list.
        twins: what is to be done with twins; None for the default.
        confirm: the file of ids of twins, if one was given.
        no_checks: whether records are not compared.

    Returns:
        The lines of the file; None if there is none, or it cannot be read.
    """
    words = {"twins": "--twins", "confirmed": "--confirm", "checks": "the checks"}
    for line in policy_problems(twins or "refuse", () if confirm is None else (confirm,), checks=not no_checks):
        name, _, rest = line.partition(": ")
        problems.append(f"{words[name]}: {rest}")
    return None if confirm is None else collect_errors(problems, read_id_lines, IdSource(confirm, "--confirm"))


def check_fit(problems: list[str], level: str, inputs: "Inputs | None") -> None:
    """Check that the task can train models, at level strong; `inputs` is None if they could not be loaded."""
    if level == Level.STRONG and inputs is not None and inputs.task.fit is None:
        problems.append(f"{NO_FIT} (--level)")


def check_method(key: str, words: Iterable[str]) -> dict[str, str]:
    """Read the options of a method; whether the method has these options is not checked here.

    Args:
        key: key of the method.
        words: the options, each as `name=value`.

    Returns:
        The values as text, by name.

    Raises:
        RequestError: there is no such method, an option is not written as `name=value`, or one is given twice.
    """
    given = list(words)
    problems = [f"option {word!r}: expected NAME=VALUE, for example steps=80" for word in given if "=" not in word]
    pairs = [(name.strip(), value.strip()) for name, equals, value in (w.partition("=") for w in given) if equals]
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        problems.append(f"options given more than once: {shorten(twice)}")
    collect_errors(problems, check_key, key)
    if problems:
        raise RequestError(problems)
    return dict(pairs)


def reference_files(folder: Path) -> list[Path]:
    """The weights files, and the folders of single models, in a folder of reference models, sorted by name.

    Raises:
        RequestError: There are none, or the folder is itself that of one model in shards.
    """
    try:
        found = sorted(p for p in folder.iterdir() if _holds_weights(p))
    except (OSError, ValueError) as error:
        raise RequestError(f"{folder}: cannot be read: {reason_of(error)} (--references)") from error
    if not found:
        raise RequestError(f"{folder}: holds no weights ({KINDS}) (--references)")
    if shards := [p for p in found if p.name.endswith(INDEX)]:
        raise RequestError(
            f"{folder}: holds the shards of one model ({shards[0].name}): give a folder that holds a file or a folder "
            "for each reference model (--references)"
        )
    return found


def _holds_weights(place: Path) -> bool:
    return any(map(is_weights_name, place.iterdir())) if place.is_dir() else is_weights_name(place)
