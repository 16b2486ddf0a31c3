"""Outputs that are no logits, or that are not the same whatever else is read: found before any work."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import TensorDataset

import efface
from efface.data.checks import Findings
from efface.data.records import Records
from efface.models.checks import check_model
from efface.models.output_checks import is_linear
from efface.request import check_others, check_request
from helpers.refused import Break, bag, check_refused, data, model
from helpers.tiny import CLASSES, FEATURES, RECORDS, Tiny, memorise, mlp


class Changed(nn.Module):
    """A network whose logits are changed by a function."""

    def __init__(self, net: nn.Module, change: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.net, self.change = net, change

    def forward(self, x: Tensor) -> Any:
        return self.change(self.net(x))


class Attending(nn.Module):
    """Attention in which the records of a batch are the sequence: batch_first was forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(FEATURES, 16)
        self.attention, self.last = nn.MultiheadAttention(16, 2), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)[:, None]
        return self.last((h + self.attention(h, h, h)[0]).squeeze(1).relu())


def without_statistics(tiny: Tiny) -> nn.Module:
    """BatchNorm that takes its statistics from the batch, in eval mode too."""
    layers = nn.Linear(FEATURES, 48), nn.BatchNorm1d(48, track_running_stats=False), nn.ReLU(), nn.Linear(48, CLASSES)
    return memorise(nn.Sequential(*layers), tiny.x, tiny.y)


def changed(change: Callable[[Tensor], Any]) -> Break:
    return model(lambda t: Changed(t.fresh(), change))


def normalised(z: Tensor) -> Tensor:
    """Contrastive: each class sums to one over the records of a batch."""
    return 20 * z.softmax(0)


class Sometimes:
    """Leaves the logits of every fourth batch unscaled, as a layer that is dropped at random would."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, z: Tensor) -> Tensor:
        self.calls += 1
        return z if self.calls % 4 else z / 2


PROBABILITIES = "the model returns probabilities (none is negative, and all records have the same sum), not logits"
LOG = "give Task.forward=lambda model, inputs: model(inputs).float().clamp_min(1e-30).log()"
COMPANY = "the logits of a record depend on the others in its batch: alone and among 63 others they differ by"
TWICE = "the model's logits differ when the same records are read twice"

REFUSALS: dict[str, tuple[Break, str]] = {
    "a softmax at the end": (changed(lambda z: z.softmax(1)), PROBABILITIES),
    "the line that mends a softmax": (changed(lambda z: z.softmax(1)), LOG),
    "a softmax with a small number added": (changed(lambda z: z.softmax(1) + 1e-6), PROBABILITIES),
    "a softmax in half precision": (changed(lambda z: z.softmax(1).half()), PROBABILITIES),
    "a softmax in bfloat16": (changed(lambda z: z.softmax(1).bfloat16()), PROBABILITIES),
    "per cent": (changed(lambda z: 100 * z.softmax(1)), PROBABILITIES),
    "a softmax in Task.forward": (
        lambda t: {"task": t.task(forward=lambda m, x: m(x).softmax(1))},
        "give Task.forward=the same with .float().clamp_min(1e-30).log() behind what it returns",
    ),
    "decisions": (
        changed(lambda z: F.one_hot(z.argmax(1), CLASSES).float()),
        "the model returns decisions (1 for a class, 0 for others), not logits",
    ),
    "sigmoids": (changed(torch.sigmoid), "all outputs of the model lie between 0 and 1, like those of a sigmoid"),
    "logarithms of 0": (
        changed(lambda z: (z - 200 * (z < z.amax(1, keepdim=True))).softmax(1).log()),
        "infinite values: give log-probabilities a floor, as in Task.forward=lambda model, inputs: model(inputs).fl",
    ),
    "BatchNorm without running statistics": (
        model(without_statistics),
        "the model cannot read one record alone (ValueError: Expected more than 1 value per channel",
    ),
    "a softmax over the batch": (changed(normalised), COMPANY),
    "attention over the batch": (model(lambda t: memorise(Attending(), t.x, t.y)), COMPANY),
    "the mean of the batch taken off": (changed(lambda z: z - z.mean(0) / 2), COMPANY),
    "a batch that is squeezed": (
        changed(lambda z: z.squeeze(0)),
        "for a batch of one record; it gave a tensor of shape (3,): a squeeze()",
    ),
    "dropout in eval mode": (changed(lambda z: F.dropout(z, 0.1)), TWICE),
    "a layer left out now and then": (changed(Sometimes()), TWICE),
    "noise in eval mode": (changed(lambda z: z + 0.1 * torch.randn(z.shape)), TWICE),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal(name: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    check_refused(*REFUSALS[name], tiny, monkeypatch)


@pytest.mark.parametrize(
    "change",
    [
        lambda z: z.log_softmax(1),
        lambda z: z.softmax(1).clamp_min(1e-30).log(),
        lambda z: 1000 * z,
        lambda z: z.bfloat16(),
        lambda z: z.half(),
        lambda z: z - z.amin(1, keepdim=True) + 0.5,
        lambda z: z.sigmoid() - 1,
        lambda z: z + 1e-4 * torch.randn(z.shape),  # as large as what a GPU's kernels may differ by
    ],
    ids=["log", "mended", "sure", "bfloat16", "half", "positive", "shifted", "rounding"],
)
def test_what_is_taken(change: Callable[[Tensor], Tensor], tiny: Tiny) -> None:
    found = Findings()
    task = tiny.task()
    assert check_model(Changed(tiny.model, change), task, Records(task.train, task), found) == CLASSES
    assert found.problems == []


def test_log_probabilities_give_what_logits_give(tiny: Tiny) -> None:
    """A softmax does not change by a constant, so neither does what is steered or measured."""
    small = efface.methods.get("steer", {"rounds": "1", "steps": "5"})
    done = [
        efface.unlearn(tiny.model, forget=tiny.forget, task=tiny.task(forward=forward), method=small)
        for forward in (lambda m, x: m(x), lambda m, x: m(x).log_softmax(1))
    ]
    first, second = (r.model[2].weight for r in done)
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("masked", [True, False])
def test_padding_must_not_be_read(masked: bool, tiny: Tiny) -> None:
    """Texts of one to nine words, padded to the longest of a batch: a mean over the padding too depends on it."""
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randint(1, 64, (1 + i % 9,), generator=generator) for i in range(RECORDS)]

    def collate(rows: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        return pad_sequence([r[0] for r in rows], batch_first=True), torch.stack([r[1] for r in rows])

    def forward(model: nn.Module, words: Tensor) -> Tensor:
        read = model[0](words)
        present = (words > 0).float()[..., None] if masked else torch.ones_like(read[..., :1])
        return model[1]((read * present).sum(1) / present.sum(1))

    found = Findings()
    task = tiny.task(train=list(zip(texts, tiny.y, strict=True)), collate=collate, forward=forward)
    net = nn.Sequential(nn.Embedding(64, 16), nn.Linear(16, CLASSES))
    check_model(net, task, Records(task.train, task), found)
    assert [line[: len(COMPANY)] for line in found.problems] == ([] if masked else [COMPANY])


def test_given_models_are_checked_by_name(tiny: Tiny) -> None:
    request = check_request(tiny.model, tiny.task(), tiny.forget, full=True)
    others = {
        "unlearned": Changed(tiny.model, lambda z: z.softmax(1)),
        "references[0]": Changed(tiny.model, normalised),
        "retrained[1]": Changed(tiny.model, F.dropout),
        "retrained[2]": mlp(),  # may know nothing
    }
    with pytest.raises(efface.RequestError) as caught:
        check_others(others, request)
    starts = [f"unlearned: {PROBABILITIES}", f"references[0]: {COMPANY}", f"retrained[1]: {TWICE}"]
    for line, start in zip(caught.value.problems, starts, strict=True):
        assert line.startswith(start)


def test_a_network_to_build_is_checked_too_and_a_shared_fault_said_once(tiny: Tiny) -> None:
    task = tiny.task(build_model=lambda: Changed(mlp(), lambda z: z.softmax(1)))
    with pytest.raises(efface.RequestError) as caught:
        efface.unlearn(tiny.model, forget=tiny.forget, task=task)
    assert caught.value.problems[0].startswith(f"Task.build_model: {PROBABILITIES}")
    soft = Changed(tiny.fresh(), lambda z: z.softmax(1))
    with pytest.raises(efface.RequestError) as caught:
        efface.unlearn(soft, forget=tiny.forget, task=task)
    assert len(caught.value.problems) == 1


def test_a_data_set_that_augments_at_random_is_not_called_dependent(tiny: Tiny) -> None:
    class Noisy(TensorDataset):
        def __getitem__(self, at: Any) -> Any:
            x, y = super().__getitem__(at)
            return x + torch.randn(x.shape), y

    with pytest.raises(efface.RequestError) as caught:
        efface.unlearn(tiny.model, forget=tiny.forget, task=tiny.task(train=Noisy(tiny.x, tiny.y)))
    assert len(caught.value.problems) == 1 and "differ when read twice" in caught.value.problems[0]


class Head(nn.Module):
    """Fixed features, and a linear layer that learns."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(FEATURES, 8).requires_grad_(False), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).relu())


