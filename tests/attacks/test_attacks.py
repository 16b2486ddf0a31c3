"""Attack scores against slow loops over records, and the slightly changed copies that one of them reads."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from efface import Task
from efface.attacks import ATTACKS
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
from helpers.tiny import Tiny, mlp

SCORES = {a.key: a.score for a in ATTACKS}
N, CLASSES = 30, 5


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def a_view(seed: int, classes: int = CLASSES, copies: bool = True) -> RecordOutputs:
    targets = torch.arange(N) % classes
    spread = normal(COPIES, N, classes, seed=seed + 100) if copies else None
    return RecordOutputs(3 * normal(N, classes, seed=seed), targets, spread, 3 * normal(N, classes, seed=seed + 200))


def probability(logits: list[float], label: int) -> float:
    return math.exp(logits[label]) / sum(math.exp(z) for z in logits)


def slow_loss(logits: list[float], label: int) -> float:
    return math.log(probability(logits, label))


def slow_other_classes(logits: list[float], label: int) -> float:
    best, second = sorted((z for c, z in enumerate(logits) if c != label), reverse=True)[:2]
    return best - second


def slow_confidence(logits: list[float], label: int) -> float:
    return math.log(max(probability(logits, c) for c in range(len(logits))))


def slow_entropy(logits: list[float], label: int) -> float:
    return sum(p * math.log(p) for p in (probability(logits, c) for c in range(len(logits))))


def slow_modified_entropy(logits: list[float], label: int) -> float:
    """The paper's formula, its sign turned."""
    p = [probability(logits, c) for c in range(len(logits))]
    others = sum(q * math.log(1 - q) for c, q in enumerate(p) if c != label)
    return (1 - p[label]) * math.log(p[label]) + others


def slow_margin(logits: list[float], label: int) -> float:
    p = probability(logits, label)
    return math.log(p / (1 - p))


# of a record's own logits and label
PLAIN = {
    "loss": slow_loss,
    "confidence": slow_confidence,
    "entropy": slow_entropy,
    "modified_entropy": slow_modified_entropy,
    "other_classes": slow_other_classes,
}


@pytest.mark.parametrize("key", [a.key for a in ATTACKS])
def test_scores_are_those_of_a_slow_loop(key: str) -> None:
    ours, references = a_view(0), [a_view(1), a_view(2)]
    assert ours.copies is not None
    expected = []
    for i, label in enumerate(ours.targets.tolist()):
        own = ours.logits[i].tolist()
        if key in PLAIN:
            expected.append(PLAIN[key](own, label))
        elif key == "perturbed":
            expected.append(sum(slow_margin(z[i].tolist(), label) for z in ours.copies) / COPIES)
        elif key == "probe":
            assert ours.probe is not None
            expected.append(slow_margin(ours.probe[i].tolist(), label))
        elif key in ("lira", "spread"):  # the latter reads how far the former lies from that of its like
            out = [slow_margin(r.logits[i].tolist(), label) for r in references]
            expected.append(slow_margin(own, label) - sum(out) / len(out))
        else:  # the paper's offline approximation, with its a = 0.3
            out = sum(probability(r.logits[i].tolist(), label) for r in references) / len(references)
            expected.append(math.log(probability(own, label) / (((1 + 0.3) * out + 1 - 0.3) / 2)))
    found = SCORES[key](ours, references)
    assert found is not None and found.dtype == torch.float64
    assert found.tolist() == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_members_score_higher_where_the_model_knows_the_label_better() -> None:
    ours, references = a_view(0), [a_view(1)]
    assert ours.copies is not None
    lift = 2 * nn.functional.one_hot(ours.targets, CLASSES)
    assert ours.probe is not None
    surer = RecordOutputs(ours.logits + lift, ours.targets, ours.copies + lift, ours.probe + lift)
    for key in ("loss", "modified_entropy", "rmia", "lira", "perturbed", "probe"):
        before, after = SCORES[key](ours, references), SCORES[key](surer, references)
        assert before is not None and after is not None and bool((after > before).all()), key
    before, after = SCORES["other_classes"](ours, ()), SCORES["other_classes"](surer, ())
    assert before is not None and after is not None
    assert after.tolist() == pytest.approx(before.tolist(), abs=1e-5)  # no part of the margin


