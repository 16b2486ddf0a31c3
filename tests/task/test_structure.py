"""Structures: the driver, the calibration and retraining read what is left after a deletion, as closed forms say."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import efface
from efface.data.records import Records
from efface.models.running import logits_of, unseen_logits
from efface.models.training import Recipe, retrain
from efface.request import check_request
from efface.runtime.cost import Meter
from efface.store.task_view import subset_task
from efface.task.structure import Effects, Structure, renumbered
from helpers.calls import unlearn
from helpers.neighbourhoods import NODES, TRAINED, Exact, Neighbours, classified, exact, linear
from helpers.tiny import REFERENCE, Tiny, weights

EVERY = np.arange(TRAINED)


@pytest.fixture(scope="module")
def made() -> Exact:
    return exact()


def structure_of(task: efface.Task) -> Neighbours:
    assert isinstance(task.structure, Neighbours)
    return task.structure


def fitted(made: Exact, positions: np.ndarray) -> torch.Tensor:
    model = retrain(made.task, linear(), positions, 0, Meter(), Recipe())
    return model.weight.detach().double().flatten()  # type: ignore[union-attr]


def test_retraining_is_exact_in_the_structure_after_the_deletion(made: Exact) -> None:
    before, after = structure_of(made.task), structure_of(made.task.after(made.forget))
    assert torch.allclose(fitted(made, EVERY), made.best(before, EVERY), atol=1e-4)
    assert torch.allclose(fitted(made, made.retain), made.best(after, made.retain), atol=1e-4)
    # the records alone are not enough: neighbours of what left are read otherwise
    assert not torch.allclose(fitted(made, made.retain), made.best(before, made.retain), atol=1e-2)


def test_a_task_without_a_structure_is_its_simplest_case(tiny: Tiny) -> None:
    task = tiny.task()
    assert task.after(np.arange(5)) is task
    ((same, every),) = task.unseen(np.arange(9), 2)
    assert same is task and every.tolist() == list(range(9))
    assert renumbered(None, [1, 2], 5) is None


def test_a_deletion_leaves_the_structure_that_was_and_may_be_repeated(made: Exact) -> None:
    before = made.task
    after = before.after(made.forget)
    again = after.after(made.forget[:3])
    assert structure_of(before).present.sum() == TRAINED
    assert torch.equal(structure_of(again).present, structure_of(after).present)
    assert structure_of(after).present.sum() == TRAINED - len(made.forget)


def test_members_are_read_with_themselves_taken_out_in_parts_as_large_as_the_request(made: Exact) -> None:
    model, records, task = linear(), Records(made.task.train, made.task), made.task
    members = np.array([3, 50, 7, 120, 90, 61, 15, 33, 99, 100])
    parts = task.unseen(members, request=5)
    assert [len(at) for _, at in parts] == [5, 5] and np.concatenate([at for _, at in parts]).tolist() == list(members)
    found = unseen_logits(task, model, records, members, 5, Meter())
    for part, _ in ((members[:5], 0), (members[5:], 1)):
        features = structure_of(task).after(part).features()  # type: ignore[attr-defined]
        own = model(features[part]).detach()
        assert torch.allclose(found[np.isin(members, part)], own, atol=1e-6)
    # a tiny request does not take a pass for each of its size
    assert len(task.unseen(EVERY, request=1)) == 50


def test_a_run_reads_everything_after_the_deletion_and_returns_the_task_as_it_was() -> None:
    model, task = classified()
    forget = [4, 9, 30, 31, 77]
    result = unlearn(model, task=task, forget=forget, method="noop")
    assert result.task.structure is task.structure
    request = check_request(model, task, forget, full=True)
    assert request.given.structure is task.structure
    assert not structure_of(request.task).present[forget].any()
    near = structure_of(task).affected(np.array(forget))["1 hop"]
    records = Records(task.train, task)
    before, after = (logits_of(t, model, records, near, Meter()) for t in (task, request.task))
    assert len(near) and not torch.allclose(before, after)


def test_steer_and_its_evidence_run_in_a_structure() -> None:
    model, task = classified()
    forget = list(range(0, 36, 3))
    method = efface.methods.get("steer", {"steps": "8"})
    result = unlearn(model, task=task, forget=forget, method=method, reference=REFERENCE)
    assert result.evidence.evaluations and weights(result.model) != weights(model)
    margins = [
        task.rules.margin(
            logits_of(task.after(np.array(forget)), m, Records(task.train, task), np.array(forget), Meter()),
            Records(task.train, task).targets(forget),
        ).mean()
        for m in (model, result.model)
    ]
    assert margins[1] < margins[0]


def test_the_reference_never_read_members_with_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    model, task = classified(steps=20)
    seen: list[torch.Tensor] = []
    read = Neighbours.forward

    def forward(self: Neighbours, model: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            seen.append(self.present)
        return read(self, model, inputs)

    monkeypatch.setattr(Neighbours, "forward", forward)
    method = efface.methods.get("steer", {"steps": "1"})
    result = unlearn(model, task=task, forget=[1, 2, 3], method=method, reference=REFERENCE, evaluate=False)
    while_training = torch.stack(seen[: REFERENCE.steps(len(result.splits.reference))])
    assert not while_training[:, result.splits.heldout_retain].any()
    assert while_training[:, result.splits.reference].all()


def test_what_a_deletion_does_is_refused_or_told(made: Exact) -> None:
    class Refusing(Neighbours):
        def effects(self, positions: np.ndarray) -> Effects:
            return Effects(refusals=(f"{len(positions)} cannot leave",), warnings=("told",))

    known = structure_of(made.task)
    task = replace(made.task, structure=Refusing(known.x, known.links, known.present))
    model = retrain(made.task, linear(), EVERY, 0, Meter(), Recipe())
    with pytest.raises(efface.RequestError, match="12 cannot leave"):
        efface.check(model, task=task, forget=made.forget.tolist())
    lonely = np.flatnonzero(~known.links[:TRAINED].any(1).numpy())
    known.links[0], known.links[:, 0] = False, False
    assert "without a neighbour" in known.effects(np.array([0, *lonely[:1]])).warnings[0]


def test_a_structure_of_another_type_is_refused(tiny: Tiny) -> None:
    with pytest.raises(efface.RequestError, match=r"Task\.structure: expected an efface\.Structure or None"):
        efface.check(tiny.model, task=replace(tiny.task(), structure="graph"), forget=[0])  # type: ignore[arg-type]


def test_a_task_with_fewer_records_keeps_its_structure_by_new_positions(made: Exact) -> None:
    left = np.setdiff1d(EVERY, [0, 1, 2, 50])
    view = subset_task(made.task, left.tolist(), "mark")
    structure = view.task.structure
    assert isinstance(structure, Structure)
    inner = structure_of(made.task).after(np.array([0, 1, 2, 50, 3]))
    model, nodes = linear(), torch.arange(NODES)
    after = structure.after(np.array([0]))  # the record that was at position 3
    assert torch.equal(after.forward(model, nodes), inner.forward(model, nodes))
    near = inner.affected(np.array([9]))["1 hop"]
    ring = structure.after(np.array([0])).affected(np.flatnonzero(left == 9))["1 hop"]
    assert left[ring].tolist() == near.tolist()
    rows = structure.rows(np.flatnonzero(left == 9), 0)
    assert rows is not None and rows.tolist() == [9]
    assert structure.effects(np.array([0])) == structure_of(made.task).effects(np.array([3]))
