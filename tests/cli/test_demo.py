"""The demo on real data, with its training and its audits cut short."""

import io
from typing import Any

import pytest
import torch
from torch import nn

from efface.auditing.report.document import validate
from efface.cli import demo, pen_demo
from efface.cli.demo_display import show_demo, verdict_of_nothing
from efface.cli.pen_demo import PenNetwork, pen_setting
from efface.cli.pen_picture import COLUMNS, ROWS, picture, side_by_side
from efface.data.sets import distinct


@pytest.fixture(scope="module")
def made() -> demo.DemoRun:
    """A demo whose networks are trained for two epochs; the process's random state must not change."""

    def fit(model: nn.Module, data: Any, seed: int) -> None:
        optimiser = torch.optim.Adam(model.parameters(), lr=2e-2)
        demo.train_by_cross_entropy(model, data, seed, optimiser, epochs=2, batch=256)

    torch.manual_seed(3)
    state = torch.get_rng_state()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pen_demo, "fit_pen", fit)
        run = demo.run_demo(pen_setting, seed=1, device="cpu", progress=False)
    assert torch.equal(torch.get_rng_state(), state)
    return run


def test_the_demo_audits_unlearning_and_doing_nothing_alike(made: demo.DemoRun) -> None:
    result, report, nothing = made.result, made.report, made.doing_nothing
    assert report.result is result and report.seed == result.seed == nothing.seed == 1
    assert result.method.key == "steer" and len(result.forget) == 300
    assert result.method == type(result.method)()  # no option is tuned for the demo
    for audited in (report, nothing):
        document = audited.document
        validate(document)
        assert document["title"] == "Demo: 300 of 3,000 drawings of digits are withdrawn"
        assert document["level"] == "standard" and document["cost"]["retrain"]["models"] == 1
    assert report.document["weights"]["original"] == nothing.document["weights"]["unlearned"]
    assert report.document["weights"]["original"] != report.document["weights"]["unlearned"]
    assert [t.original for t in report.tests] == [t.original for t in nothing.tests]
    assert [t.key for t in report.tests] == ["entropy", "rmia", "lira", "spread", "other_classes", "probe"]


def test_what_the_demo_prints(made: demo.DemoRun) -> None:
    out = io.StringIO()
    show_demo(made, {"page": "demo-run/report.html"}, out)
    said = out.getvalue()
    for words in ("Asked: 300 of the 3,000 drawings", "Done: the weights were changed by steer", "Result: "):
        assert words in said
    parts = ["Asked: ", "Done: ", "Found by the same audit", "Result: ", "Meaning: "]
    parts += ["Next: "] * bool(made.report.verdict.next_steps) + ["File: "]
    assert sorted(parts, key=said.index) == parts
    statuses = [str(audited.verdict.status) for audited in (made.doing_nothing, made.report)]
    lines = said.splitlines()
    for name, status in zip(("doing nothing", "unlearned"), statuses, strict=True):
        assert any(name in line and status in line for line in lines)
    labels = made.setting.task.train[made.result.splits.forget[:5]][1].tolist()
    assert [f"label {y}" in said for y in labels] == [True] * 5
    assert lines[-1] == "File: demo-run/report.html"
    assert verdict_of_nothing(made)["status"] == statuses[0]


def test_the_drawings_are_divided_without_overlap() -> None:
    one, again, other = (pen_setting(seed) for seed in (0, 0, 1))
    parts = [part.tensors for part in (one.task.train, one.task.holdout, one.task.test)]  # type: ignore[union-attr]
    assert [len(y) for _, y in parts] == [3000, 4000, 1000]
    x = torch.cat([x for x, _ in parts])
    assert len(distinct(x)) == len(x)
    assert torch.equal(parts[0][1], again.task.train.tensors[1])  # type: ignore[attr-defined]
    assert not torch.equal(parts[0][0], other.task.train.tensors[0])  # type: ignore[attr-defined]
    assert one.kinds == {"withdrawn": list(range(300))}


def test_the_network_reads_the_order_of_the_points() -> None:
    torch.manual_seed(0)
    model, x = PenNetwork(), torch.tensor([[0, 100] * 8, [100, 0] * 8])
    assert model(x).shape == (2, 10)
    assert not torch.allclose(model(x)[0], model(x)[1])
    assert int(model.get_buffer("first_cell")[-1]) + 13 * 13 == model.pairs.num_embeddings


def test_a_picture_joins_the_points() -> None:
    rows = picture([0, 100, 100, 100] + [100, 0] * 6)
    assert len(rows) == ROWS and rows[0] == "#" * COLUMNS
    assert all(row == " " * (COLUMNS - 1) + "#" for row in rows[1:])
    both = side_by_side([[0, 0] * 8, [100, 0] * 8], ["left", "right"])
    assert both[-2] == "#" + " " * (2 * COLUMNS + 1) + "#" and both[-1] == f"{'left':<{COLUMNS}}   right"
