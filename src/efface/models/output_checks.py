"""Checks of how outputs behave: they are what the kind takes, each record has one answer, a model is not linear."""

import torch
from torch import Tensor, nn

from efface.data.checks import Findings
from efface.data.contents import has_finite_inputs
from efface.data.nesting import map_tensors, tensors_in
from efface.data.records import Batch, Records
from efface.data.splits import spread
from efface.errors import describe_error
from efface.kinds import Kind
from efface.kinds.mistaken import LOG
from efface.models.running import call_forward, device_of, forward, mode, rows_at_a_time
from efface.task import Task, call_model
from efface.types import Indices

SAMPLE = 64  # records that are read together
ALONE = 8  # of these, so many are read alone too

TWICE = (
    "the model's {outputs} differ when the same records are read twice, so it draws at random in eval mode: "
    "F.dropout needs training=self.training, and sampling must end with model.eval()"
)

# Largest difference of a record's logits that is rounding, as a share of how far logits vary from record to record;
# larger where a dtype rounds more. Batches of another size or padding use other kernels (TF32 among them), which the
# same batch does not.
IN_COMPANY, READ_AGAIN = (0.02, 16), (0.002, 4)  # the share, and its least multiple of the dtype's relative rounding


def check_outputs(
    model: nn.Module, task: Task, records: Records, found: Findings, finite: bool, stable: bool, trained: bool
) -> None:
    """Check the outputs on 64 records: two passes over them together, and one over each of eight alone.

    Args:
        model: A model that returns what the task's kind takes for two records.
        task: The task, for its hooks and its kind.
        records: The training records.
        found: Problems are added to this.
        finite: Whether the outputs must be finite.
        stable: Whether records are the same when read twice; if not, none are read alone.
        trained: Whether the model is trained.
    """
    rules, twice = task.rules, TWICE.format(outputs=noun(task))
    at = _sample(model, task, records)
    batch = records.read(at).to(device_of(model))
    with mode(model, training=False), torch.no_grad():
        try:
            raw, second = (call_forward(task, model, batch.inputs) for _ in range(2))
        except Exception as error:  # a user's model may raise anything; report it in one line
            found.add_problem(f"the model reads 2 records but not {len(at)} together ({describe_error(error)})")
            return
    if rules.wrong_outputs(raw, batch.targets) or second.shape != raw.shape:
        found.add_problem(wrong_shape(raw, batch.targets, rules))
    elif not bool(raw.isfinite().all()):
        if finite and has_finite_inputs(batch):  # inputs that are not finite are reported elsewhere
            found.add_problem(_not_finite(raw, task))
    elif problem := not_logits(raw, task, trained):
        found.add_problem(problem)
    elif rules.wrong_targets(batch.targets, width_of(raw)):
        return  # reported where all targets are read
    else:
        first = rules.values(raw, batch.targets)
        if not _apart(rules, first, rules.values(second, batch.targets), first) <= _tolerance(
            model, raw.dtype, first, rules, READ_AGAIN
        ):
            found.add_problem(twice)
        elif stable:
            before = len(found.problems)
            _check_company(model, task, records, at, raw, found)
            if len(found.problems) > before and _draws(model, task, batch, raw):
                found.problems[before:] = [twice]


def width_of(outputs: Tensor) -> int:
    """The size of the last dimension of outputs; 1 where there is one number a record."""
    return outputs.shape[-1] if outputs.ndim > 1 else 1


def noun(task: Task) -> str:
    """What outputs are called in messages."""
    return "logits" if task.rules.is_probable else "outputs"


def wrong_shape(out: object, targets: Tensor, rules: Kind) -> str:
    """The line of a refusal where a model returns something else than its kind takes for some records."""
    what = rules.wrong_outputs(torch.empty(0), targets)
    return f"the model must return {what}; for {len(targets)} records it gave {_what(out)}: give Task.forward"


def _what(out: object) -> str:
    return f"a tensor of shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__


def _draws(model: nn.Module, task: Task, batch: Batch, raw: Tensor) -> bool:
    """Whether a model that seems to depend on the company draws at random, for a whole batch and not at every pass."""
    rules = task.rules
    first = rules.values(raw, batch.targets)
    limit = _tolerance(model, raw.dtype, first, rules, READ_AGAIN)
    with mode(model, training=False), torch.no_grad():
        passes = [rules.values(call_forward(task, model, batch.inputs), batch.targets) for _ in range(ALONE)]
    return not all(_apart(rules, first, one, first) <= limit for one in passes)


def _sample(model: nn.Module, task: Task, records: Records) -> Indices:
    most = min(SAMPLE, max(2, task.batch_size))
    if task.rules.is_long:
        batch = records.read(spread(len(records), most)).to(device_of(model))
        most = max(2, min(most, rows_at_a_time(task, model, batch)))
    return spread(len(records), most)


def _not_finite(raw: Tensor, task: Task) -> str:
    lines = f"the model's {noun(task)} hold NaN or infinite values: "
    if not task.rules.is_probable:
        return lines + "train it again, or mend Task.forward"
    if bool((raw.isfinite() | (raw == -torch.inf)).all()) and bool((raw <= 0).all()):
        return lines + f"give log-probabilities a floor, as in Task.forward=lambda model, inputs: model(inputs){LOG}"
    return lines + "give a class that is masked a finite logit such as -1e4, in the model or by Task.forward"


