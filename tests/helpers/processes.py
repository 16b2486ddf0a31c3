"""What each of two processes of `torch.distributed` does in tests/unlearning/test_parallel.py, and one process as well.

    python -m torch.distributed.run --nproc_per_node 2 -m helpers.processes FOLDER

runs every case in each process, which writes the weights and facts it got to its own file in FOLDER.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from efface import EffaceError, Recipe, methods
from efface.unlearning import parallel
from helpers.calls import with_options
from helpers.method_table import SMALL
from helpers.networks import Named
from helpers.tiny import FEATURES, Tiny, make_tiny, memorise, mlp

RECIPE = Recipe(epochs=1, lr=1e-2, batch=32, least_steps=12)
# of the descent methods those that do most of their own: copies, penalties, frozen layers, other networks, hooks
DIVIDED = ("steer", "finetune", "scrub", "l1_sparse", "cfk", "game", "boundary", "fnn", "tmu")

RUINOUS = {"alpha": "0", "steps": "60", "every": "60", "lr": "0.05"}


class Counting(nn.Module):
    """Counts the rows that pass it with gradients."""

    rows = 0

    def forward(self, x: Tensor) -> Tensor:
        Counting.rows += len(x) * torch.is_grad_enabled()
        return x


@dataclass(frozen=True)
class Found:
    """What a run came to: the weights before and after, rows computed with gradients, records that the cost names."""

    before: Tensor
    after: Tensor
    rows: int
    backward: int
    outcome: str
    tidy: bool


def flat(model: nn.Module) -> Tensor:
    """All weights and buffers as one vector."""
    return torch.cat([t.detach().double().reshape(-1) for t in (*model.parameters(), *model.buffers())])


def erase(tiny: Tiny, model: nn.Module, method: str = "steer", **changes: Any) -> Found:
    """One short run."""
    task = tiny.task(**changes.pop("task", {}))
    options = {**SMALL[method], **changes.pop("options", {})}
    Counting.rows = 0
    given = {"method": methods.get(method, options), "reference": RECIPE, **changes}
    result = parallel.unlearn(model, forget=tiny.forget, task=task, **with_options(given))
    tidy = result.task is task and result.original is model and type(result.model) is type(model)
    return Found(
        flat(model), flat(result.model), Counting.rows, result.cost.total.backward, str(result.evidence.outcome), tidy
    )


def double() -> Tiny:
    """The tiny problem in float64, in which processes differ by next to nothing from one."""
    tiny = make_tiny()
    model = nn.Sequential(Counting(), tiny.model).double()
    return replace(tiny, model=model, x=tiny.x.double(), holdout_x=tiny.holdout_x.double())


def named(tiny: Tiny) -> Found:
    """Inputs that are dicts, and a forward that calls something of the model by its name."""
    model = Named().double()
    model.net.load_state_dict(tiny.model[1].state_dict())
    model.net = nn.Sequential(Counting(), model.net)

    def unpack(batch: Any) -> tuple[Any, Tensor]:
        x, y = batch
        return {"left": x[:, :6], "rest": [x[:, 6:11], x[:, 11:]]}, y

    def forward(network: Any, inputs: Any) -> Tensor:
        assert isinstance(network, Named)
        logits: Tensor = network(inputs)["logits"]
        return logits

    return erase(tiny, model, task={"unpack": unpack, "forward": forward})


def apart(tiny: Tiny, layer: nn.Module, method: str = "finetune") -> Found:
    """A layer for which train mode needs the whole batch, by a method that trains in it or, as steer, does not."""
    torch.manual_seed(0)
    model = memorise(nn.Sequential(Counting(), layer, mlp()).double(), tiny.x, tiny.y, steps=60)
    return erase(tiny, model, method)


CASES: dict[str, Callable[[Tiny], Found]] = {
    **{name: lambda tiny, name=name: erase(tiny, tiny.model, name) for name in DIVIDED},
    "uneven": lambda tiny: erase(tiny, tiny.model, options={"batch_forget": "7", "batch_retain": "6"}),
    "one row": lambda tiny: erase(tiny, tiny.model, "gradient_ascent", options={"batch": "2"}, evaluate=False),
    "named": named,
    "batch norm": lambda tiny: apart(tiny, nn.BatchNorm1d(FEATURES)),
    "batch norm in eval mode": lambda tiny: apart(tiny, nn.BatchNorm1d(FEATURES), "steer"),
    "dropout": lambda tiny: apart(tiny, nn.Dropout(0.2)),
}


def refusals(tiny: Tiny, rank: int) -> dict[str, str]:
    """What each process is told of requests that cannot be divided."""
    other = mlp().double()
    wrapped = nn.parallel.DistributedDataParallel(mlp().double())
    shuffled = replace(tiny, x=tiny.x + rank)
    asked: dict[str, Callable[[], Found]] = {
        **{
            name: lambda name=name: erase(tiny, tiny.model, name)
            for name in ("ssd", "msg", "salun", "sfron", "influence")
        },
        "ruinous": lambda: erase(tiny, tiny.model, "neggrad_plus", options=RUINOUS),
        "wrapped": lambda: erase(tiny, wrapped),
        "other model": lambda: erase(tiny, tiny.model if rank else other),
        "other ids": lambda: erase(replace(tiny, forget=tiny.forget[rank:]), tiny.model),
        "other records": lambda: erase(shuffled, tiny.model),
    }
    found = {}
    for name, call in asked.items():
        try:
            call()
            found[name] = "not refused"
        except EffaceError as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    tiny, rank = double(), dist.get_rank()
    found = {name: vars(case(tiny)) for name, case in CASES.items()}
    torch.save({"cases": found, "refused": refusals(tiny, rank)}, folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
