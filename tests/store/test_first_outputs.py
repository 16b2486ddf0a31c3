"""A store keeps what a lineage's first model said of some training records, until they or their nearest leave."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import efface
from efface.models.checkpoint import load_weights
from efface.store import Store
from efface.store.first_outputs import TaggedOutputs, read_outputs
from helpers.store_cases import ANEW, BATCHES, IDS, QUICK, context_of, people, task_of
from helpers.tiny import Tiny, mlp

ASKED = set(people([5, 7, 9]))


@pytest.fixture
def store(asked_store: Store) -> Store:
    return asked_store


def kept(store: Store) -> TaggedOutputs | None:
    context = context_of(store)
    file = context.history().first_outputs
    return None if file is None else read_outputs(context.folder.path_of("baselines", file))


def ids_in(store: Store) -> set[str]:
    held, key = kept(store), context_of(store).key
    assert held is not None
    names = {key.tag(name): name for name in IDS}
    return {names[tag] for tag in held.tags}


def agrees(store: Store, model: nn.Module, tiny: Tiny) -> bool:
    held, key = kept(store), context_of(store).key
    assert held is not None and len(held.tags)
    rows = {key.tag(name): at for at, name in enumerate(IDS)}
    with torch.no_grad():
        return torch.allclose(held.values, model(tiny.x[[rows[tag] for tag in held.tags]]), atol=1e-5)


def test_they_are_those_of_the_first_model_and_fewer_with_each_version(store: Store, tiny: Tiny) -> None:
    assert ids_in(store) == set(IDS)
    assert agrees(store, tiny.model, tiny)
    before = context_of(store).history().first_outputs
    store.run(QUICK)
    gone, batch = set(IDS) - ids_in(store), ASKED
    assert batch < gone and len(gone) <= 2 * len(batch)
    assert agrees(store, tiny.model, tiny)
    assert not context_of(store).folder.path_of("baselines", str(before)).exists()
    found = store.verify(level=None)
    assert not found.problems
    assert any("what version 1 said of training records that stay" in line.what for line in found.leftovers)
    store.add(people(BATCHES[2]))
    store.run(QUICK)
    assert agrees(store, tiny.model, tiny)
    assert not ids_in(store) & (batch | set(people(BATCHES[2])))


def test_the_run_is_given_what_is_left_of_them(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    real = efface.unlearn

    def spied(*args: object, **kwargs: object) -> efface.Result:
        given.append(kwargs["options"].first_outputs)  # type: ignore[attr-defined]
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr("efface.store.build.unlearn", spied)
    store.run(QUICK)
    left = ids_in(store)
    store.add(people(BATCHES[2]))
    store.run(QUICK)
    assert [len(one) for one in given] == [len(IDS), len(left)]


def test_a_retraining_makes_them_anew(store: Store, tiny: Tiny) -> None:
    store.run(ANEW)
    assert ids_in(store) == set(IDS) - ASKED
    served = mlp()
    load_weights(served, store.current)
    assert agrees(store, served, tiny)
    assert not any("said of training records" in line.what for line in store.verify(level=None).leftovers)


def test_going_back_to_another_lineage_leaves_none(store: Store, tiny: Tiny) -> None:
    store.cancel(1)
    store.run(replace(ANEW, seed=1))
    store.rollback(1)
    assert kept(store) is None
    assert not store.verify(level=None).problems
    store.add(people(BATCHES[2]))
    assert store.run(QUICK).version is not None
    assert kept(store) is None


def test_a_record_with_other_content_leaves(store: Store, tiny: Tiny) -> None:
    x = tiny.x.clone()
    x[299] += 1.0
    changed = replace(task_of(tiny), train=TensorDataset(x, tiny.y))
    Store(store.path, changed).run(QUICK)
    assert IDS[299] not in ids_in(store)


def test_retiring_deletes_them(store: Store) -> None:
    store.run(QUICK)
    before = context_of(store)
    path = before.folder.path_of("baselines", str(before.history().first_outputs))
    assert path.exists()
    store.retire()
    assert not path.exists() and context_of(store).history().first_outputs is None


def test_verify_names_forgotten_records_among_them(store: Store, tmp_path: Path) -> None:
    store.run(QUICK)
    held, context = kept(store), context_of(store)
    assert held is not None
    tag = context.key.tag(people([5])[0])
    path = context.folder.path_of("baselines", str(context.history().first_outputs))
    path.chmod(0o600)
    TaggedOutputs((tag, *held.tags[1:]), held.values).write(path)
    problems = store.verify(level=None).problems
    assert any("hold 1 forgotten record" in line for line in problems)
    path.write_bytes(b"none")
    assert any("cannot be read" in line for line in store.verify(level=None).problems)


def test_contents_taken_as_they_are_now_leave_none(store: Store, tiny: Tiny) -> None:
    store.cancel(1)
    changed = replace(task_of(tiny), train=TensorDataset(tiny.x + 0.1, tiny.y))
    path = context_of(store).folder.path_of("baselines", str(context_of(store).history().first_outputs))
    Store(store.path, changed).refingerprint()
    assert kept(store) is None and not path.exists()
    assert not store.verify(level=None).problems


def test_a_rejected_run_leaves_them_as_they_were(store: Store) -> None:
    before = context_of(store).history().first_outputs
    outcome = store.run(replace(QUICK, level="quick", accept="verified"))
    assert outcome.version is None
    assert context_of(store).history().first_outputs == before
    store.status()
    store.cancel(1)
    store.add(people(BATCHES[2]))
    store.run(QUICK)
    named = {file for kind, file in context_of(store).history().needed_files() if kind == "baselines"}
    assert {path.stem for path in (store.path / "baselines").glob("[!.]*")} == named


def test_records_of_a_request_that_waits_leave_with_the_run_before(store: Store, tiny: Tiny) -> None:
    x = tiny.x.clone()
    x[299] += 1.0
    store.add(people([299]))  # whose content changed, so that the request waits
    outcome = Store(store.path, replace(task_of(tiny), train=TensorDataset(x, tiny.y))).run(QUICK)
    assert outcome.version is not None and outcome.version.requests == (1,)
    assert not ids_in(store) & {*ASKED, IDS[299]}
