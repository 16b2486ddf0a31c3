"""Running models: their logits, in eval mode and counted, in batches no larger than the task allows."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import efface
from efface import Task
from efface.data.records import Batch, Records
from efface.models.running import all_finite, device_of, joint_logits, logits_of, mode
from efface.runtime.cost import Meter
from helpers.calls import unlearn
from helpers.tiny import REFERENCE, Tiny, bits, mlp


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