def test_what_is_missing_gives_none() -> None:
    for key in ("rmia", "lira", "spread"):
        assert SCORES[key](a_view(0), ()) is None
    assert SCORES["probe"](RecordOutputs(a_view(0).logits, a_view(0).targets, None), ()) is None
    assert SCORES["other_classes"](a_view(0, classes=2), ()) is None
    assert SCORES["perturbed"](a_view(0, copies=False), ()) is None
    always = ("loss", "confidence", "entropy", "modified_entropy")
    for key in always:
        assert SCORES[key](a_view(0, classes=2, copies=False), ()) is not None
    assert {a.key for a in ATTACKS if not a.needs} == set(always)


def test_what_decides() -> None:
    """Of attacks that order records alike one decides; the label's own score without references, RMIA and LiRA with."""
    with_references, without = ({a.key for a in ATTACKS if a.decides[i]} for i in (0, 1))
    both = {"entropy", "other_classes", "perturbed", "probe"}
    assert with_references == both | {"rmia", "lira", "spread"} and without == both | {"loss"}
    assert all(a.needs == "reference models" for a in ATTACKS if a.decides == (True, False))


@pytest.mark.parametrize("key", [a.key for a in ATTACKS])
def test_each_record_is_scored_by_itself(key: str) -> None:
    def part(v: RecordOutputs, rows: Tensor) -> RecordOutputs:
        assert v.copies is not None and v.probe is not None
        return RecordOutputs(v.logits[rows], v.targets[rows], v.copies[:, rows], v.probe[rows])

    whole, references = a_view(0), [a_view(1), a_view(2)]
    shuffled = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    full = SCORES[key](whole, references)
    assert full is not None
    for rows in (shuffled, torch.tensor([7])):
        some = SCORES[key](part(whole, rows), [part(r, rows) for r in references])
        assert some is not None and torch.equal(some, full[rows])


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
    plain, *copies = seen[1 : 2 + COPIES]
    assert len({c.numpy().tobytes() for c in [plain, *copies]}) == 1 + COPIES
    # 4 copies of 12 records with 16 values: the standard error of a standard deviation is 2.6 %
    noise = torch.stack(copies) - plain
    assert float(noise.std()) == pytest.approx(NOISE * float(tiny.x.std()), rel=0.11)
    one, again, other = (see(tiny.task(), tiny.model, tiny.forget, seed).copies for seed in (0, 0, 1))
    assert one is not None and again is not None and other is not None
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_copies_do_not_depend_on_the_order_of_records(tiny: Tiny) -> None:
    task, reverse = tiny.task(), tuple(reversed(tiny.forget))
    ours, theirs = see(task, tiny.model, tiny.forget), see(task, tiny.model, reverse)
    assert ours.copies is not None and theirs.copies is not None
    assert torch.equal(theirs.logits.flip(0), ours.logits)
    assert torch.equal(theirs.copies.flip(1), ours.copies)


def test_the_size_of_the_noise_does_not_depend_on_the_company() -> None:
    # a far record and 1,024 near ones: read alone, in a last batch, it would else set its own noise
    x = normal(1025, 4)
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
    again = see(tiny.task(perturb=perturb), tiny.model, tiny.forget)
    with torch.no_grad():
        expected = tiny.model(tiny.x[list(tiny.forget)] + 1)
    assert seen.copies is not None and again.copies is not None
    assert torch.allclose(seen.copies, expected.expand(COPIES, -1, -1))
    assert len(set(drawn)) == COPIES and drawn[:COPIES] == drawn[COPIES:]


def test_integer_inputs_are_left_alone_and_have_no_copies_of_their_own(tiny: Tiny) -> None:
    tokens, values = torch.arange(12).reshape(4, 3), normal(4, 3)
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
