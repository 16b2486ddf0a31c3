"""What tests/test_parallel.py runs twice: in its own process, and in each of two that `accelerate launch` started.

    accelerate launch --multi_gpu --num_processes 2 tests/parallel_run.py FOLDER

runs every case in FOLDER, which has the files of a command line's workshop, and writes there what this process found.
"""

import contextlib
import io
import json
import os
import runpy
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from efface import EffaceError, Recipe, Result, Task, methods, parallel
from efface.models.checkpoint import load_weights, weights_digest
from efface.store import Plan, Store
from helpers.command_line import SMALL as SHORT
from helpers.command_line import UNLEARN, listing
from helpers.method_table import SMALL
from helpers.networks import Named, cnn, dropout, transformer
from helpers.tiny import RECORDS, Tiny, bits, make_tiny, memorise, mlp

RECIPE = Recipe(epochs=1, lr=1e-2, batch=64, least_steps=12)
Case = Callable[[Tiny], Result]


class Counting(nn.Module):
    """Counts the rows that reach it, those of passes with gradients and the others."""

    rows: ClassVar = {True: 0, False: 0}

    def forward(self, x: Tensor) -> Tensor:
        Counting.rows[torch.is_grad_enabled()] += len(x)
        return x


class Apart(nn.Module):
    """Takes the mean over the batch off, in train and in eval mode: no row can be had without the others."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


class Noisy(nn.Module):
    """Draws at random in eval mode too."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.01 * torch.randn_like(x)


def counted(network: nn.Module, *more: nn.Module) -> nn.Sequential:
    return nn.Sequential(Counting(), *more, network)


def erase(tiny: Tiny, model: nn.Module, method: str = "steer", task: Task | None = None, **changes: Any) -> Result:
    """One short run, with every look that the method allows; counts its rows anew."""
    options = {**SMALL[method], **changes.pop("options", {})}
    given = {"forget": tiny.forget, "reference": RECIPE, **changes}
    Counting.rows = {True: 0, False: 0}
    return parallel.unlearn(model, task=task or tiny.task(), method=methods.get(method, options), **given)


def taught(tiny: Tiny, build: Callable[[], nn.Module]) -> nn.Module:
    """A network that knows the records by heart; the same in every process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return memorise(counted(build()), tiny.x, tiny.y, steps=60)


def named(tiny: Tiny) -> Result:
    """Records that are dicts of a tensor and a list of tensors, and a network that gives a dict."""

    def unpack(batch: Any) -> tuple[Any, Tensor]:
        x, y = batch
        return {"left": x[:, :6], "rest": [x[:, 6:11], x[:, 11:]]}, y

    model = Named()
    model.net.load_state_dict(tiny.model.state_dict())
    model.net = counted(model.net)
    task = tiny.task(unpack=unpack, forward=lambda network, inputs: network(inputs)["logits"])
    return erase(tiny, model, task=task)


def built(tiny: Tiny) -> Result:
    """A network from Task.build_model."""
    return erase(tiny, counted(tiny.fresh()), task=tiny.task(build_model=lambda: counted(mlp())))


def listened(tiny: Tiny) -> Result:
    """A network of which a caller's hook reads a layer: it must see whole batches."""
    model = counted(tiny.fresh())
    model[1][0].register_forward_hook(lambda layer, args, output: None)
    return erase(tiny, model, "finetune")


def in_double(tiny: Tiny) -> Tiny:
    return replace(tiny, model=tiny.fresh().double(), x=tiny.x.double(), holdout_x=tiny.holdout_x.double())


def attending(tiny: Tiny) -> Result:
    """Attention. The true gradient of its keys' bias is 0, and in float32 Adam would step along what rounding left."""
    tiny = in_double(tiny)
    return erase(tiny, taught(tiny, lambda: transformer().double()), evaluate=False)


def curved(tiny: Tiny) -> Result:
    """Second derivatives, with so many iterations that float32 would be all rounding."""
    tiny = in_double(tiny)
    return erase(tiny, counted(tiny.model), "influence", options={"iterations": "20"})


CASES: dict[str, Case] = {
    **{key: (lambda tiny, key=key: erase(tiny, counted(tiny.fresh()), key)) for key in SMALL},
    "to the end": lambda tiny: erase(tiny, counted(tiny.fresh()), options={"rounds": "4", "steps": "10"}),
    "expand": lambda tiny: erase(tiny, tiny.fresh(), "boundary", options={"expand": "true"}),
    "uneven": lambda tiny: erase(
        tiny, counted(tiny.fresh()), options={"batch_forget": "4", "batch_retain": "7"}, evaluate=False
    ),
    "one row": lambda tiny: erase(tiny, counted(tiny.fresh()), "gradient_ascent", forget=[5], evaluate=False),
    "dropout": lambda tiny: erase(tiny, taught(tiny, dropout), "finetune"),
    "batch norm": lambda tiny: erase(tiny, taught(tiny, cnn), "neggrad_plus"),
    "batch norm in eval mode": lambda tiny: erase(tiny, taught(tiny, cnn), "align", evaluate=False),
    "transformer": attending,
    "apart": lambda tiny: erase(tiny, counted(tiny.fresh(), Apart()), "finetune", checks=False),
    "noisy": lambda tiny: erase(tiny, counted(tiny.fresh(), Noisy()), "finetune", checks=False),
    "dicts": named,
    "built": built,
    "listened": listened,
    "curved": curved,
}


