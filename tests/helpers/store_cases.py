"""Stores to put faults into: made once and copied, and what must hold of them after a fault and after the run."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from safetensors.torch import load_file
from sqlalchemy import select
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import efface
from efface import Task
from efface.models.checkpoint import load_weights, weights_digest
from efface.store import RunPlan, Stage, Store, StoreSettings
from efface.store.context import StoreContext
from efface.store.database import events
from efface.store.files import Folder
from helpers.tiny import Tiny, memorise, mlp

IDS = tuple(f"person-{at:04d}@example.org" for at in range(300))
FIRST, SECOND, THIRD = range(5, 65, 5), range(2, 40, 6), (20, 26, 150, 151)  # later ones name records of earlier ones
BATCHES = (FIRST, SECOND, range(100, 108))  # of which the second names one record of the first
QUICK = RunPlan(options={"steps": 10, "travel": 3.0}, level=None)
AUDITED = RunPlan(options={"steps": 10, "travel": 3.0}, references=1, accept="any")
# where it matters that there is an audit, and not what it finds
QUICKLY_AUDITED = RunPlan(options=AUDITED.options, level="quick", accept="any")
ANEW = RunPlan(retrain=True)
LONG = os.environ.get("EFFACE_LONG") == "1"
long_only = pytest.mark.skipif(not LONG, reason="takes minutes: set EFFACE_LONG=1")
# what the next run puts right by itself
HARMLESS = ("nothing in the history names it", "efface run puts that right")


def fit(model: nn.Module, dataset: Dataset[object], seed: int) -> None:
    """A short training recipe; its only randomness is the start."""
    inputs, targets = next(iter(DataLoader(dataset, batch_size=len(IDS))))
    memorise(model, inputs, targets, steps=20)


def task_of(tiny: Tiny) -> Task:
    """The tiny problem with ids that are people's addresses."""
    return tiny.task(build_model=mlp, ids=IDS, fit=fit)


def people(positions: Iterable[int]) -> list[str]:
    """The ids of the records at some positions."""
    return [IDS[at] for at in positions]


def make_young(folder: Path, tiny: Tiny, grace_days: float = 0) -> Store:
    """A store of one version, with two requests that wait."""
    store = Store.create(folder, task_of(tiny), tiny.model, settings=StoreSettings(grace_days=grace_days))
    store.add(people(FIRST), note="by letter")
    store.add(people(SECOND), due="2999-01-01")
    return store


def make_grown(folder: Path, tiny: Tiny, grace_days: float = 0, first: RunPlan = QUICK) -> Store:
    """A store whose second version honours a request, and two more requests that wait."""
    store = Store.create(folder, task_of(tiny), tiny.model, settings=StoreSettings(grace_days=grace_days))
    store.add(people(FIRST), note="by letter")
    store.run(first)
    store.add(people(SECOND), due="2999-01-01")
    store.add(people(THIRD))
    return store


def copied(made: Path, folder: Path) -> Path:
    """A copy of a store and its key in a folder that is made for it."""
    folder.mkdir()
    shutil.copytree(made, folder / made.name, symlinks=True)
    shutil.copy(made.with_name(f"{made.name}.key"), folder)
    return folder / made.name


def served(path: Path) -> str:
    """Digest of the weights that `current.safetensors` leads to."""
    model = mlp()
    load_weights(model, path / "current.safetensors")
    return weights_digest(model)


def all_bytes(path: Path) -> dict[str, bytes]:
    """Every file below a folder and what it holds; a link and where it leads."""
    held = {}
    for file in sorted(path.rglob("*")):
        if file.is_symlink():
            held[str(file.relative_to(path))] = os.readlink(file).encode()
        elif file.is_file():
            held[str(file.relative_to(path))] = file.read_bytes()
    return held


def context_of(store: Store) -> StoreContext:
    """The same store, opened anew so that its rows and files can be read and written."""
    return StoreContext(Folder(store.path), store.key_path)


def kinds(store: Store) -> list[str]:
    """What the events of a store are, in order."""
    with context_of(store).reading() as snapshot:
        return list(snapshot.connection.execute(select(events.c.kind).order_by(events.c.seq)).scalars())


def asked_for(store: Store) -> list[list[object]]:
    """What identifies each request, whatever became of it."""
    return [[r.number, r.records, r.digest, r.due, r.note, r.added] for r in store.requests()]


def broken_files(path: Path) -> list[str]:
    """Files of weights, and a link, that are not whole; one line each."""
    wrong = []
    for kind in ("checkpoints", "baselines"):
        for file in (path / kind).glob("[!.]*"):
            if hashlib.sha256(file.read_bytes()).hexdigest() != file.stem:
                wrong.append(f"{kind}/{file.name} is not whole")
    target = (path / "current.safetensors").resolve()
    if target.parent != path.resolve() / "checkpoints" or not target.is_file():
        return [*wrong, f"current.safetensors leads to {target}"]
    load_file(target)
    return wrong


def wrong_before(path: Path, task: Task, asked: list[list[object]]) -> list[str]:
    """What is wrong with a store right after a run was interrupted, one line each."""
    wrong = broken_files(path)
    store = Store(path, task)
    if asked_for(store) != asked:
        wrong.append(f"requests are {asked_for(store)}, not {asked}")
    problems = [p for p in store.verify(level=None).problems if not any(text in p for text in HARMLESS)]
    target = (path / "current.safetensors").resolve().stem
    if target not in (kept := [v.file for v in store.status().versions if not v.removed]):
        wrong.append(f"current.safetensors leads to {target}, versions are {kept}")
    run = store.status().unfinished
    honoured = [r.number for r in store.requests() if r.stage is Stage.HONOURED]
    if run is not None and set(run.requests) & set(honoured):
        wrong.append(f"run {run.number} is unfinished, but requests {honoured} are honoured")
    return [*wrong, *problems]


def wrong_after(path: Path, task: Task, asked: list[list[object]], weights: str) -> list[str]:
    """What is wrong with a store after a run that honoured all requests, one line each."""
    wrong = broken_files(path)
    store = Store(path, task)
    if asked_for(store) != asked:
        wrong.append(f"requests are {asked_for(store)}, not {asked}")
    if pending := [r.number for r in store.requests() if r.stage is not Stage.HONOURED]:
        wrong.append(f"requests {pending} are not honoured")
    found = kinds(store)
    if found.count("requested") != len(asked) or found.count("version") != len(store.history().versions):
        wrong.append(f"events are doubled: {found}")
    if (serving := store.status().serving).weights != weights or served(path) != weights:
        wrong.append(f"version {serving.number} has other weights than without the fault")
    verified = store.verify(level=None)
    wrong += [*verified.problems, *(line for line in verified.warnings if "nothing in the history names it" in line)]
    leftovers = [str(p) for p in path.rglob(".*")]
    return [*wrong, *(f"{p} was left" for p in leftovers), *plaintext(path, {*FIRST, *SECOND, *THIRD})]


def plaintext(path: Path, positions: Iterable[int]) -> list[str]:
    """Files of a store in which ids still stand, one line each."""
    names = [name.encode() for name in people(positions)]
    return [f"{file} holds {name.decode()}" for file, held in all_bytes(path).items() for name in names if name in held]


def subset(tiny: Tiny, positions: Sequence[int]) -> TensorDataset:
    """The training records at some positions."""
    return TensorDataset(tiny.x[positions], tiny.y[positions])


def child_environment() -> dict[str, str]:
    """What a script of the helpers needs to run with this very package on one thread."""
    paths = Path(__file__).parents[1], Path(efface.__file__).parents[1]
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, paths))}