LINEAR: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "a layer": (lambda: nn.Linear(FEATURES, CLASSES), True),
    "a layer and a log-softmax": (lambda: nn.Sequential(nn.Linear(FEATURES, CLASSES), nn.LogSoftmax(1)), True),
    "two layers without a nonlinearity": (
        lambda: nn.Sequential(nn.Linear(FEATURES, 8), nn.Linear(8, CLASSES)),
        True,
    ),
    "a linear head on fixed features": (Head, True),
    "a hidden layer": (mlp, False),
    "a small hidden layer": (lambda: mlp(2), False),
    "attention": (Attending, False),
}


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_model_is_told_from_others(name: str, tiny: Tiny) -> None:
    make, linear = LINEAR[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = make()
    task = tiny.task()
    assert is_linear(net, task, Records(task.train, task)) == linear


def test_a_linear_model_is_warned_of(tiny: Tiny) -> None:
    net = memorise(nn.Linear(FEATURES, CLASSES), tiny.x, tiny.y)
    result = efface.unlearn(net, forget=tiny.forget, task=tiny.task(), method="noop")
    assert result.warnings[0].startswith("the model is linear, or learns only a linear layer")
    assert efface.unlearn(tiny.model, forget=tiny.forget, task=tiny.task(), method="noop").warnings == ()


def test_a_bag_of_words_with_one_layer_is_linear(tiny: Tiny) -> None:
    words = data(torch.randint(1, 64, (RECORDS, 5), generator=torch.Generator().manual_seed(0)), tiny.y)
    task = tiny.task(train=words)
    assert is_linear(nn.EmbeddingBag(64, CLASSES), task, Records(words, task))
    assert not is_linear(bag(), task, Records(words, task))
