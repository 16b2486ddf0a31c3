"""Ensembles: the same models however they are trained, each one kept once it is done, and never a stale one."""

import dataclasses
import json
import os
import pickle
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
from joblib.externals.loky import BrokenProcessPool
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from efface import DivergedError, Recipe, RequestError, Task, ensembles
from efface.ensembles import Plan, Trained, cache, train_ensemble, workers
from efface.models.checkpoint import save_weights
from efface.models.training import retrain
from efface.runtime.cost import Meter
from helpers.tiny import CLASSES, FEATURES, RECORDS, Tiny, mlp, records, weights

SHORT = Recipe(epochs=1, lr=1e-2, batch=32, least_steps=12)
MOST = np.arange(5, RECORDS - 30)
SCALE = 1.0


def plans(n: int = 3, positions: Any = MOST) -> list[Plan]:
    return [Plan(None, positions, seed) for seed in range(n)]


def trained(task: Task, original: nn.Module, wanted: list[Plan] | None = None, **changes: Any) -> Trained:
    given = {"recipe": SHORT, "use_fit": True, "meter": Meter(), "jobs": 1, **changes}
    return train_ensemble(task, original, plans() if wanted is None else wanted, **given)


def all_weights(found: Trained) -> list[dict[str, bytes]]:
    return [weights(model) for model in found.models]


def bias_fit(model: nn.Module, dataset: Any, seed: int) -> None:
    """The quickest training: biases at random."""
    with torch.no_grad():
        model[2].bias.copy_(SCALE * torch.rand(CLASSES))


def spied(calls: list[int], fail: int | None = None) -> Callable[..., None]:
    def fit(model: nn.Module, dataset: Any, seed: int) -> None:
        calls.append(seed)
        if seed == fail:
            raise ValueError("out of\npatience")
        bias_fit(model, dataset, seed)

    return fit


def drawing() -> nn.Module:
    """A network that draws at random and keeps statistics."""
    return nn.Sequential(nn.BatchNorm1d(FEATURES), nn.Dropout(0.2), mlp())


def test_models_are_the_same_whatever_trains_or_keeps_them(tiny: Tiny, tmp_path: Path) -> None:
    task, original = tiny.task(), drawing()
    other = TensorDataset(*records(120, seed=7))
    wanted = [*plans(), Plan(other, np.arange(100), 0), Plan(None, MOST[::-1].copy(), 0)]
    torch.manual_seed(5)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    meter = Meter()
    with meter.phase("ensemble"):
        here = trained(task, original, wanted, meter=meter)
    far = Meter()
    with far.phase("ensemble"):
        elsewhere = trained(task, original, wanted, jobs=2, cache=tmp_path / "a", meter=far)
    kept = trained(task, original, wanted, cache=tmp_path / "b")
    for found in (elsewhere, kept, *(trained(task, original, wanted, cache=tmp_path / c) for c in "ab")):
        assert all_weights(found) == all_weights(here) and found.keys == here.keys
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1] and np.random.get_state()[1].tolist() == states[2]

    plain = [
        retrain(tiny.task(train=p.dataset or task.train), original, p.positions, p.seed, Meter(), SHORT) for p in wanted
    ]
    assert [weights(m) for m in plain] == all_weights(here)
    assert len(set(here.keys)) == len(wanted)

    # what the workers spent, which this process's clock does not show, is charged once
    spent, own = far.cost().phases["ensemble"], meter.cost().phases["ensemble"]
    assert (spent.forward, spent.backward) == (own.forward, own.backward) and own.forward > 0
    assert elsewhere.cost is not None and here.cost is not None
    assert spent.cpu_s >= 5 * elsewhere.cost.cpu_s > 0
    assert own.cpu_s < 20 * here.cost.cpu_s


def test_what_is_found_is_not_trained_again(tiny: Tiny, tmp_path: Path) -> None:
    calls: list[int] = []
    task = tiny.task(fit=spied(calls))
    first = trained(task, tiny.model, cache=tmp_path)
    assert (first.found, calls) == (0, [0, 1, 2]) and first.cost is not None
    meter = Meter()
    again = trained(task, tiny.model, plans(4), cache=tmp_path, meter=meter)
    assert (again.found, calls) == (3, [0, 1, 2, 3])
    assert all_weights(again)[:3] == all_weights(first)
    assert trained(task, tiny.model, cache=tmp_path).cost is None
    note = json.loads((tmp_path / f"{first.keys[1]}.json").read_text())
    assert (note["records"], note["seed"]) == (len(MOST), 1)
    assert note["trained_by"].endswith("fit") and note["cpu_s"] >= 0 and "torch" in note["versions"]
    assert {p.suffix for p in tmp_path.iterdir()} == {".json", ".safetensors"}


