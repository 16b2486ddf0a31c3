"""Facts about a model: its size, its layers, its outputs and how well it does on its records."""

from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parameter import is_lazy

from efface.auditing.doctor.examination import Fact
from efface.data.records import Records
from efface.data.splits import spread
from efface.models.output_checks import not_logits, noun
from efface.models.running import call_forward, device_of, logits_of, mode
from efface.runtime.cost import Meter
from efface.runtime.printing import by_number, how_many
from efface.task import Task

READ = 2000  # records on which accuracy is read
SAMPLE = 64  # records whose outputs are shown


def model_facts(model: nn.Module) -> Iterator[Fact]:
    """Parameters, what of them may change, layers that behave otherwise in training, and the device."""
    parameters = [p for p in model.parameters() if not is_lazy(p)]  # which have no shape yet, as the checks say
    total = sum(p.numel() for p in parameters)
    learning = sum(p.numel() for p in parameters if p.requires_grad)
    dtypes = sorted({str(p.dtype).removeprefix("torch.") for p in parameters})
    words = f"{type(model).__name__} of {how_many(total, 'parameter')} ({', '.join(dtypes)}) on {device_of(model)}"
    yield Fact("model", "parameters", total, words)
    yield Fact("model", "dtypes", dtypes)
    yield Fact("model", "device", str(device_of(model)))
    frozen = (
        ""
        if learning == total
        else f"{learning:,} of them {by_number(learning, 'is', 'are')} trainable (requires_grad=True)"
    )
    yield Fact("model", "trainable", learning, frozen)
    layers = Counter(type(m).__name__ for m in model.modules() if isinstance(m, _BatchNorm | _DropoutNd))
    listed = ", ".join(f"{n} {name}" for name, n in sorted(layers.items()))
    yield Fact(
        "model", "special_layers", dict(layers), f"layers that act otherwise in training: {listed}" * bool(listed)
    )


def output_facts(model: nn.Module, task: Task, records: Records) -> Iterator[Fact]:
    """Shape and range of the outputs of some records."""
    batch = records.read(spread(len(records), min(SAMPLE, task.batch_size))).to(device_of(model))
    with mode(model, training=False), torch.no_grad():
        out = call_forward(task, model, batch.inputs)
    if not isinstance(out, Tensor):
        yield Fact("outputs", "type", type(out).__name__, f"the model returns a {type(out).__name__}, not a tensor")
        return
    shape = ["records", *out.shape[1:]]
    low, high = float(out.min()), float(out.max())
    fit = out.is_floating_point() and task.rules.wrong_outputs(out, batch.targets) is None
    are_logits = fit and not_logits(out, task) is None
    name = noun(task)
    usual = f"they look like {name}" if task.rules.is_probable else "they are taken as they are"
    what = usual if are_logits else f"they are not used as {name} (see the problems)"
    words = f"({', '.join(map(str, shape))}), from {low:.3g} to {high:.3g}: {what}"
    yield Fact("outputs", "shape", shape, words)
    yield Fact("outputs", "range", [low, high])
    yield Fact("outputs", "look_like_logits", are_logits)


def accuracy_facts(model: nn.Module, task: Task, sets: dict[str, Records]) -> Iterator[Fact]:
    """Accuracy, or what else is useful for the task's kind, on up to 2,000 records of each data set."""
    found = {}
    for name, records in sets.items():
        at = spread(len(records), READ)
        if len(at):
            useful = task.rules.useful(logits_of(task, model, records, at, Meter()), records.targets(at))
            found[name] = float(useful.mean())
    shown = ", ".join(f"{value:.3f} on {name} records" for name, value in found.items())
    yield Fact("outputs", "accuracy", found, f"{task.rules.measure} {shown}")
