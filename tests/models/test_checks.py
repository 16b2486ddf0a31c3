"""Models that `efface.unlearn` refuses, and fresh starts that cannot be made, before any work."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import efface
from efface.models.checkpoint import load_weights
from helpers.networks import Labelled
from helpers.refused import (
    Break,
    Demanding,
    Scaled,
    Wrapped,
    adapted,
    check_refused,
    data,
    fails,
    model,
    poisoned,
    task,
)
from helpers.tiny import FEATURES, REFERENCE, Tiny, mlp, weights

REFUSALS: dict[str, tuple[Break, str]] = {
    # the model
    "NaN in the weights": (model(poisoned), "the model's weights hold NaN or infinite values"),
    "not a model": (model(lambda t: torch.sum), "model: expected a torch.nn.Module"),
    "no parameters": (model(lambda t: nn.Identity()), "the model has no parameters"),
    "3-D logits": (
        model(lambda t: Wrapped(lambda z: z[:, None])),
        "for 64 records the model gives float32 of shape (64, 1, 3), and their targets are int64 of shape (64,), which "
        "fits no kind of task (classes, binary, multilabel, tokens, regression): give Task.forward or Task.unpack; "
        "efface covers models that give each record one class",
    ),
    "1-D logits": (
        model(lambda t: Wrapped(lambda z: z[:, 0])),
        "the kind of the task cannot be told: for 64 records the model gives float32 of shape (64,), and their targets "
        'are int64 of shape (64,). State it: Task.kind="regression" (one or more real values); a model of several',
    ),
    "boxes of objects": (
        model(lambda t: Wrapped(lambda z: {"boxes": z, "scores": z})),
        "it gave dict: give Task.forward; efface covers models that give each record one class, labels, real values or "
        "a sequence of classes; detection, generation of images and reinforcement learning are not covered",
    ),
    "pictures of pictures": (
        lambda t: {
            "model": Wrapped(lambda z: z[:, :, None, None].expand(-1, -1, 4, 4)),
            "task": t.task(train=data(t.x, torch.rand(len(t.x), 3, 4, 4))),
        },
        "which fits no kind of task",
    ),
    "logits of other labels than a stated kind has": (
        lambda t: {"model": t.model, "task": t.task(kind="binary")},
        "the model must return one logit a record, (records,) or (records, 1); for 2 records it gave a tensor of shape",
    ),
    "a tuple": (model(lambda t: Wrapped(lambda z: (z, z))), "for 2 records it gave tuple: give Task.forward"),
    "classes, not logits": (model(lambda t: Wrapped(lambda z: z.long())), "the model must return logits"),
    "one logit": (model(lambda t: Wrapped(lambda z: z[:, :1])), "the kind of the task cannot be told"),
    "a model that raises": (
        model(lambda t: Wrapped(fails)),
        "cannot read the records (ValueError: no such thing): give Task",
    ),
    "another number of features": (model(lambda t: nn.Linear(7, 3)), "the model cannot read the records (RuntimeError"),
    "logits that are not finite": (
        model(lambda t: Wrapped(lambda z: z.index_fill(1, torch.tensor([2]), -torch.inf))),
        "the model's logits hold NaN or infinite values: give a class that is masked a finite logit",
    ),
    "half precision": (
        lambda t: {
            "model": mlp().half(),
            "task": t.task(train=data(t.x.half(), t.y), holdout=data(t.holdout_x.half(), t.holdout_y)),
        },
        "float16 weights cannot be trained: convert with model.float() or model.bfloat16(), and back afterwards",
    ),
    "lazy layers": (model(lambda t: nn.LazyLinear(3)), "the model has lazy layers without a shape"),
    # a fresh start
    "no fresh start": (model(lambda t: Scaled()), "no module resets scale by a reset_parameters"),
    "adapters that stay as trained": (model(lambda t: adapted()), "no module resets 0.down, 0.up by a reset_para"),
    "weight norm": (
        model(lambda t: nn.Sequential(weight_norm(nn.Linear(FEATURES, 3)))),
        "no module resets 0.parametrizations.weight.original0, 0.parametrizations.weight.original1 by",
    ),
    "a reset that wants an argument": (
        model(lambda t: Demanding(FEATURES, 3)),
        "the model cannot be copied and reset (TypeError: reset_parameters() wants a scale): give Task.build_model",
    ),
    "build_model gives the model itself": (
        task(build_model=lambda t: lambda: t.model),
        "Task.build_model gives the model itself: build_model must make a new, untrained network",
    ),
    "build_model wraps the model itself": (
        task(build_model=lambda t: lambda: nn.Sequential(t.model)),
        "Task.build_model gives the model itself",
    ),
    "build_model copies the model": (
        task(build_model=lambda t: t.fresh),
        "Task.build_model gives the model's own weights: build_model must make a new, untrained network",
    ),
    "build_model raises": (
        task(build_model=lambda t: lambda: fails(t.x)),
        "Task.build_model raised ValueError: no such",
    ),
    "build_model makes no model": (task(build_model=lambda t: dict), "expected a torch.nn.Module, got dict"),
    "build_model makes no parameters": (task(build_model=lambda t: nn.Identity), "a network without parameters"),
    "build_model makes lazy layers": (
        lambda t: {"model": nn.Linear(FEATURES, 3), "task": t.task(build_model=lambda: nn.LazyLinear(3))},
        "Task.build_model gave lazy layers without a shape: let it run the network on a batch first",
    ),
    "lazy layers beside a build_model": (
        lambda t: {"model": nn.LazyLinear(3), "task": t.task(build_model=lambda: nn.Linear(FEATURES, 3))},
        "the model has lazy layers without a shape",
    ),
    "build_model for other features": (
        task(build_model=lambda t: lambda: nn.Linear(7, 3)),
        "Task.build_model: the model cannot read the records (RuntimeError",
    ),
    "build_model for other classes": (
        task(build_model=lambda t: lambda: nn.Linear(FEATURES, 5)),
        "Task.build_model: its network has 5 classes where the model has 3",
    ),
    "fine-tuned": (task(fine_tuned=lambda t: True), "the model was fine-tuned, so a fresh start needs"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal(name: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    check_refused(*REFUSALS[name], tiny, monkeypatch)


@pytest.mark.parametrize("method", ["steer", "scrub", "noop"])
def test_state_that_is_no_tensor_is_carried_and_told(method: str, tiny: Tiny, tmp_path: Path) -> None:
    model = Labelled(["a", "b"])
    model.net.load_state_dict(tiny.model.state_dict())
    options = efface.UnlearnOptions(reference=REFERENCE, stop=efface.UtilityFloor(drop=0.0))  # so that it goes back
    result = efface.unlearn(model, forget=tiny.forget, task=tiny.task(), method=method, options=options)
    assert result.model.names == {"names": ["a", "b"]} and result.model.names is not model.names
    assert result.warnings[0].startswith("the model has state that is no tensor (_extra_state): the unlearned model")
    efface.audit(result, level="quick")
    file = tmp_path / "w.safetensors"
    result.save(file)
    other = Labelled(["c"])
    load_weights(other, file)
    assert weights(other) == weights(result.model) and other.names == {"names": ["c"]}


def test_tensors_that_no_file_holds_are_refused_before_any_work(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    def sparse(t: Tiny) -> nn.Module:
        net = t.fresh()
        net.register_buffer("graph", torch.eye(3).to_sparse())
        return net

    check_refused(model(sparse), "sparse, quantised or meta tensors (graph): use dense ones", tiny, monkeypatch)


@pytest.mark.parametrize(
    ("frozen", "said"),
    [
        ((), ()),
        ((2,), ()),
        ((0,), ("only 147 of the model's 963 parameters are trainable (requires_grad=True) and may change",)),
        ((0, 2), ("all parameters of the model are frozen (requires_grad=False), so all are changed, and frozen",)),
    ],
    ids=["none", "few", "most", "all"],
)
def test_frozen_parameters_are_told(frozen: tuple[int, ...], said: tuple[str, ...], tiny: Tiny) -> None:
    net = tiny.fresh()
    for at in frozen:
        net[at].requires_grad_(False)
    result = efface.unlearn(
        net, forget=tiny.forget, task=tiny.task(), method="finetune", options=efface.UnlearnOptions(evaluate=False)
    )
    about = [line for line in result.warnings if "parameters" in line]
    assert len(about) == len(said) and all(line.startswith(start) for line, start in zip(about, said, strict=True))
    for at in (0, 2):
        stays = at in frozen and frozen != (0, 2)
        assert torch.equal(net[at].weight, result.model[at].weight) == stays
        assert result.model[at].weight.requires_grad == (at not in frozen)
