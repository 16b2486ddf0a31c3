"""The demo on real data, with its training cut short."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from efface.auditing.report.document import validate
from efface.cli import demo
from efface.data.sets import distinct


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two retrained models, and enough training to know something of the records."""

    def fit(model: nn.Module, data: Any, seed: int) -> None:
        demo.train_by_cross_entropy(
            model, data, seed, torch.optim.Adam(model.parameters(), lr=2e-3), epochs=3, batch=64
        )

    monkeypatch.setattr(demo, "RETRAINED", 2)
    monkeypatch.setattr(demo, "fit_digits", fit)


@pytest.mark.usefixtures("short")
def test_the_demo_on_digits() -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    run = demo.run_demo(seed=1, device="cpu", progress=False)
    assert torch.equal(torch.get_rng_state(), state)
    result, report = run.result, run.report
    assert report.result is result and report.seed == result.seed == 1
    assert result.method.key == "steer" and len(result.forget) == 48
    document = report.document
    validate(document)
    assert document["title"].startswith("Demo: handwritten digits")
    assert document["request"]["kinds"] == {"ordinary": 24, "wrongly labelled": 24}
    assert {m.records for m in report.metrics} == {"all", "ordinary", "wrongly labelled"}
    assert len(report.table.scores.retrained) == 2
    assert document["cost"]["retrain"]["models"] == 2 and document["cost"]["ratio_cpu"] > 0
    # the holdout of the demo is too small to tell a rate of 1 %
    assert {m.key for m in report.metrics if m.retrained.state != "measured"} == {"tpr"}
    assert document["level"] == "standard" and report.tests
    digests = document["weights"]
    assert digests["original"] != digests["unlearned"]


def test_the_digits_are_divided_without_overlap() -> None:
    one, again, other = (demo.digits_setting(seed) for seed in (0, 0, 1))
    task = one.task
    parts = [part.tensors for part in (task.train, task.holdout, task.test)]  # type: ignore[union-attr]
    assert [len(y) for _, y in parts[:2]] == [1000, 480]
    x = torch.cat([x for x, _ in parts])
    assert len(distinct(x)) == len(x)
    assert one.kinds == again.kinds != other.kinds
    ordinary, odd = (set(ids) for ids in one.kinds.values())
    assert len(ordinary) == len(odd) == 24 and not ordinary & odd
    # every odd record has a label that the 1-nearest of the ordinary digits mostly contradicts
    kept = np.setdiff1d(np.arange(1000), [*odd])
    flat, y = parts[0][0].flatten(1), parts[0][1]
    for group, most in ((one.kinds["wrongly labelled"], 0.2), (one.kinds["ordinary"], 1.0)):
        rest = torch.from_numpy(np.setdiff1d(kept, group))
        nearest = rest[torch.cdist(flat[group], flat[rest]).argmin(1)]
        agree = float((y[nearest] == y[group]).double().mean())
        assert agree <= most and (most < 1 or agree > 0.6)
