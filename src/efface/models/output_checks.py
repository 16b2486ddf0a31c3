"""Checks of how a model's outputs behave: they are logits, each record has one answer, and a model is not linear."""

import torch
from torch import Tensor, nn

from efface.data.checks import Findings
from efface.data.contents import has_finite_inputs
from efface.data.nesting import map_tensors, tensors_in
from efface.data.records import Batch, Records
from efface.data.splits import spread
from efface.errors import describe_error
from efface.models.running import call_forward, device_of, forward, mode
from efface.numerics.logits import bound_masked, centre, fill_masked, is_masked
from efface.task import Task, call_model
from efface.types import Indices

SAMPLE = 64  # records that are read together
ALONE = 8  # of these, so many are read alone too
LOG = ".float().clamp_min(1e-30).log()"

TWICE = (
    "the model's logits differ when the same records are read twice, so it draws at random in eval mode: "
    "F.dropout needs training=self.training, and sampling must end with model.eval()"
)

# Largest difference of a record's logits that is rounding, as a share of how far logits vary from record to record;
# larger where a dtype rounds more. Batches of another size or padding use other kernels (TF32 among them), which the
# same batch does not.
IN_COMPANY, READ_AGAIN = (0.02, 16), (0.002, 4)  # the share, and its least multiple of the dtype's relative rounding


def check_outputs(model: nn.Module, task: Task, records: Records, found: Findings, finite: bool, stable: bool) -> None:
    """Check the outputs on 64 records: two passes over them together, and one over each of eight alone.

    Args:
        model: A model that returns a float tensor (records, classes) for two records.
        task: The task, for its hooks.
        records: The training records.
        found: Problems are added to this.
        finite: Whether the logits must be finite.
        stable: Whether records are the same when read twice; if not, none are read alone.
    """
    at = _sample(task, records)
    batch = records.read(at).to(device_of(model))
    with mode(model, training=False), torch.no_grad():
        try:
            raw, second = (call_forward(task, model, batch.inputs) for _ in range(2))
        except Exception as error:  # a user's model may raise anything; report it in one line
            found.add_problem(f"the model reads 2 records but not {len(at)} together ({describe_error(error)})")
            return
    if any(out.shape != (len(at), raw.shape[-1]) for out in (raw, second)):
        found.add_problem(wrong_shape(raw, len(at)))
    elif not bool(raw.isfinite().all()):
        if finite and has_finite_inputs(batch):  # inputs that are not finite are reported elsewhere
            found.add_problem(_not_finite(raw))
    elif problem := not_logits(raw, task):
        found.add_problem(problem)
    elif not _apart(raw, second, raw) <= _tolerance(model, raw, READ_AGAIN):
        found.add_problem(TWICE)
    elif stable:
        before = len(found.problems)
        _check_company(model, task, records, at, raw, found)
        if len(found.problems) > before and _draws(model, task, batch, raw):
            found.problems[before:] = [TWICE]


def wrong_shape(out: object, records: int) -> str:
    """The line of a refusal where a model returns something else than logits for some records."""
    what = "the model must return logits (records, classes)"
    return f"{what}; for {records} records it gave {_what(out)}: give Task.forward"


def _what(out: object) -> str:
    return f"a tensor of shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__


def _draws(model: nn.Module, task: Task, batch: Batch, raw: Tensor) -> bool:
    """Whether a model that seems to depend on the company draws at random, for a whole batch and not at every pass."""
    with mode(model, training=False), torch.no_grad():
        passes = [call_forward(task, model, batch.inputs) for _ in range(ALONE)]
    return not all(_apart(raw, one, raw) <= _tolerance(model, raw, READ_AGAIN) for one in passes)


def _sample(task: Task, records: Records) -> Indices:
    return spread(len(records), min(SAMPLE, max(2, task.batch_size)))


def _not_finite(raw: Tensor) -> str:
    lines = "the model's logits hold NaN or infinite values: "
    if bool((raw.isfinite() | (raw == -torch.inf)).all()) and bool((raw <= 0).all()):
        return lines + f"give log-probabilities a floor, as in Task.forward=lambda model, inputs: model(inputs){LOG}"
    return lines + "give a class that is masked a finite logit such as -1e4, in the model or by Task.forward"