def test_what_was_done_before_a_failure_is_kept(tiny: Tiny, tmp_path: Path) -> None:
    calls: list[int] = []
    failing = tiny.task(fit=spied(calls, fail=2))
    with pytest.raises(RequestError) as caught:
        trained(failing, tiny.model, plans(4), cache=tmp_path)
    assert caught.value.problems == ("model 3 of 4 (seed 2): Task.fit raised ValueError: out of",)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    assert trained(failing, tiny.model, plans(2), cache=tmp_path).found == 2 and calls == [0, 1, 2]


class Inline:
    """Stands in for the pool of processes, which takes seconds to start: trains in this one, when asked."""

    def __init__(self, jobs: int, initializer: Callable[[bytes], None], initargs: tuple[bytes], env: Any) -> None:
        initializer(*initargs)

    def submit(self, function: Callable[[int], bytes], number: int) -> Future:
        future: Future = Future()
        future.set_result(function(number))
        return future

    def shutdown(self, wait: bool, kill_workers: bool) -> None:
        workers._work = workers._payload = None


@pytest.mark.parametrize("error", [ValueError("out of\npatience"), RequestError(["one", "two"]), DivergedError("far")])
def test_a_failure_in_a_worker_is_told_as_here(
    error: Exception, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(model: nn.Module, dataset: Any, seed: int) -> None:
        if seed == 1:
            raise error

    monkeypatch.setattr(workers, "ProcessPoolExecutor", Inline)
    told = []
    for jobs in (1, 2):
        with pytest.raises((RequestError, DivergedError)) as caught:
            trained(tiny.task(fit=fit), tiny.model, cache=tmp_path / str(jobs), jobs=jobs)
        told.append((caught.type, str(caught.value)))
    assert told[0] == told[1] and "model 2 of 3 (seed 1): " in told[0][1]
    # what the others had done by then is kept
    assert len(list((tmp_path / "2").glob("*.safetensors"))) == 2


def test_divergence_and_errors_of_hooks_name_the_model(tiny: Tiny) -> None:
    with pytest.raises(DivergedError, match=r"^model 1 of 3 \(seed 0\): training by the default recipe diverged"):
        trained(tiny.task(train=TensorDataset(tiny.x * float("inf"), tiny.y)), tiny.model)

    def forward(model: nn.Module, inputs: Tensor) -> Tensor:
        raise KeyError("mask")

    with pytest.raises(RequestError, match=r"model 1 of 3 \(seed 0\): training raised KeyError"):
        trained(tiny.task(forward=forward), tiny.model, jobs=None)


def test_what_makes_no_sense_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="jobs: expected a number of processes, got 0"):
        trained(tiny.task(), tiny.model, jobs=0)
    with pytest.raises(RequestError, match=r"model 1 of 1 \(seed 0\): there are no records"):
        trained(tiny.task(), tiny.model, plans(1, np.arange(0)))
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match="is not a folder that can be written to"):
        trained(tiny.task(), tiny.model, cache=tmp_path / "file")
    with pytest.raises(RequestError, match=r"cannot be made in .*file"):
        trained(tiny.task(), tiny.model, cache=tmp_path / "file" / "below")
    assert trained(tiny.task(), tiny.model, []).models == []


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def replace_by_another(file: Path) -> None:
    save_weights(nn.Linear(2, 2), file)


def flip_a_bit(file: Path) -> None:
    held = bytearray(file.read_bytes())
    held[-1] ^= 1
    file.write_bytes(held)


@pytest.mark.parametrize("damage", [truncate, replace_by_another, flip_a_bit])
def test_damaged_files_are_made_anew(damage: Callable[[Path], None], tiny: Tiny, tmp_path: Path) -> None:
    calls: list[int] = []
    task = tiny.task(fit=spied(calls))
    first = trained(task, tiny.model, cache=tmp_path)
    file = tmp_path / f"{first.keys[1]}.safetensors"
    whole = file.read_bytes()
    damage(file)
    again = trained(task, tiny.model, cache=tmp_path)
    assert (again.found, calls) == (2, [0, 1, 2, 1])
    assert all_weights(again) == all_weights(first) and file.read_bytes() == whole


