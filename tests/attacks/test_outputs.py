"""What an attack may read of a model: logits in eval mode, and slightly changed copies, alike for all models."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from efface import Task
from efface.attacks.outputs import (
    COPIES,
    NOISE,
    RecordOutputs,
    RecordSet,
    add_noise,
    collect_outputs,
    copier,
    read_outputs,
)
from efface.data.records import Records
from efface.runtime.cost import Meter
from helpers.draws import normal
from helpers.tiny import Tiny, mlp


def see(task: Task, model: nn.Module, positions: Any, seed: int = 0) -> RecordOutputs:
    records = Records(task.train, task)
    chosen = RecordSet(records, np.asarray(positions), seed)
    return read_outputs(task, model, chosen, Meter(), copier(task, records))


def test_all_models_see_the_same_copies_for_a_seed(tiny: Tiny) -> None:
    seen: list[Tensor] = []

    def forward(model: nn.Module, inputs: Tensor) -> Tensor:
        seen.append(inputs)
        return model(inputs)  # type: ignore[no-any-return]

    task, forget = tiny.task(forward=forward), np.array(tiny.forget)
    records = Records(task.train, task), Records(task.holdout, task)
    models = [tiny.model, mlp(5)]
    places = ((records[0], forget), (records[1], np.arange(50)), (records[0], np.arange(70, 130)))
    collect_outputs(task, models, *(RecordSet(*place) for place in places), 0, Meter())
    # first the records that the last layer is fitted to, then forget records and nonmembers
    each = 1 + 2 * (1 + COPIES)
    assert len(seen) == 2 * each
    for mine, other in zip(seen[:each], seen[each:], strict=True):
        assert torch.equal(mine, other)
    assert torch.equal(seen[0], tiny.x[70:130])
    unchanged, *copies = seen[1 : 2 + COPIES]
    assert len({c.numpy().tobytes() for c in [unchanged, *copies]}) == 1 + COPIES
    # 4 copies of 12 records with 16 values: the standard error of a standard deviation is 2.6 %
    noise = torch.stack(copies) - unchanged
    assert float(noise.std()) == pytest.approx(NOISE * float(tiny.x.std()), rel=0.11)
    one, repeated, other = (see(tiny.task(), tiny.model, tiny.forget, seed).copies for seed in (0, 0, 1))
    assert one is not None and repeated is not None and other is not None
    assert torch.equal(one, repeated) and not torch.equal(one, other)


def test_copies_do_not_depend_on_the_order_of_records(tiny: Tiny) -> None:
    task, reverse = tiny.task(), tuple(reversed(tiny.forget))
    forward, backward = see(task, tiny.model, tiny.forget), see(task, tiny.model, reverse)
    assert forward.copies is not None and backward.copies is not None
    assert torch.equal(backward.logits.flip(0), forward.logits)
    assert torch.equal(backward.copies.flip(1), forward.copies)


def test_the_size_of_the_noise_does_not_depend_on_the_company() -> None:
    # a far record and 1,024 near ones: read alone, in a last batch, it would else set its own noise
    x = normal(1025, 4).float()
    x[1024] *= 1000
    task = Task(train=TensorDataset(x, torch.zeros(1025).long()), holdout=TensorDataset(x, torch.zeros(1025).long()))
    still = nn.Linear(4, 4, bias=False).requires_grad_(False)
    still.weight.copy_(torch.eye(4))
    alone, together = see(task, still, [1024]), see(task, still, np.arange(1025))
    assert alone.copies is not None and together.copies is not None
    sizes = [float((v.copies - v.logits).std(dim=(1, 2)).mean()) for v in (alone, together)]  # type: ignore[operator]
    assert 1 / 3 < sizes[0] / sizes[1] < 3


def test_the_tasks_own_perturbation_is_used(tiny: Tiny) -> None:
    drawn = []

    def perturb(inputs: Tensor, generator: torch.Generator) -> Tensor:
        drawn.append(float(torch.rand(1, generator=generator)))
        return inputs + 1

    seen = see(tiny.task(perturb=perturb), tiny.model, tiny.forget)
    repeated = see(tiny.task(perturb=perturb), tiny.model, tiny.forget)
    with torch.no_grad():
        expected = tiny.model(tiny.x[list(tiny.forget)] + 1)
    assert seen.copies is not None and repeated.copies is not None
    assert torch.allclose(seen.copies, expected.expand(COPIES, -1, -1))
    assert len(set(drawn)) == COPIES and drawn[:COPIES] == drawn[COPIES:]


def test_integer_inputs_are_left_alone_and_have_no_copies_of_their_own(tiny: Tiny) -> None:
    tokens, values = torch.arange(12).reshape(4, 3), normal(4, 3).float()
    generator = torch.Generator().manual_seed(0)
    changed = add_noise({"tokens": tokens, "values": values}, generator, [0.0, 0.5])
    assert changed["tokens"] is tokens
    assert changed["values"].dtype == values.dtype and bool((changed["values"] != values).all())

    class Embedded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(20, 3)

        def forward(self, at: Tensor) -> Tensor:
            return self.table(at).mean(1)  # type: ignore[no-any-return]

    integers = TensorDataset(torch.arange(80).reshape(40, 2) % 20, torch.arange(40) % 3)
    assert see(Task(train=integers, holdout=integers), Embedded(), [1, 2, 3]).copies is None
    swapped = Task(train=integers, holdout=integers, perturb=lambda inputs, generator: inputs.flip(1))
    seen = see(swapped, Embedded(), [1, 2, 3])
    assert seen.copies is not None
    assert torch.allclose(seen.copies[0], seen.logits)


def test_outputs_are_read_in_eval_mode_and_counted(tiny: Tiny) -> None:
    model, meter = nn.Sequential(nn.Dropout(0.5), tiny.fresh()).train(), Meter()
    task = tiny.task()
    records = Records(task.train, task)
    found = read_outputs(task, model, RecordSet(records, np.array(tiny.forget)), meter, copier(task, records))
    assert model.training and model[0].training
    with torch.no_grad():
        expected = tiny.model(tiny.x[list(tiny.forget)])
    assert torch.allclose(found.logits, expected, atol=1e-6)
    assert meter.cost().total.forward == len(tiny.forget) * (1 + COPIES)
