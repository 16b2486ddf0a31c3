"""A folder to run the command line in: a task module, a trained model's weights and a file of ids."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner, Result

from efface.cli.main import app
from efface.errors import RequestError

TASK = '''
import torch
from torch import nn
from torch.utils.data import TensorDataset

from efface import Task


def records(n, seed):
    """Three noisy Gaussian classes."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    x = torch.randn(n, 8, generator=generator)
    x[torch.arange(n), y] += 2.5
    drawn = torch.randint(3, (n,), generator=generator)
    return TensorDataset(x, torch.where(torch.rand(n, generator=generator) < 0.2, drawn, y))


def build_model():
    return nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 3))


def task(**changes):
    given = {"train": records(300, 0), "holdout": records(200, 1), "test": records(100, 2), "build_model": build_model}
    return Task(**{**given, **changes})
'''
FORGET = range(0, 36)
# a run on a scale of milliseconds
SMALL = ("--option", "rounds=1", "--option", "steps=8", "--reference-models", "1")
UNLEARN = ("unlearn", "my_task:task", "--checkpoint", "model.safetensors", "--forget", "ids.txt", "--out", "run")
AUDIT = (
    *("audit", "my_task:task", "--original", "model.safetensors", "--unlearned", "other.safetensors"),
    *("--forget", "ids.txt", "--out", "run", "--reference-models", "1"),
)


def taught(first: int, seed: int) -> nn.Module:
    """A network of TASK that knows its records from the `first` on by heart."""
    space: dict[str, Any] = {}
    exec(TASK, space)
    x, y = space["records"](300, 0).tensors
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = space["build_model"]()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        optimiser.zero_grad()
        F.cross_entropy(model(x[first:]), y[first:]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return model


def make_workshop(folder: Path) -> None:
    """Write my_task.py, model.safetensors (knows its records by heart), other.safetensors (does not) and ids.txt."""
    (folder / "my_task.py").write_text(TASK)
    for name, first in (("model", 0), ("other", len(FORGET))):
        model = taught(first, seed=0)
        save_file(model.state_dict(), folder / f"{name}.safetensors")
    (folder / "ids.txt").write_text("\n".join(map(str, FORGET)) + "\n")


def copy_workshop(source: Path, target: Path) -> None:
    for file in source.iterdir():
        shutil.copy(file, target)


def run(*words: str, stdin: str | bytes | None = None, **environment: str) -> Result:
    """One command, in this process, on a wide terminal without colours."""
    environment = {"COLUMNS": "160", "LINES": "50", "TERM": "dumb", "EFFACE_TRACEBACK": "", **environment}
    return CliRunner().invoke(app, list(words), input=stdin, env=environment)


def listing(folder: Path) -> list[str]:
    """Every file and folder below, but for Python's caches."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if "__pycache__" not in p.parts)


def new_files(folder: Path) -> list[str]:
    """The listing without the workshop's own files."""
    return [n for n in listing(folder) if n not in {"my_task.py", "model.safetensors", "other.safetensors", "ids.txt"}]


def answer(result: Result) -> Any:
    """The one JSON document on standard output."""
    return json.loads(result.stdout)


def failing(error: BaseException) -> Callable[..., Any]:
    def unlearn(*args: Any, **kwargs: Any) -> None:
        raise error

    return unlearn


def watch_forget(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record the ids that reach the library, which then does nothing."""
    seen: list[Any] = []

    def unlearn(model: Any, *, forget: Any, **_: Any) -> None:
        seen.append(forget)
        raise RequestError("enough seen")

    monkeypatch.setattr("efface.unlearn", unlearn)
    return seen
