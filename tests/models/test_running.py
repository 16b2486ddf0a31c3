"""Running models: their logits, in eval mode and counted, in batches no larger than the task allows."""

import threading
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import efface
from efface import Task
from efface.data.records import Batch, Records
from efface.models import running
from efface.models.running import all_finite, device_of, joint_logits, logits_of, mode
from efface.runtime.cost import Meter
from helpers.calls import unlearn
from helpers.tiny import REFERENCE, Tiny, bits, mlp, weights

LABELS = torch.tensor([0, 1])  # of two records


def test_logits_are_read_in_eval_mode_and_counted(tiny: Tiny) -> None:
    task = tiny.task(batch_size=2)
    model, meter = nn.Sequential(nn.Dropout(0.5), tiny.fresh()), Meter()
    before = bits(model.train())
    found = logits_of(task, model, Records(task.train, task), [3, 299, 3], meter)
    assert bits(model) == before
    torch.testing.assert_close(found, tiny.model(tiny.x[[3, 299, 3]]).detach())
    assert not found.requires_grad and meter.cost().total.forward == 3
    doubled = Records(list(zip(tiny.x.double(), tiny.y, strict=True)), task)
    assert logits_of(task, mlp().double(), doubled, [1], meter).dtype == torch.float32


def test_each_module_gets_its_own_mode_back_even_after_an_error(tiny: Tiny) -> None:
    model = tiny.fresh().train()
    model[1].eval()
    before = bits(model)
    with pytest.raises(KeyError), mode(model, training=False):
        assert not any(m.training for m in model.modules())
        raise KeyError
    assert bits(model) == before


@pytest.mark.parametrize("widths", [(4, 4), (4, 6)], ids=["alike", "of two lengths"])
def test_joint_logits_are_each_batchs_own(widths: tuple[int, int], tiny: Tiny) -> None:
    calls: list[int] = []

    def forward(model: nn.Module, inputs: Tensor) -> Tensor:
        calls.append(len(inputs))
        return model(inputs.mean(1, keepdim=True))

    batches = [Batch(torch.randn(n, w), torch.zeros(n).long()) for n, w in zip((3, 5), widths, strict=True)]
    model = nn.Linear(1, 2)
    found = joint_logits(tiny.task(forward=forward), model, batches)
    assert calls == ([8] if widths == (4, 4) else [3, 5])
    for logits, batch in zip(found, batches, strict=True):
        torch.testing.assert_close(logits, model(batch.inputs.mean(1, keepdim=True)))


# nested tensors of this layout are a prototype
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
@pytest.mark.parametrize(
    "make", [lambda x: x.T, lambda x: torch.nested.nested_tensor(list(x))], ids=["records in columns", "nested"]
)
def test_tensors_without_a_row_for_each_record_are_not_joined(make: Any) -> None:
    """Batches of equal length would seem to fit together along the other dimension."""
    model, parts = nn.Linear(4, 2), [torch.randn(3, 4), torch.randn(3, 4)]

    def forward(model: nn.Module, inputs: Tensor) -> Tensor:
        return model(torch.stack(list(inputs.unbind())) if inputs.is_nested else inputs.T)

    batches = [Batch(make(x), torch.zeros(3).long()) for x in parts]
    found = joint_logits(Task(train=[], holdout=[], forward=forward), model, batches)
    for logits, x in zip(found, parts, strict=True):
        torch.testing.assert_close(logits, model(x))


def test_infinity_is_a_fault_in_weights_alone() -> None:
    model = mlp(4)
    model.register_buffer("mask", torch.tensor([0.0, float("-inf")]))
    assert all_finite(model) and device_of(model) == torch.device("cpu")
    model.mask[0] = float("nan")
    assert not all_finite(model)
    model.mask[0] = 0
    with torch.no_grad():
        model[0].weight[0, 0] = float("inf")
    assert not all_finite(model)
    assert device_of(nn.Identity()) == torch.device("cpu")


class Inner:
    """An object in a batch, as graph libraries have them; it holds a tensor and counts its readers."""

    def __init__(self, x: Tensor) -> None:
        self.x, self.read = x, 0


Passed = namedtuple("Passed", ["first", "rest"])


def test_a_forward_gets_its_own_copy_of_every_kind_of_input(tiny: Tiny) -> None:
    whole = torch.arange(1000.0)
    inputs = {
        "tensor": torch.ones(2, 2),
        "part": whole[:2],
        "array": np.ones(2),
        "names": ["a", "b"],
        "pair": Passed(torch.ones(2), (torch.ones(2),)),
        "object": Inner(torch.ones(2)),
    }
    kept: list[Any] = []

    def forward(model: nn.Module, given: dict[str, Any]) -> Tensor:
        kept.append(given)
        assert given["part"].untyped_storage().nbytes() == 8, "of a part only the part is copied"
        given["tensor"].mul_(0)
        given["array"] *= 0
        given["object"].x.mul_(0)
        given["object"].read += 1
        given["pair"].rest[0].zero_()
        given.pop("names").append("c")
        given["more"] = given.pop("part").zero_()
        return torch.zeros(2, 3)

    task = tiny.task(forward=forward)
    for _ in range(2):
        running.forward(task, tiny.model, Batch(inputs, LABELS))
    assert kept[0] is not kept[1] and all(type(k["pair"]) is Passed for k in kept)
    assert list(inputs) == ["tensor", "part", "array", "names", "pair", "object"] and inputs["names"] == ["a", "b"]
    assert inputs["tensor"].sum() == 4 and whole[:2].tolist() == [0, 1] and inputs["array"].sum() == 2
    assert inputs["object"].x.sum() == 2 and inputs["object"].read == 0 and inputs["pair"].rest[0].sum() == 2


