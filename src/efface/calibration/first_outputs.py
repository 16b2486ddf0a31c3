"""What the first model of a sequence of requests said of some training records, at which later runs keep them."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from efface.data.checks import Findings
from efface.data.ids import read_ids
from efface.data.index import positions_of
from efface.data.naming import name_records
from efface.data.reading import check_reading
from efface.data.task_sets import read_sets
from efface.errors import RequestError, collect_errors, kind_of
from efface.models.checks import check_model
from efface.models.features import describe, nearest_rows
from efface.models.kind import with_kind
from efface.models.running import logits_of
from efface.models.wrappers import plain_network
from efface.request import Request
from efface.runtime.cost import Meter
from efface.runtime.kinds import network_problem
from efface.runtime.options import as_integer, clear_calls, is_integer
from efface.runtime.printing import Brief
from efface.runtime.seeds import derive_seed, unchanged_globals
from efface.task import Task, check_task
from efface.types import Indices, RecordId

RECORDS = 2000  # what a run of steer uses, and some more, since records leave with each request


@clear_calls()
@dataclass(frozen=True, repr=False, eq=False)
class FirstOutputs(Brief):
    """What the first model of a sequence of requests said of some training records.

    Every request moves the retain records a little. A run keeps them where its original has them, so that over many
    requests in a row the moves add up. A run that is given these outputs keeps them where the first model had them.

    What a model says of a record tells of that record, and a little of those most like it. So a result has fewer of
    them: those of the forget set leave, and those of the retain records that are nearest to it. As many of these leave
    as there are forget records whose nearest training record is likely to be among them.

    Args:
        ids: The ids of the records. They must name the same records in every call, so give records ids of their own if
            rows leave the training set.
        values: What the model said of each, in eval mode, (records, k), floating: for classes, the logits.

    Raises:
        RequestError: They do not fit each other, or a number is not finite.
    """

    ids: tuple[RecordId, ...]
    values: Tensor

    def __post_init__(self) -> None:
        problems: list[str] = []
        ids = tuple(read_ids(self.ids, "ids", problems))
        if len(set(ids)) < len(ids):
            problems.append("ids: some stand there more than once; give each record once")
        if not isinstance(self.values, Tensor) or self.values.ndim != 2 or not self.values.is_floating_point():
            problems.append(f"values: expected a floating tensor (records, k), got {kind_of(self.values)}")
        elif not problems and len(self.values) != len(ids):
            problems.append(f"values: expected a row for each of {len(ids)} ids, got {len(self.values)}")
        elif not self.values.isfinite().all():
            problems.append("values: some are NaN or infinite, so nothing can be kept there")
        if problems:
            raise RequestError(problems)
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "values", self.values.detach().float().cpu())

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, at: Indices) -> "FirstOutputs":
        """Those of some of the records; `at` are their places in `ids`."""
        return FirstOutputs(tuple(self.ids[i] for i in at.tolist()), self.values[torch.from_numpy(at)])


@dataclass(frozen=True, repr=False, eq=False)
class KnownOutputs(Brief):
    """Outputs of training records by their positions.

    Args:
        positions: Positions of the records, (n,).
        values: Their outputs, (n, k).
    """

    positions: Indices
    values: Tensor

    def among(self, positions: Indices) -> "KnownOutputs":
        """Those of the records that are at some positions."""
        stays = np.isin(self.positions, positions)
        return KnownOutputs(self.positions[stays], self.values[torch.from_numpy(stays)])


@clear_calls("task", task=Task)
def first_outputs(model: nn.Module, *, task: Task, records: int = RECORDS, seed: int = 0) -> FirstOutputs:
    """Read what a model says of some of its training records, before the first of several requests.

    Args:
        model: The model, which no record was erased from yet.
        task: The problem.
        records: Of how many records, drawn at random; of all if there are fewer.
        seed: Seed of the draw.

    Returns:
        The outputs, for `UnlearnOptions.first_outputs`; give later requests those of the result before.

    Raises:
        RequestError: The model cannot read the task, or its records are parts of a structure, in which what is said of
            one changes when others leave.
    """
    records, seed = as_integer(records), as_integer(seed)
    problems = [f"model: {problem}"] if (problem := network_problem(model)) else []
    problems += [] if is_integer(records, 1) else [f"records: expected an integer of 1 or more, got {records!r}"]
    problems += [] if is_integer(seed) else [f"seed: expected an integer, got {seed!r}"]
    collect_errors(problems, check_task, task)
    if problems:
        raise RequestError(problems)
    model, names = plain_network(model), name_records(task, len(task.train), problems)
    if task.structure is not None:
        problems.append("records of a structure: what is said of one changes when others leave, so keep no outputs")
    if not names.is_given:
        problems.append("train is a Subset: say how its records are named, by ids='base' or ids='subset' on the Task")
    if not len(task.train):
        problems.append("the training set is empty: expected the records that the model was trained on")
    if problems:
        raise RequestError(problems)
    task = with_kind(model, task, read_sets(task, names.ids).train)
    train, found = read_sets(task, names.ids).train, Findings()
    with unchanged_globals():
        check_reading(train, "training", found, compare=False)
        if not found.problems:
            check_model(model, task, train, found, finite=False)
    found.refuse()
    at = np.random.default_rng(derive_seed(seed, "first outputs")).permutation(len(train))[:records]
    with unchanged_globals():
        values = logits_of(task, model, train, np.sort(at), Meter())
    is_number = values.isfinite().all(1)  # a model may give NaN for a few records, which checks of requests name
    return FirstOutputs(tuple(names.ids[i] for i in np.sort(at)[is_number.numpy()].tolist()), values[is_number])


def left_after(
    given: FirstOutputs, request: Request, model: nn.Module, meter: Meter
) -> tuple[FirstOutputs, KnownOutputs]:
    """The outputs that are left once a request is honoured.

    Args:
        given: What there is before.
        request: The request.
        model: The original of the run, by whose features the nearest records are found.
        meter: Charged with reading them.

    Returns:
        The outputs, and the same by position. None are left where a whole class is forgotten, since all of them say how
        likely that class is.
    """
    found = positions_of(given.ids, request.names.ids)
    at = np.array([found.get(name, -1) for name in given.ids], dtype=np.int64)
    rows = np.flatnonzero((at >= 0) & ~np.isin(at, request.asked))
    if request.forget_classes:
        rows = rows[:0]
    if len(rows):
        task, train = request.task, request.train
        likely = math.ceil(len(request.forget) * len(rows) / max(1, len(train) - len(request.asked)))
        forget, others = describe(task, model, [(train, request.forget), (train, at[rows])], meter)
        rows = np.delete(rows, nearest_rows(forget, others, likely))
    left = given.rows(rows)
    return left, KnownOutputs(at[rows], left.values)


def outputs_problems(given: FirstOutputs | None, request: Request, model: nn.Module) -> list[str]:
    """Why outputs are not those of the first model of a request's sequence, as far as it shows; empty if they may be.

    Args:
        given: The outputs; None if none were given.
        request: The request.
        model: The original of the run.
    """
    if given is None or not len(given):
        return []
    if request.task.structure is not None:
        return ["first_outputs: records of a structure are read in another way once others leave; leave them out"]
    if not positions_of(given.ids, request.names.ids):
        return ["first_outputs: none of their ids is in the training set: give those that were read of this task"]
    width = logits_of(request.task, model, request.train, request.forget[:1], Meter()).shape[1]
    if given.values.shape[1] != width:
        return [f"first_outputs: they have {given.values.shape[1]} numbers a record, and the model gives {width}"]
    return []