def test_weights_without_a_note_of_their_own_are_not_trusted(tiny: Tiny, tmp_path: Path) -> None:
    """What another could plant: weights alone, or in place of those that a note is of."""
    calls: list[int] = []
    task = tiny.task(fit=spied(calls))
    first = trained(task, tiny.model, cache=tmp_path)
    for key, noted in zip(first.keys[:2], (False, True), strict=True):
        save_weights(mlp(), tmp_path / f"{key}.safetensors")
        if not noted:
            (tmp_path / f"{key}.json").unlink()
    again = trained(task, tiny.model, cache=tmp_path)
    assert (again.found, calls) == (1, [0, 1, 2, 0, 1]) and all_weights(again) == all_weights(first)
    assert trained(task, tiny.model, cache=tmp_path).found == 3


@pytest.mark.parametrize("note", [b"", b"[", b"[]", b"{}", b"3", b"\xff", b'{"digest": null}', b"[" * 100_000])
def test_weights_whose_note_is_not_whole_are_made_anew(note: bytes, tiny: Tiny, tmp_path: Path) -> None:
    first = trained(tiny.task(fit=bias_fit), tiny.model, cache=tmp_path)
    (tmp_path / f"{first.keys[1]}.json").write_bytes(note)
    again = trained(tiny.task(fit=bias_fit), tiny.model, cache=tmp_path)
    assert again.found == 2 and all_weights(again) == all_weights(first)
    assert trained(tiny.task(fit=bias_fit), tiny.model, cache=tmp_path).found == 3


