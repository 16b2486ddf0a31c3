"""From words of a command line to what the library takes: the task, its models and the ids to forget."""

import contextlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from efface import methods
from efface.auditing.config import Level
from efface.cli.taskpath import load_task, user_failure
from efface.data.checks import Findings, check_forget
from efface.ensembles.cache import check_cache
from efface.errors import CheckpointError, RequestError, collect_errors, shorten
from efface.methods.base import Method
from efface.models.checkpoint import load_weights
from efface.options import nearest
from efface.runtime.devices import resolve_device
from efface.task import Task, missing_build_model
from efface.types import RecordId

SUFFIXES = (".safetensors", ".pt", ".pth")
INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True)
class Inputs:
    """A task, one model for each checkpoint in order, on the device asked for, and the ids to forget."""

    task: Task
    models: Sequence[nn.Module]
    forget: Sequence[RecordId]


def load_inputs(
    problems: list[str], task_path: str, checkpoints: Mapping[str, Path], forget: str, device: str
) -> Inputs | None:
    """Load all that can be loaded; every problem goes to `problems`, and with any there is no result.

    `checkpoints` are files by the name of the option that gave them.
    """
    before = len(problems)
    task = collect_errors(problems, load_task, task_path)
    if task is not None and task.build_model is None:
        problems.append(missing_build_model(task_path))
    models = [collect_errors(problems, load_model, task, path, option) for option, path in checkpoints.items()]
    ids = collect_errors(problems, read_ids, forget, task)
    if task is not None and ids is not None and hasattr(task.train, "__len__"):
        # the library checks this too, but only once everything else is right
        found = Findings()
        check_forget(task, ids, len(task.train), found)
        problems += found.problems
    place = collect_errors(problems, resolve_device, device)
    if len(problems) > before or task is None or ids is None:
        return None
    return Inputs(task, [m.to(place) for m in models if m is not None], ids)


def load_model(task: Task | None, path: Path, option: str) -> nn.Module | None:
    """A fresh network with the weights of `path`; without a network to load into, only whether the file is there."""
    if task is None or task.build_model is None:
        if not path.is_file():
            raise CheckpointError(f"{path}: {'is not a file' if path.exists() else 'there is no such file'} ({option})")
        return None
    try:
        model = task.build_model()
    except Exception as error:
        raise RequestError(f"Task.build_model {user_failure(error)}") from error
    if not isinstance(model, nn.Module):
        raise RequestError(f"Task.build_model returned {type(model).__name__}, not a torch.nn.Module")
    load_weights(model, path)
    return model


def reference_files(folder: Path) -> list[Path]:
    """The weights files in a folder of reference models, by name."""
    try:
        found = sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"{folder}: cannot be read: {reason} (--references)") from error
    if not found:
        raise RequestError(f"{folder}: holds no weights ({', '.join(SUFFIXES)}) (--references)")
    return found


def check_level(level: str, inputs: Inputs | None, cache: Path | None, method: str | None = None) -> None:
    """Whether there is such a level, it has what it needs, and uses what it was given; before any work."""
    known = [str(x) for x in Level]
    if level not in known:
        raise RequestError(f"level {level!r} is unknown ({nearest(level, known)}) (--level)")
    if level != Level.STRONG:
        unused = [name for name, value in (("--cache", cache), ("--method", method)) if value is not None]
        if unused:
            raise RequestError([f"{name} is for --level strong" for name in unused])
        return
    problems: list[str] = []
    if inputs is not None and inputs.task.fit is None:
        problems.append("level strong trains models as the original was: set Task.fit, or use --level standard")
    if cache is not None:
        collect_errors(problems, check_cache, cache)
    if problems:
        raise RequestError(problems)


def read_ids(source: str, task: Task | None, option: str = "--forget") -> list[RecordId]:
    """The ids in a file, one a line, or of standard input for `-`; integers if the task's ids are.

    Blank lines and lines that start with # are left out. Without a task only the file itself is checked.
    """
    name = "standard input" if source == "-" else source
    lines = _lines(_bytes(source, option), name)
    words = [(at, line.strip()) for at, line in enumerate(lines, 1)]
    words = [(at, word) for at, word in words if word and not word.startswith("#")]
    if not words:
        raise RequestError(f"{name}: names no record id (one a line; lines that start with # are comments)")
    if task is None or not _takes_integers(task):
        return [word for _, word in words]
    wrong = [f"line {at}: {word[:40]!r}" for at, word in words if not INTEGER.fullmatch(word)]
    if wrong:
        raise RequestError(f"{name}: the task's ids are integers, but {shorten(wrong, show=str)}")
    return [int(word) for _, word in words]


def choose_method(key: str, options: Sequence[str]) -> Method:
    """A method by its key, with options given as `name=value`."""
    problems = [f"option {word!r}: expected NAME=VALUE, for example steps=80" for word in options if "=" not in word]
    pairs = [word.partition("=")[::2] for word in options if "=" in word]
    given = {name.strip(): value.strip() for name, value in pairs}
    if len(given) < len(pairs):
        names = [name.strip() for name, _ in pairs]
        problems.append(f"options given more than once: {shorten(sorted({n for n in names if names.count(n) > 1}))}")
    method = collect_errors(problems, methods.get, key, given)
    if problems or method is None:
        raise RequestError(problems)
    return method


@contextlib.contextmanager
def working_folder_importable() -> Iterator[None]:
    """Let modules of the working folder be imported for as long as a command runs, also late, by a user's hooks."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # a user's module may have taken it off
            sys.path.remove(folder)


def _bytes(source: str, option: str) -> bytes:
    if source == "-":
        if sys.stdin is None:  # closed before the process began
            raise RequestError("standard input is closed, so no ids can be read from it")
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except FileNotFoundError:
        raise RequestError(f"{source}: there is no such file ({option})") from None
    except IsADirectoryError:
        raise RequestError(f"{source}: is a folder, not a file of ids") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise RequestError(f"{source}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _lines(data: bytes, name: str) -> list[str]:
    if b"\0" in data:
        raise RequestError(f"{name}: holds NUL bytes, so it is not UTF-8 text with one id a line")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(f"{name}: is not UTF-8 text (byte {error.start})") from None
    # not str.splitlines, which also cuts at separators that an id may hold
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _takes_integers(task: Task) -> bool:
    return task.ids is None or all(isinstance(i, int | np.integer) for i in task.ids)
