"""The runs of a rehearsal: the request together with batches of the rehearsed records, as the judged run was made."""

from dataclasses import replace

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import nn

from efface.auditing.inputs import AuditInputs
from efface.auditing.rehearsal.candidates import NoRehearsalError
from efface.auditing.rehearsal.size import SIZES
from efface.data.objects import UncomparableError
from efface.data.splits import Splits
from efface.data.twin_policy import TwinPolicy
from efface.methods.base import Method
from efface.request import Request, check_request
from efface.runtime.cost import Meter
from efface.runtime.printing import how_many_do
from efface.runtime.seeds import derive_seed, seeded
from efface.types import Indices, RecordId
from efface.unlearning.driver import carry_out
from efface.unlearning.nothing import check_something_changed
from efface.unlearning.run import Run

# What a method does to a record depends on how many leave with it, so batches are small: of this many records or as
# many as the request has, and larger only where MAX_RUNS of them do not hold all. Each takes a run.
MIN_BATCH = 30
MIN_RUNS, MAX_RUNS = 2, 10


def deal(inputs: AuditInputs, rehearsed: Indices) -> list[Request]:
    """The request together with each of several batches of the rehearsed records, about equally large.

    Records that have a twin outside of them are left out, since it would stay. Twins, and groups, are in one batch.

    Args:
        inputs: The checked audit.
        rehearsed: Positions of the rehearsed records.

    Raises:
        NoRehearsalError: Too few records are left, or they fill no two batches, whose runs could be compared.
    """
    request, compare = inputs.request, inputs.run_options.checks
    alone = _checked(inputs, _ids(inputs, rehearsed), compare).forget
    left = rehearsed[np.isin(rehearsed, alone)]
    if len(left) < SIZES[0]:
        there = how_many_do(len(left), "record")
        raise NoRehearsalError(f"{there} left to rehearse without those with twins elsewhere, of {SIZES[0]} it takes")
    together = _together(request, left, compare)
    names, sizes = np.unique(together, return_counts=True)
    count = min(max(MIN_RUNS, len(left) // max(MIN_BATCH, len(request.forget))), MAX_RUNS, len(names))
    if count < MIN_RUNS:
        raise NoRehearsalError("the records that could be rehearsed are of one group, or equal")
    order = np.random.default_rng(derive_seed(inputs.seed, "rehearsal", "batches")).permutation(len(names))
    batch_of, held = np.zeros(len(names), np.int64), np.zeros(count, np.int64)
    for at in order[np.argsort(-sizes[order], kind="stable")]:
        batch_of[at] = held.argmin()
        held[batch_of[at]] += sizes[at]
    batches = [left[batch_of[together] == number] for number in range(count)]
    return [_checked(inputs, [*request.ids, *_ids(inputs, batch)], False) for batch in batches]


def _ids(inputs: AuditInputs, positions: Indices) -> list[RecordId]:
    return [inputs.request.names.ids[at] for at in positions.tolist()]


def _checked(inputs: AuditInputs, ids: list[RecordId], full: bool) -> Request:
    given = inputs.request.given
    return check_request(inputs.original, given, ids, full=full, fresh=False, policy=TwinPolicy("keep"))


def _together(request: Request, positions: Indices, compare: bool) -> Indices:
    """A number for each record, equal for those that are of one group or have equal inputs."""
    numbers = request.clusters_of(positions)
    groups = np.unique(positions if numbers is None else numbers.numpy(), return_inverse=True)[1]
    if not compare:
        return groups
    try:
        hashes = request.train.hashes(positions, with_targets=False)
    except UncomparableError:  # the checks say so
        return groups
    contents = np.unique(hashes, return_inverse=True)[1]
    first = groups.max() + 1  # groups are one side of a graph, and contents the other
    size = first + contents.max() + 1
    links = coo_matrix((np.ones(len(groups)), (groups, first + contents)), shape=(size, size))
    return np.asarray(connected_components(links, directed=False)[1], np.int64)[groups]


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
    splits = _larger_forget_set(inputs.splits, joined.forget)
    own = Meter()  # the phases of the run are none of the audit's
    run = Run(inputs.original, joined, splits, method, options, seed, own)
    with seeded(derive_seed(seed, "run")):
        result = carry_out(run, progress=False)
        check_something_changed(result)
    total = own.cost().total
    meter.count(forward=total.forward, backward=total.backward)
    return result.model


def _larger_forget_set(splits: Splits, forget: Indices) -> Splits:
    """The splits of the judged run for a larger forget set: its records leave all other parts."""
    parts = ("retain", "reference", "heldout_retain", "audit_reference")
    kept = {name: at[~np.isin(at, forget)] for name in parts for at in (getattr(splits, name),)}
    return replace(splits, forget=np.sort(forget), **kept)