def test_an_end_between_weights_and_note_costs_one_training(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end() -> None:
        raise KeyboardInterrupt

    calls: list[int] = []
    task = tiny.task(fit=spied(calls))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(cache, "versions", end)
        trained(task, tiny.model, cache=tmp_path)
    assert [p.suffix for p in tmp_path.iterdir()] == [".safetensors"] and calls == [0]
    assert trained(task, tiny.model, cache=tmp_path).found == 0 and calls == [0, 0, 1, 2]
    assert trained(task, tiny.model, cache=tmp_path).found == 3


def test_the_folder_is_closed_to_others_where_it_is_made(tiny: Tiny, tmp_path: Path) -> None:
    made, found = tmp_path / "new" / "cache", tmp_path / "old"
    before = os.umask(0)
    try:
        found.mkdir(0o755)
        for folder in (made, found):
            trained(tiny.task(fit=bias_fit), tiny.model, plans(1), cache=folder)
    finally:
        os.umask(before)
    assert [folder.stat().st_mode & 0o777 for folder in (made, found)] == [0o700, 0o755]


@pytest.mark.parametrize(("name", "reason"), [("x" * 300, "File name too long"), ("a\0b", "embedded null byte")])
def test_a_folder_that_cannot_be_made_is_refused(name: str, reason: str, tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(RequestError) as caught:
        trained(tiny.task(fit=bias_fit), tiny.model, cache=tmp_path / name)
    assert caught.value.problems == (f"cache {tmp_path / name}: cannot be made: {reason}",)


def scaled(by: float) -> Callable[..., None]:
    def fit(model: nn.Module, dataset: Any, seed: int) -> None:
        with torch.no_grad():
            model[2].bias.fill_(by)

    return fit


def with_default(model: nn.Module, dataset: Any, seed: int, by: float = 1.0) -> None:
    scaled(by)(model, dataset, seed)


class Fitter:
    def __init__(self, by: float) -> None:
        self.by = by

    def __call__(self, model: nn.Module, dataset: Any, seed: int) -> None:
        scaled(self.by)(model, dataset, seed)


@dataclasses.dataclass
class Config:
    by: float


def fit_of(config: Config, model: nn.Module, dataset: Any, seed: int) -> None:
    scaled(config.by)(model, dataset, seed)


def key(task: Task, original: nn.Module, plan: Plan | None = None, **changes: Any) -> str:
    return trained(task, original, [plan or Plan(None, MOST, 0)], **changes).keys[0]


def test_keys_tell_data_recipe_seed_and_network_apart(tiny: Tiny) -> None:
    def forward(model: nn.Module, inputs: Tensor) -> Tensor:
        return model(2 * inputs)  # type: ignore[no-any-return]

    moved = tiny.x.clone()
    moved[MOST[0], 0] += 1
    tanh = nn.Sequential(nn.Linear(FEATURES, 48), nn.Tanh(), nn.Linear(48, CLASSES))
    same, model = tiny.task(), tiny.model
    keys = [
        key(same, model),
        key(tiny.task(train=TensorDataset(moved, tiny.y)), model),
        key(tiny.task(train=TensorDataset(tiny.x, tiny.y.flip(0))), model),
        key(same, model, Plan(None, MOST[1:], 0)),
        key(same, model, Plan(None, MOST[::-1].copy(), 0)),
        key(same, model, Plan(None, MOST, 1)),
        key(same, model, recipe=dataclasses.replace(SHORT, lr=2e-2)),
        key(tiny.task(forward=forward), model),
        key(same, tanh),
        key(same, mlp(40)),
        key(same, nn.Sequential(mlp(), nn.Dropout(0.1))),
        key(same, nn.Sequential(mlp(), nn.Dropout(0.2))),
        key(same, model, together=True),
        key(tiny.task(fit=bias_fit), model),
    ]
    assert len(set(keys)) == len(keys)
    # what no training sees is in no key: other records, the original's weights, a fit that is not used
    moved = tiny.x.clone()
    moved[0, 0] += 1
    assert key(tiny.task(train=TensorDataset(moved, tiny.y)), mlp()) == keys[0]
    assert key(tiny.task(fit=bias_fit), model, use_fit=False) == keys[0]
    assert key(tiny.task(fit=bias_fit), model, together=True, recipe=Recipe()) == keys[-1]


def test_keys_tell_fits_apart(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    def of(fit: Callable[..., Any]) -> str:
        return key(tiny.task(fit=fit), tiny.model)

    twice: Iterator[Any] = iter(
        (bias_fit, scaled(1.0), scaled(2.0), with_default, Fitter(1.0), Fitter(2.0), partial(with_default, by=2.0))
    )
    keys = [of(fit) for fit in twice]
    keys += [of(partial(fit_of, Config(by))) for by in (1.0, 2.0)]
    keys += [of(Fitter(by).__call__) for by in (1.0, 2.0)]
    assert of(scaled(1.0)) == keys[1] and of(Fitter(2.0)) == keys[5]
    monkeypatch.setattr(with_default, "__defaults__", (3.0,))
    keys.append(of(with_default))
    monkeypatch.setitem(globals(), "SCALE", 0.5)  # which bias_fit names
    keys.append(of(bias_fit))
    # the same name and file, other code: as where the file was edited but not imported again
    monkeypatch.setattr(bias_fit, "__code__", bias_fit.__code__.replace(co_consts=("", 1, None)))
    keys.append(of(lambda *given: None))
    assert len(set(keys)) == len(keys)


def test_each_dataset_is_hashed_once(tiny: Tiny) -> None:
    class Counted(TensorDataset):
        reads = 0

        def __getitem__(self, at: Any) -> Any:
            Counted.reads += 1
            return super().__getitem__(at)

    trained(tiny.task(train=Counted(tiny.x, tiny.y), fit=bias_fit), tiny.model, plans(8))
    assert Counted.reads == len(MOST)


def test_a_network_of_another_kind_is_given_back_but_not_kept(tiny: Tiny, tmp_path: Path) -> None:
    def fit(model: nn.Module, dataset: Any, seed: int) -> nn.Module:
        return nn.Sequential(model, nn.Softplus())

    found = trained(tiny.task(fit=fit), tiny.model, cache=tmp_path)
    assert all(isinstance(m[1], nn.Softplus) for m in found.models)
    assert not list(tmp_path.iterdir())


def test_a_task_that_cannot_be_sent_is_trained_here(tiny: Tiny) -> None:
    lock, where = threading.Lock(), []

    def fit(model: nn.Module, dataset: Any, seed: int) -> None:
        with lock:
            where.append(os.getpid())
        bias_fit(model, dataset, seed)

    found = trained(tiny.task(fit=fit), tiny.model, jobs=2)
    assert where == [os.getpid()] * 3
    assert all_weights(found) == all_weights(trained(tiny.task(fit=bias_fit), tiny.model))


def test_a_pool_that_breaks_leaves_the_rest_to_this_process(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __init__(self, *given: Any, **more: Any) -> None:
            pass

        def submit(self, *given: Any) -> None:
            raise BrokenProcessPool("killed")

        def shutdown(self, wait: bool, kill_workers: bool) -> None:
            assert kill_workers

    monkeypatch.setattr(workers, "ProcessPoolExecutor", Broken)
    calls: list[int] = []
    trained(tiny.task(fit=spied(calls)), tiny.model, jobs=2)
    assert calls == [0, 1, 2]


def test_what_a_worker_answers(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(task: Task, original: nn.Module, payload: bytes | None = None) -> Any:
        monkeypatch.setattr(workers, "_work", None)
        work = ensembles.content_keys(
            ensembles._work(task, original, plans(1), SHORT, True),
            [ensembles.fresh_model(task, original, 0)],
            False,
        )
        workers._hold(payload or cloudpickle.dumps((workers._Settings.now(), workers._needed(work))))
        return pickle.loads(workers._train(0))

    made = answer(tiny.task(), tiny.model)
    assert made.elsewhere and made.cost.forward and made.state["0.weight"].shape == (48, FEATURES)
    assert answer(tiny.task(), tiny.model, b"cannot be read") is None
    assert pickle.loads(workers._train(0)) is None  # nor later
    far = answer(tiny.task(train=TensorDataset(tiny.x * float("inf"), tiny.y)), tiny.model)
    assert far.diverged and "model 1 of 1" in far.problems[0]
    built = iter(range(40, 50))
    strange = tiny.task(build_model=lambda: mlp(next(built)))
    monkeypatch.setattr(workers, "_needed", lambda work: work)
    assert answer(strange, tiny.model, None) is None
    monkeypatch.setattr(workers, "_work", None)


@pytest.mark.parametrize("fit", [None, bias_fit])
def test_workers_are_started_only_where_they_save_time(
    fit: Callable | None, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[int], int]] = []
    monkeypatch.setattr(ensembles.joblib, "cpu_count", lambda: 8)
    monkeypatch.setattr(ensembles, "train_in_workers", lambda work, todo, jobs: asked.append((todo, jobs)) or iter(()))
    trained(tiny.task(fit=fit), tiny.model, jobs=None)
    assert not asked
    monkeypatch.setattr(ensembles, "WORTH_WORKERS_S", 0.0)
    trained(tiny.task(fit=fit), tiny.model, jobs=None)
    assert asked == [([0, 1, 2], 3) if fit is None else ([1, 2], 2)]
    trained(tiny.task(fit=fit), tiny.model, plans(1), jobs=None)
    assert len(asked) == 1


def conv() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 4, 4)),
        nn.Conv2d(1, 6, 3, padding=1),
        nn.GroupNorm(2, 6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(24, CLASSES),
    )


@pytest.mark.parametrize("make", [mlp, conv])
def test_together_gives_the_models_of_one_by_one(make: Callable[[], nn.Module], tiny: Tiny, tmp_path: Path) -> None:
    other = TensorDataset(*records(RECORDS, seed=7))
    wanted = [*plans(), Plan(other, MOST[::-1].copy(), 0)]
    recipe = Recipe(epochs=3, lr=5e-3, batch=33, least_steps=1)  # leaves a last batch of one record
    meter = Meter()
    one, many = (
        trained(tiny.task(), make(), wanted, recipe=recipe, meter=m, together=t)
        for m, t in ((Meter(), False), (meter, True))
    )
    for ours, theirs in zip(many.models, one.models, strict=True):
        torch.testing.assert_close(dict(ours.named_parameters()), dict(theirs.named_parameters()), rtol=1e-3, atol=1e-5)
    assert many.cost is not None and one.cost is not None
    assert (many.cost.forward, many.cost.backward) == (one.cost.forward, one.cost.backward)
    assert meter.cost().total.forward == 4 * one.cost.forward
    trained(tiny.task(), make(), wanted, recipe=recipe, together=True, cache=tmp_path)
    again = trained(tiny.task(), make(), wanted, recipe=recipe, together=True, cache=tmp_path)
    assert again.found == 4 and all_weights(again) == all_weights(many)


class Branching(nn.Module):
    """What vmap cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.inner(inputs if inputs.sum() > 0 else -inputs)  # type: ignore[no-any-return]


@pytest.mark.parametrize("make", [drawing, Branching])
def test_what_cannot_be_stacked_is_trained_one_by_one(make: Callable[[], nn.Module], tiny: Tiny) -> None:
    one, many = (trained(tiny.task(), make(), together=t) for t in (False, True))
    assert all_weights(one) == all_weights(many)


def test_members_of_unequal_sizes_are_trained_one_by_one(tiny: Tiny) -> None:
    wanted = [Plan(None, MOST, 0), Plan(None, MOST[:40], 1)]
    one, many = (trained(tiny.task(), tiny.model, wanted, together=t) for t in (False, True))
    assert all_weights(one) == all_weights(many)


def test_together_divergence_names_the_model(tiny: Tiny) -> None:
    bad = TensorDataset(tiny.x * float("inf"), tiny.y)
    with pytest.raises(DivergedError, match=r"^model 2 of 2 \(seed 3\)"):
        trained(tiny.task(), tiny.model, [Plan(None, MOST, 0), Plan(bad, MOST, 3)], together=True)