def test_what_cannot_be_copied_is_passed_on_and_the_tensors_beside_it_are_copied(tiny: Tiny) -> None:
    inputs = {"x": torch.ones(2, 2), "lock": threading.Lock()}

    def forward(model: nn.Module, given: dict[str, Any]) -> Tensor:
        assert given["lock"] is inputs["lock"]
        return given["x"].zero_()

    running.forward(tiny.task(forward=forward), tiny.model, Batch(inputs, LABELS))
    assert inputs["x"].sum() == 4


def test_a_model_that_keeps_its_last_activations_is_copied(tiny: Tiny) -> None:
    """They have a graph, which copy.deepcopy refuses."""

    class Keeping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.kept = tiny.fresh(), {}

        def forward(self, x: Tensor) -> Tensor:
            h = self.net[:2](x)
            if self.training:
                self.kept = {"last": [h]}
            return self.net[2](h)

    model = Keeping().train()
    model(tiny.x).sum().backward()
    model.zero_grad()
    result = efface.unlearn(model.eval(), forget=tiny.forget, task=tiny.task(), method="finetune")
    assert "relearn" in {m.key for m in efface.audit(result, references=1).metrics}
    assert model.kept["last"][0].grad_fn is not None, "the caller's model stays as it was"


def test_gradients_flow_through_the_copy(tiny: Tiny) -> None:
    x = torch.ones(2, 3, requires_grad=True)
    doubled = running.forward(tiny.task(forward=lambda m, given: given.mul_(2)), tiny.model, Batch(x, LABELS))
    assert torch.autograd.grad(doubled.sum(), x)[0].unique().tolist() == [2.0]


def test_an_output_that_a_model_uses_again_is_copied(tiny: Tiny) -> None:
    class Buffered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale, self.out = nn.Parameter(torch.ones(())), torch.empty(2, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out.copy_(x[:, :3])

    task = tiny.task(batch_size=2)
    found = logits_of(task, Buffered(), Records(task.train, task), range(6), Meter())
    assert torch.equal(found, tiny.x[:6, :3])


def test_every_pass_goes_through_the_one_function() -> None:
    """Others would hand the user's code inputs that are used again, or logits that are not bounded."""
    source = Path(efface.__file__).parent
    texts = {str(p.relative_to(source)): p.read_text("utf-8") for p in source.rglob("*.py")}
    assert {name for name, text in texts.items() if "task.call(" in text} == {"models/running.py"}
    replaced = {"unlearning/parallel.py", "store/batch.py"}  # they put another function in place of Task.forward
    assert {name for name, text in texts.items() if "task.forward(" in text} == replaced


SCALE = 20.0


class Scaling(nn.Module):
    """Scales its inputs, in place or not."""

    def __init__(self, net: nn.Module, in_place: bool) -> None:
        super().__init__()
        self.net, self.in_place = net, in_place

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.div_(SCALE) if self.in_place else x / SCALE)


@pytest.mark.parametrize("method", ["steer", "boundary", "scrub"])
def test_a_model_that_changes_its_inputs_is_unlearned_and_audited_as_any(method: str, tiny: Tiny) -> None:
    train, held = (
        [(SCALE * x, y) for x, y in zip(*pair, strict=True)]
        for pair in ((tiny.x, tiny.y), (tiny.holdout_x, tiny.holdout_y))
    )
    task = tiny.task(train=train, holdout=held, collate=lambda rows: tuple(map(torch.stack, zip(*rows, strict=True))))
    kept = [x.clone() for x, _ in train]
    options = efface.UnlearnOptions(reference=REFERENCE)
    results = [
        efface.unlearn(Scaling(tiny.fresh(), way), forget=tiny.forget, task=task, method=method, options=options)
        for way in (False, True)
    ]
    assert weights(results[0].model) == weights(results[1].model)
    reports = [efface.audit(r, references=1) for r in results]
    first, second = ({(m.key, m.records): m.unlearned.estimate for m in r.metrics} for r in reports)
    assert repr(first) == repr(second) and "relearn" in {key for key, _ in first}
    assert all(torch.equal(x, was) for (x, _), was in zip(train, kept, strict=True))


def test_a_forward_may_pop_what_it_reads(tiny: Tiny) -> None:
    def named(x: Tensor, y: Tensor) -> list[dict[str, Tensor]]:
        return [{"x": a, "label": b} for a, b in zip(x, y, strict=True)]

    small = efface.methods.get("steer", {"rounds": "2", "steps": "10"})
    found = []
    for take in (lambda b: b["x"], lambda b: b.pop("x")):
        task = tiny.task(
            train=named(tiny.x, tiny.y),
            holdout=named(tiny.holdout_x, tiny.holdout_y),
            unpack=lambda batch: (batch, batch["label"]),
            forward=lambda m, batch, take=take: m(take(batch)),
        )
        found.append(weights(efface.unlearn(tiny.model, forget=tiny.forget, task=task, method=small).model))
    assert found[0] == found[1]


def test_no_forward_is_larger_than_the_task_allows(tiny: Tiny) -> None:
    sizes = []

    def forward(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        sizes.append(len(inputs))
        return model(inputs)  # type: ignore[no-any-return]

    small = efface.methods.get("steer", {"rounds": "2", "steps": "4", "batch_forget": "8", "batch_retain": "16"})
    call = {"forget": tiny.forget, "method": small, "reference": REFERENCE}
    unlearn(tiny.model, task=tiny.task(forward=forward, batch_size=32), **call)
    assert max(sizes) == 32
    with pytest.raises(efface.RequestError, match="batch_size: expected a number of records, got 0"):
        unlearn(tiny.model, task=tiny.task(batch_size=0), **call)