def run(case: str, tiny: Tiny) -> tuple[dict[str, Any], Tensor, Tensor]:
    """What a case did: facts, and the weights before and after."""
    result = CASES[case](tiny)
    facts = {
        "digest": weights_digest(result.model),
        "outcome": str(result.evidence.outcome),
        "trained": Counting.rows[True],
        "read": Counting.rows[False],
        "backward": result.cost.total.backward,
        "forward": result.cost.total.forward,
        "hooks": hooks(result.model) + hooks(result.original),
    }
    return facts, flat(result.original), flat(result.model)


def flat(model: nn.Module) -> Tensor:
    return torch.cat([t.detach().double().reshape(-1) for t in (*model.parameters(), *model.buffers())])


def hooks(model: nn.Module) -> int:
    """How many hooks there are on a model, its layers and its weights."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    held = sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)
    return held + sum(len(p._backward_hooks or ()) for p in model.parameters())


def refusal(call: Callable[[], object]) -> str:
    """The kind and words of what a call raises."""
    try:
        call()
    except EffaceError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def unchanged(tiny: Tiny) -> bool:
    """Whether a caller's model, and what Task.build_model gave, are as they were, after success and after a refusal."""
    model, given = tiny.fresh(), mlp()
    before = bits(model), hooks(model), hooks(given), parallel.launched()
    result = erase(tiny, model, task=tiny.task(build_model=lambda: given))
    refused = refusal(lambda: erase(tiny, model, forget=[RECORDS + 1]))
    same = before == (bits(model), hooks(model), hooks(given), parallel.launched())
    return same and result.original is model and refused.startswith("RequestError")


def other_records(tiny: Tiny, rank: int) -> Result:
    """Records that are another's in each process."""
    return erase(tiny, tiny.fresh(), task=tiny.task(train=TensorDataset(tiny.x + rank, tiny.y)))


def other_model(tiny: Tiny, rank: int) -> Result:
    model = tiny.fresh()
    with torch.no_grad():
        model[0].bias += rank
    return erase(tiny, model)


def fail(error: BaseException) -> None:
    raise error


def words(rank: int) -> dict[str, Any]:
    """What goes between processes."""
    done: list[int] = []
    parallel.barrier()
    return {
        "main": parallel.is_main(),
        "shared": parallel.share({"from": rank}),
        "collected": parallel.collect(rank),
        "on main": parallel.on_main(lambda: done.append(rank) or "done"),
        "ran": done,
        "refused": refusal(lambda: parallel.on_main(fail, EffaceError("no"))),
    }


@contextlib.contextmanager
def command(*arguments: str) -> Iterator[dict[str, Any]]:
    """`python -m efface` in this process: what it printed, its exit code, and how often it wrote files."""
    import efface.cli.main as main

    out, err, told = io.StringIO(), io.StringIO(), dict[str, Any]()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        patch.object(sys, "argv", ["efface", *arguments]),
        patch.object(main, "save", wraps=main.save) as save,
    ):
        try:
            runpy.run_module("efface", run_name="__main__")
        except SystemExit as leaving:
            told["code"] = leaving.code
    yield {**told, "out": out.getvalue(), "err": err.getvalue(), "saves": save.call_count}


def kept(tiny: Tiny, folder: Path) -> tuple[list[str], Tensor]:
    """Two requests in a row on a store: how each run ended in this process, and the weights that are served then."""
    task = tiny.task(build_model=mlp)
    if parallel.is_main():
        Store.create(folder, task, tiny.model, device="cpu")
    parallel.barrier()
    store, ended = Store(folder, task, device="cpu"), []
    plan = Plan(options={"rounds": 2, "steps": 10}, references=1, accept="any")
    for ids in (tiny.forget[:6], tiny.forget[6:]):
        parallel.on_main(store.add, ids)
        outcome = store.run(plan, progress=False)
        ended.append(f"version {outcome.version and outcome.version.number}, {outcome.status}")
    ended.append(store.run(plan).status)
    lock = FileLock(folder / "run.lock")
    parallel.on_main(lock.acquire)
    ended.append(refusal(lambda: store.run(plan)).partition(":")[0])
    parallel.on_main(lock.release)
    served = mlp()
    load_weights(served, store.current)
    return ended, flat(served)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    tiny, rank = make_tiny(), int(os.environ["RANK"])
    os.chdir(folder)
    found: dict[str, Any] = {"world": parallel.launched(), "cases": {}}
    held: dict[str, Tensor] = {}
    for case in CASES:
        found["cases"][case], _, held[case] = run(case, tiny)
    found["unchanged"] = unchanged(tiny)
    found["words"] = words(rank)
    found["other ids"] = refusal(lambda: erase(tiny, tiny.fresh(), forget=[5, 7 + rank]))
    found["other model"] = refusal(lambda: other_model(tiny, rank))
    found["wrapped"] = refusal(lambda: erase(tiny, nn.DataParallel(tiny.fresh())))
    found["other records"] = refusal(lambda: other_records(tiny, rank))
    with command(*UNLEARN, *SHORT, "--json") as told:
        found["command"] = told
    found["store"], held["store"] = kept(tiny, folder / "store")
    parallel.barrier()
    found["files"] = listing(Path("run"))
    with command(*UNLEARN, *SHORT) as told:  # into the folder that is now full
        found["refused command"] = told
    Path(f"rank{rank}.json").write_text(json.dumps(found))
    torch.save(held, f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
