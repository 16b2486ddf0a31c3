"""Models that know nothing of their training records are refused; those that know little, or say it badly, are not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import efface
from efface import RequestError, Task
from efface.data.checks import Findings
from efface.data.records import Records
from efface.models.knowledge import (
    by_luck,
    check_knowledge,
    likelihoods,
    own_class_gain,
    refitted_gain,
    standard_errors,
)
from helpers.tiny import CLASSES, FEATURES, RECORDS, Tiny, memorise, mlp, records

NOTHING = "the model knows nothing of its training records: the mean log-likelihood of the labels of"


class Given(nn.Module):
    """Gives each record the logits that are its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


def problems(model: nn.Module, x: Tensor, y: Tensor) -> list[str]:
    data, found = TensorDataset(x, y), Findings()
    task = Task(train=data, holdout=data)
    check_knowledge(model, task, Records(data, task), found)
    return found.problems


def drawn(logits: Tensor, seed: int) -> Tensor:
    """Labels that a calibrated model of these logits would see."""
    return logits.softmax(1).multinomial(1, generator=torch.Generator().manual_seed(seed)).squeeze(1)


def untrained(seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return mlp()


def test_an_untrained_network_is_refused_at_both_ends(tiny: Tiny) -> None:
    net = untrained(0)
    with pytest.raises(RequestError, match=NOTHING):
        efface.unlearn(net, forget=tiny.forget, task=tiny.task())
    with pytest.raises(RequestError, match=NOTHING):
        efface.audit_models(net, tiny.model, forget=tiny.forget, task=tiny.task())
    off = efface.UnlearnOptions(checks=False)
    result = efface.unlearn(net, forget=tiny.forget, task=tiny.task(), method="noop", options=off)
    assert "nor whether the model knows its records" in result.warnings[-1]


def test_the_unlearned_model_of_an_audit_may_know_nothing(tiny: Tiny) -> None:
    efface.audit_models(tiny.model, untrained(0), forget=tiny.forget, task=tiny.task(), level="quick")


@pytest.mark.parametrize(("classes", "most"), [(3, 0.03), (10, 0.0)])
def test_how_often_an_untrained_network_passes(classes: int, most: float) -> None:
    """A network that separates classes by luck does not use what it separates; see `by_luck`."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(600) % classes
    x = torch.randn(600, FEATURES, generator=generator) + 3.5 * F.one_hot(y, FEATURES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        nets = [nn.Sequential(nn.Linear(FEATURES, 48), nn.ReLU(), nn.Linear(48, classes)) for _ in range(100)]
    assert sum(not problems(net, x, y) for net in nets) <= most * len(nets)


BROKEN: dict[str, Callable[[Tensor], Tensor]] = {
    "the classes in another order": lambda z: z.roll(1, 1),
    "the records in another order": lambda z: z.roll(1, 0),
    "distances, not logits": lambda z: -z,
    "the label frequencies alone": lambda z: torch.zeros_like(z),
    "noise that is sure": lambda z: 50 * torch.randn(z.shape, generator=torch.Generator().manual_seed(1)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_knows_nothing(name: str, tiny: Tiny) -> None:
    with torch.no_grad():
        assert [p[: len(NOTHING)] for p in problems(Given(), BROKEN[name](tiny.model(tiny.x)), tiny.y)] == [NOTHING]


def test_frequencies_that_the_model_has_learned_are_no_knowledge() -> None:
    y = (torch.arange(2000) % 20 == 0).long()
    frequencies = torch.tensor([0.95, 0.05]).log().expand(2000, 2)
    noisy = frequencies + 0.01 * torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    assert problems(Given(), frequencies, y) and problems(Given(), noisy, y)


@pytest.mark.parametrize("scale", [1.0, 100.0, 2000.0])
def test_labels_known_by_heart_may_be_known_too_surely(scale: float) -> None:
    """A fifth of the labels is random, and a tenth is not learned: at 2000 the mean log-likelihood is near -200."""
    x, y = records(RECORDS, seed=0)
    net = memorise(mlp(), x, y)
    y = torch.where(torch.arange(RECORDS) % 10 == 3, (y + 1) % CLASSES, y)
    with torch.no_grad():
        assert problems(Given(), scale * net(x), y) == []


def test_a_model_trained_with_class_weights_is_taken() -> None:
    """Of 99 records to 1 it calls far too many the rare one: by likelihood it is worse than the frequencies."""
    generator = torch.Generator().manual_seed(0)
    y = (torch.arange(4000) % 100 == 0).long()
    margin = 2.0 * (2 * y - 1) + torch.randn(4000, generator=generator)
    logits = torch.stack([-margin / 2, margin / 2], 1)
    frequencies = torch.tensor([0.99, 0.01]).log()[y].mean()
    assert logits.log_softmax(1)[torch.arange(4000), y].mean() < frequencies
    assert problems(Given(), logits, y) == []


@pytest.mark.parametrize(("records", "gain"), [(500, 0.2), (1000, 0.08), (5000, 0.02)])
def test_a_weak_model_is_hardly_ever_refused(records: int, gain: float) -> None:
    """None of 1,000 draws was when this was written, so of 100 two are less than once in 200 times."""
    spread = (8 * gain) ** 0.5  # with which two classes of equal size are told by that many nats
    refused = 0
    for seed in range(100):
        z = spread * torch.randn(records, generator=torch.Generator().manual_seed(1000 + seed))
        logits = torch.stack([-z / 2, z / 2], 1)
        refused += bool(problems(Given(), logits, drawn(logits, seed)))
    assert refused <= 1


def test_many_classes_few_records_of_each() -> None:
    """With 4,000 items and 2,000 records, the frequencies of the sample say more than any model should."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2000, 4000, generator=generator) * 1.5
    y = drawn(logits, 1)
    assert problems(Given(), logits, y) == []
    assert problems(Given(), logits, y.roll(1)) != []


def test_rare_classes_that_the_sample_lacks_are_no_fault() -> None:
    for at in (0, -1):
        y = torch.zeros(5000, dtype=torch.int64)
        y[np.random.default_rng(0).permutation(5000)[at]] = 1  # in the sample, and not in it
        assert problems(Given(), 6.0 * F.one_hot(y, 2), y) == []


@pytest.mark.parametrize("rare", [1, 5])
def test_a_few_records_of_a_rare_class_say_nothing(rare: int, tiny: Tiny) -> None:
    y = (torch.arange(300) < rare).long()
    sound = torch.tensor([0.98, 0.02]).log().expand(300, 2) + torch.randn(300, 2, generator=torch.Generator()) / 100
    assert problems(Given(), sound, y) == []
    assert problems(untrained(0), tiny.x[:300], y) != []


def test_a_gain_over_the_frequencies_of_a_common_class_is_no_luck() -> None:
    """Smoothed labels, and a rare class that is mostly wrong labels: a map of the logits would gain much more."""
    generator = torch.Generator().manual_seed(0)
    y = (torch.arange(4000) % 17 == 0).long()
    z = torch.randn(4000, generator=generator) + (y == 1) * (torch.rand(4000, generator=generator) < 0.6) * 2.5
    logits = torch.stack([torch.full((4000,), 1.25), -1.25 + 0.25 * z], 1)
    score, usual = likelihoods(logits, y)
    assert standard_errors(score - usual) > 3 and not own_class_gain(logits, y)
    assert float((score - usual).mean()) < 0.6 * refitted_gain(logits, y)
    assert problems(Given(), logits, y) == []


def test_labels_that_do_not_fit_are_left_to_other_checks(tiny: Tiny) -> None:
    for y in (tiny.y.float(), tiny.y + 2, tiny.y - 1):
        assert problems(untrained(0), tiny.x, y) == []


def test_masked_classes_say_nothing(tiny: Tiny) -> None:
    with torch.no_grad():
        z = F.pad(tiny.model(tiny.x), (0, 1), value=float(torch.finfo(torch.float32).min))
        assert problems(Given(), z, tiny.y) == []
        assert problems(Given(), F.pad(untrained(0)(tiny.x), (0, 1), value=-1e4), tiny.y) != []


def test_the_standard_error_of_a_mean() -> None:
    values = torch.tensor([1.0, 3.0, 1.0, 3.0])
    assert standard_errors(values) == pytest.approx(2.0 / (1.0 / 2))
    assert standard_errors(torch.zeros(4)) == 0.0 and standard_errors(torch.ones(4)) == float("inf")


def test_the_gain_of_a_class_on_its_own_records(tiny: Tiny) -> None:
    with torch.no_grad():
        z: Any = tiny.model(tiny.x)
    assert own_class_gain(z, tiny.y) and own_class_gain(z + torch.tensor([5.0, 0.0, -5.0]), tiny.y)
    assert not own_class_gain(z * 1e-3, tiny.y) and not own_class_gain(z.roll(1, 0), tiny.y)
    assert not own_class_gain(z[:1], tiny.y[:1]), "one class alone"


def test_what_a_linear_map_of_the_logits_gains(tiny: Tiny) -> None:
    """Logits that were trained gain little by another map, and those in another order all that they hold."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        z = memorise(mlp(), tiny.x, tiny.y, steps=20)(tiny.x).detach()
    score, usual = likelihoods(z, tiny.y)
    gain = float((score - usual).mean())
    assert refitted_gain(z, tiny.y) == pytest.approx(gain, abs=0.1)
    assert refitted_gain(1e-3 * z.roll(1, 1), tiny.y) == pytest.approx(refitted_gain(z, tiny.y), abs=1e-3)
    assert not by_luck(z, tiny.y) and by_luck(0.01 * z, tiny.y)