def not_logits(raw: Tensor, task: Task, trained: bool = True) -> str | None:
    """Why outputs of the right shape cannot be what the task's kind takes, such as probabilities; None if they can."""
    if (wrong := task.rules.not_logits(raw, trained)) is None:
        return None
    why, mend = wrong
    if not mend:
        return why
    if task.forward is not call_model:
        return f"{why}, or give Task.forward=the same with {mend} behind what it returns"
    return f"{why}, or give Task.forward=lambda model, inputs: model(inputs){mend}"


def _check_company(model: nn.Module, task: Task, records: Records, at: Indices, raw: Tensor, found: Findings) -> None:
    """Check that records have the same outputs alone as among others."""
    rules, chosen, what = task.rules, spread(len(at), ALONE), noun(task)
    device, alone = device_of(model), []
    with mode(model, training=False), torch.no_grad():
        for i in chosen:
            batch = records.read([at[i]]).to(device)
            try:
                one = call_forward(task, model, batch.inputs)
            except Exception as error:
                found.add_problem(
                    f"the model cannot read one record alone ({describe_error(error)}), and the last batch may hold "
                    "one: BatchNorm needs running statistics in eval mode, and Task.forward must take a batch of one"
                )
                return
            if (
                not isinstance(one, Tensor)
                or rules.wrong_outputs(one, batch.targets)
                or (width_of(one), one.ndim) != (width_of(raw), raw.ndim)
            ):
                shape = (1, *one.shape[-1:]) if raw.ndim == 2 and isinstance(one, Tensor) else raw.shape[1:]
                found.add_problem(
                    f"the model must return {what} {tuple(shape)} for a batch of one record; it gave {_what(one)}"
                    ": a squeeze() in the model or in Task.forward drops the dimension"
                )
                return
            alone.append(rules.values(one, batch.targets))
    among = rules.values(raw, records.read(at).to(device).targets)
    apart = _apart(rules, torch.cat(alone), among[chosen], among)
    if not apart <= _tolerance(model, raw.dtype, among, rules, IN_COMPANY):
        found.add_problem(
            f"the {what} of a record depend on the others in its batch: alone and among {len(at) - 1} others they "
            f"differ by {apart:.2g} of how far {what} vary between records. BatchNorm needs running statistics "
            "(track_running_stats), attention must not run across records (batch_first=True), and padding must be "
            "masked, or each batch padded to the same length by Task.collate"
        )


def _apart(rules: Kind, one: Tensor, other: Tensor, sample: Tensor) -> float:
    """The largest root mean square difference of a record's compared values, as a share of how far they vary."""
    difference = _shown(rules, one) - _shown(rules, other)
    return float(difference.square().mean(1).sqrt().max()) / _variation(rules, sample)


def _variation(rules: Kind, sample: Tensor) -> float:
    """How far compared values vary from record to record, on the root mean square; 1 where they do not."""
    compared = _shown(rules, sample)
    return float((compared - compared.mean(0)).square().mean().sqrt()) or 1.0


def _shown(rules: Kind, values: Tensor) -> Tensor:
    """What is compared, without what is hidden."""
    compared = rules.compared(values.double())
    return compared.masked_fill(rules.is_hidden(compared), 0.0)


def _tolerance(model: nn.Module, dtype: torch.dtype, values: Tensor, rules: Kind, limit: tuple[float, int]) -> float:
    """The share of the variation of values that may be rounding, in the coarsest dtype of the model and its outputs."""
    dtypes = {dtype, torch.float32, *(p.dtype for p in model.parameters() if p.is_floating_point())}
    eps = max(torch.finfo(d).eps for d in dtypes)
    size = float(values[~rules.is_hidden(values)].abs().max())
    # values that hardly vary differ by the rounding of their level
    return max(limit[0], limit[1] * eps) + 4 * eps * size / _variation(rules, values)


def is_linear(model: nn.Module, task: Task, records: Records) -> bool:
    """Whether all that a model learns is linear: one linear layer, or outputs that are linear in the inputs.

    Args:
        model: The model; it is run on 64 records and on the means of pairs of them, if all inputs are floats.
        task: The task, for its hooks.
        records: The training records.
    """
    learns = any(p.requires_grad for p in model.parameters())
    layers = [m for m in model.modules() if any(p.requires_grad or not learns for p in m.parameters(recurse=False))]
    if len(layers) == 1 and isinstance(layers[0], nn.Linear | nn.EmbeddingBag):
        return True
    batch = records.read(_sample(model, task, records)).to(device_of(model))
    if len(batch) < 3 or not all(
        t.is_floating_point() and t.shape[:1] == (len(batch),) for t in tensors_in(batch.inputs)
    ):
        return False
    rules = task.rules
    try:
        with mode(model, training=False), torch.no_grad():
            values = forward(task, model, batch)
            middle = forward(task, model, Batch(_halfway(batch), batch.targets))
    except Exception:  # a model may refuse inputs that are no records
        return False
    finite = bool(values.isfinite().all()) and bool(middle.isfinite().all())
    halfway = (_shown(rules, values) + _shown(rules, values.roll(1, 0))) / 2
    return finite and float((_shown(rules, middle) - halfway).square().mean(1).sqrt().max()) < 1e-3 * _variation(
        rules, values
    )


def _halfway(batch: Batch) -> object:
    return map_tensors(batch.inputs, lambda t: (t + t.roll(1, 0)) / 2)