def not_logits(raw: Tensor, task: Task) -> str | None:
    """Why outputs cannot be logits: they look like probabilities, of a softmax or of a sigmoid for each class."""
    values = raw.double()
    # a sum of rounded numbers; for more classes than that, the largest dominate the sum
    slack = max(1e-3, 4 * torch.finfo(raw.dtype).eps)
    total = values.sum(1)
    if bool((values < 0).any()) or bool((total <= 0).any()):
        return None
    if bool(((total / total.mean() - 1).abs() <= slack).all()):
        mend = f"lambda model, inputs: model(inputs){LOG}"
        if task.forward is not call_model:
            mend = f"the same with {LOG} behind what it returns"
        are_decisions = bool(((values == 0) | (values == total[:, None])).all())
        if are_decisions:
            return (
                "the model returns decisions (1 for a class, 0 for others), not logits: take its softmax or argmax off"
            )
        return (
            "the model returns probabilities (none is negative, and all records have the same sum), not logits: take "
            f"its softmax off, or give Task.forward={mend}"
        )
    if len(values) > 1 and bool((values <= 1).all()):
        return (
            "all outputs of the model lie between 0 and 1, like those of a sigmoid for each class: return the logits "
            "from before it; if these are logits, subtract 1 from them by Task.forward, which changes no softmax"
        )
    return None


def _check_company(model: nn.Module, task: Task, records: Records, at: Indices, raw: Tensor, found: Findings) -> None:
    """Check that records have the same logits alone as among others."""
    chosen = spread(len(at), ALONE)
    device, alone = device_of(model), []
    with mode(model, training=False), torch.no_grad():
        for i in chosen:
            try:
                one = call_forward(task, model, records.read([at[i]]).to(device).inputs)
            except Exception as error:
                found.add_problem(
                    f"the model cannot read one record alone ({describe_error(error)}), and the last batch may hold "
                    "one: BatchNorm needs running statistics in eval mode, and Task.forward must take a batch of one"
                )
                return
            if not isinstance(one, Tensor) or one.shape != (1, raw.shape[1]):
                found.add_problem(
                    f"the model must return logits (1, {raw.shape[1]}) for a batch of one record; it gave {_what(one)}"
                    ": a squeeze() in the model or in Task.forward drops the dimension"
                )
                return
            alone.append(one)
    apart = _apart(torch.cat(alone), raw[chosen], raw)
    if not apart <= _tolerance(model, raw, IN_COMPANY):
        found.add_problem(
            f"the logits of a record depend on the others in its batch: alone and among {len(at) - 1} others they "
            f"differ by {apart:.2g} of how far logits vary between records. BatchNorm needs running statistics "
            "(track_running_stats), attention must not run across records (batch_first=True), and padding must be "
            "masked, or each batch padded to the same length by Task.collate"
        )


def _apart(one: Tensor, other: Tensor, sample: Tensor) -> float:
    """The largest root mean square difference of a record's centred logits, as a share of how far logits vary."""
    return float((_unmasked(one) - _unmasked(other)).square().mean(1).sqrt().max()) / _variation(sample)


def _variation(sample: Tensor) -> float:
    """How far logits vary from record to record, on the root mean square; 1 where they do not."""
    logits = _unmasked(sample)
    return float((logits - logits.mean(0)).square().mean().sqrt()) or 1.0


def _unmasked(logits: Tensor) -> Tensor:
    return fill_masked(centre(bound_masked(logits.double())), 0.0)


def _tolerance(model: nn.Module, logits: Tensor, limit: tuple[float, int]) -> float:
    """The share of the variation of logits that may be rounding, in the coarsest dtype of the model and its outputs."""
    dtypes = {logits.dtype, *(p.dtype for p in model.parameters() if p.is_floating_point())}
    eps = max(torch.finfo(d).eps for d in dtypes)
    size = float(logits[~is_masked(logits)].abs().max())
    # logits that hardly vary differ by the rounding of their level
    return max(limit[0], limit[1] * eps) + 4 * eps * size / _variation(logits)


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
    batch = records.read(_sample(task, records)).to(device_of(model))
    if len(batch) < 3 or not all(
        t.is_floating_point() and t.shape[:1] == (len(batch),) for t in tensors_in(batch.inputs)
    ):
        return False
    try:
        with mode(model, training=False), torch.no_grad():
            logits = forward(task, model, batch)
            middle = forward(task, model, Batch(_halfway(batch), batch.targets))
    except Exception:  # a model may refuse inputs that are no records
        return False
    finite = bool(logits.isfinite().all()) and bool(middle.isfinite().all())
    return finite and _apart(middle, (_unmasked(logits) + _unmasked(logits.roll(1, 0))) / 2, logits) < 1e-3


def _halfway(batch: Batch) -> object:
    return map_tensors(batch.inputs, lambda t: (t + t.roll(1, 0)) / 2)
