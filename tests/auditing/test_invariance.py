"""That scores depend on the records and the models alone: not on orders, batch sizes, threads or devices."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from efface import Report
from efface.runtime.devices import threads
from helpers.judged import FORGET, HOLDOUT, WIDTH, Judged, problem, reordered
from helpers.tiny import CLASSES, FEATURES, memorise

EXACT = {"loss", "entropy", "modified_entropy", "rmia", "lira", "spread", "other_classes", "probe", "loss_marginal"}
NEAR = 1e-5  # of other readings, which sum floats in another order
ORDER = np.random.default_rng(8).permutation(len(FORGET))


@cache
def again() -> tuple[nn.Module, ...]:
    return tuple(problem().without(seed) for seed in (61, 62, 63))


def audited(level: str = "standard", **changes: Any) -> Report:
    judged = problem()
    retrained: Sequence[nn.Module] = again()[1:] if level == "standard" else ()
    return judged.audit(**{"unlearned": again()[0], "retrained": retrained, "level": level, **changes})


@cache
def plain(level: str = "standard") -> Report:
    return audited(level)


def readings(report: Report) -> dict[tuple[str, str, str], list[float]]:
    found = {}
    for m in report.metrics:
        for who in ("original", "unlearned", "retrained"):
            e = getattr(m, who).estimate
            if e is not None:
                found[m.key, m.records, who] = [e.value, e.low, e.high]
    return found


def check_alike(one: Report, other: Report, but: frozenset[str] = frozenset(), near: float = NEAR) -> None:
    """Every reading and test, the verdict; and that there is something to compare."""
    ours, theirs = readings(one), readings(other)
    assert ours.keys() == theirs.keys() and len(ours) > 20
    for key, value in ours.items():
        if key[0] not in but:
            exactly = key[0] in EXACT and near == NEAR
            assert theirs[key] == pytest.approx(value, abs=1e-12 if exactly else near, rel=1e-12, nan_ok=True), key
    assert [r.key for r in one.tests] == [r.key for r in other.tests]
    for a, b in zip(one.tests, other.tests, strict=True):
        if a.key not in but:
            assert (a.p, a.margin) == pytest.approx((b.p, b.margin), abs=near), a.key
    assert but or one.verdict.status is other.verdict.status


def by_record(report: Report) -> dict[int, dict[str, Any]]:
    return {r["id"]: r for r in report.document["records"]}


@pytest.mark.parametrize("level", ["quick", "standard"])
def test_the_order_of_forget_ids_is_no_matter(level: str) -> None:
    shuffled = audited(level, forget=[FORGET[i] for i in ORDER])
    check_alike(plain(level), shuffled)
    ours, theirs = by_record(plain(level)), by_record(shuffled)
    assert list(ours) == list(FORGET) != list(theirs)
    for name, record in ours.items():
        for key, value in record.items():
            wanted = pytest.approx(value, rel=1e-6, abs=1e-6) if isinstance(value, float) else value
            assert theirs[name][key] == wanted, (name, key)
    told = plain(level).document["exchangeable"], shuffled.document["exchangeable"]
    assert told[0] == told[1]
    for key in ("ids_digest", "count", "kind"):
        assert plain(level).document["request"][key] == shuffled.document["request"][key]


@pytest.mark.parametrize("level", ["quick", "standard"])
def test_the_batch_size_is_no_matter(level: str) -> None:
    assert problem().task.batch_size == 1024
    check_alike(plain(level), audited(level, task=replace(problem().task, batch_size=7)))


def narrow(judged: Judged, features: int) -> tuple[Any, nn.Module]:
    """The problem with fewer features, and a model that knows its records."""
    x, y = judged.task.holdout.tensors  # type: ignore[attr-defined]
    sets = TensorDataset(judged.x[:, :features], judged.y), TensorDataset(x[:, :features], y)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(features, WIDTH), nn.ReLU(), nn.Linear(WIDTH, CLASSES))
        memorise(net, sets[0].tensors[0], judged.y, steps=100)
    return replace(judged.task, train=sets[0], holdout=sets[1], test=None), net


@pytest.mark.parametrize(
    "features",
    [
        FEATURES,
        13,  # torch fills normal noise in blocks of 16 numbers a call
    ],
)
def test_perturbed_copies_are_the_same_for_any_batch_size(features: int) -> None:
    task, net = narrow(problem(), features)
    found = []
    for size in (1024, 7):
        report = problem().audit(original=net, unlearned=net, task=replace(task, batch_size=size), level="quick")
        found.append(readings(report)["perturbed", "all", "original"])
    assert found[0] == pytest.approx(found[1], abs=NEAR)


def test_the_number_of_threads_is_no_matter() -> None:
    """References are handed in: to train such small ones by two threads takes a minute where cores are busy."""
    given: dict[str, Any] = {"references": list(again()[1:]), "retrained": ()}
    assert torch.get_num_threads() == 1
    here = audited(**given)
    with threads(2):
        there = audited(**given)
    check_alike(here, there)
    assert (here.document["threads"], there.document["threads"]) == (1, 2)


def test_the_order_of_holdout_records_is_no_matter_but_to_the_noise_on_copies() -> None:
    """Of a model from elsewhere, which is judged on all of the holdout; of a run, other records would be set aside.

    A record's noise is drawn in the order of the data set, so the copies are others.
    """
    other = audited(task=reordered(problem(), np.random.default_rng(4).permutation(HOLDOUT)))
    assert len(other.inputs.nonmembers) == HOLDOUT
    check_alike(plain(), other, but=frozenset({"perturbed", "relearn"}))
    for key, near in (("perturbed", 0.1), ("relearn", 0.01)):
        for who in ("original", "unlearned"):
            ours, theirs = (readings(r)[key, "all", who][0] for r in (plain(), other))
            assert ours == pytest.approx(theirs, abs=near), (key, who)


def test_a_change_that_matters_is_seen() -> None:
    """The comparison above is no empty one."""
    with pytest.raises(AssertionError):
        check_alike(plain(), audited(unlearned=again()[1], retrained=(again()[0], again()[2])))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here: scores on one are not tried")
def test_the_device_is_no_matter() -> None:
    """Matrix products round otherwise there: a rank or two of 40 records among 40 nonmembers may swap."""
    judged = problem()
    given: dict[str, Any] = {
        "references": list(again()[1:]),
        "retrained": (),
        "original": judged.original,
        "unlearned": again()[0],
    }

    def moved(value: Any) -> Any:
        if isinstance(value, nn.Module):
            return copy.deepcopy(value).cuda()
        return type(value)(moved(v) for v in value)

    here = judged.audit(**given)
    there = judged.audit(**{name: moved(value) for name, value in given.items()})
    assert there.document["device"].startswith("cuda")
    check_alike(here, there, but=frozenset({"relearn", "probe"}), near=2e-3)
