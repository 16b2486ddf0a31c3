"""The runs of a rehearsal: the request together with batches of the rehearsed records, as the judged run was made."""

from dataclasses import replace

import numpy as np
from torch import nn

from efface.auditing.inputs import AuditInputs
from efface.auditing.rehearsal.candidates import NoRehearsalError
from efface.data.splits import Splits
from efface.data.twin_policy import TwinPolicy
from efface.methods.base import Method
from efface.request import Request, check_request
from efface.runtime.cost import Meter
from efface.runtime.seeds import derive_seed, seeded
from efface.types import Indices
from efface.unlearning.driver import carry_out
from efface.unlearning.nothing import check_something_changed
from efface.unlearning.run import Run

# What a method does to a record depends on how many leave with it, so a batch is as large as the request, or little
# more than this; each batch takes a run.
MIN_BATCH = 30
MIN_RUNS, MAX_RUNS = 2, 10


def deal(inputs: AuditInputs, rehearsed: Indices) -> list[Request]:
    """The request together with each of several batches of the rehearsed records.

    A batch leaves out what has a twin among the records that stay. Groups stay together.

    Args:
        inputs: The checked audit.
        rehearsed: Positions of the rehearsed records.

    Raises:
        NoRehearsalError: There are not two batches, so that runs could not be compared.
    """
    request = inputs.request
    numbers = request.clusters_of(rehearsed)
    groups = rehearsed if numbers is None else numbers.numpy()
    names = np.unique(groups)
    count = min(max(MIN_RUNS, len(rehearsed) // max(MIN_BATCH, len(request.forget))), MAX_RUNS, len(names))
    order = np.random.default_rng(derive_seed(inputs.seed, "rehearsal", "batches")).permutation(names)
    batches = [_join(inputs, rehearsed[np.isin(groups, order[number::count])]) for number in range(count)]
    filled = [batch for batch in batches if len(batch.forget) > len(request.forget)]
    if len(filled) < MIN_RUNS:
        raise NoRehearsalError("the records that could be rehearsed are of one group, or have twins that stay")
    return filled


def _join(inputs: AuditInputs, rehearsed: Indices) -> Request:
    request = inputs.request
    ids = [*request.ids, *(request.names.ids[at] for at in rehearsed.tolist())]
    full = inputs.run_options.checks
    return check_request(inputs.original, request.given, ids, full=full, fresh=False, policy=TwinPolicy("keep"))


def rehearse(inputs: AuditInputs, method: Method, joined: Request, number: int, meter: Meter) -> nn.Module:
    """Unlearn the request and a batch of rehearsed records from a copy of the original, with the judged run's options.

    The run has the splits of the judged one, without the records of the batch, so that the two differ in what is
    forgotten and in the seed of their draws alone.

    Args:
        inputs: The checked audit.
        method: The method that made the judged model.
        joined: The request together with the batch.
        number: Which of the runs; each has draws of its own.
        meter: Charged with the run.

    Raises:
        NothingUnlearnedError: The run kept no change of the weights.
        DivergedError: The weights or the logits became NaN or infinite.
    """
    options = replace(inputs.run_options, splits=None, twins="keep", confirmed=())
    seed = derive_seed(inputs.seed, "rehearsal", str(number))
    splits = _larger_forget_set(inputs.splits, joined.forget, np.union1d(joined.forget, joined.kept))
    own = Meter()  # the phases of the run are none of the audit's
    run = Run(inputs.original, joined, splits, method, options, seed, own)
    with seeded(derive_seed(seed, "run")):
        result = carry_out(run, progress=False)
        check_something_changed(result)
    total = own.cost().total
    meter.count(forward=total.forward, backward=total.backward)
    return result.model


def _larger_forget_set(splits: Splits, forget: Indices, leaving: Indices) -> Splits:
    """The splits of the judged run for a larger forget set: its records leave all other parts."""
    parts = ("retain", "reference", "heldout_retain", "audit_reference")
    kept = {name: at[~np.isin(at, leaving)] for name in parts for at in (getattr(splits, name),)}
    return replace(splits, forget=np.sort(forget), **kept)
