"""The driver: carries out one request, from its checks to its result."""

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from torch import nn

from efface.calibration.assumptions import Assumption, assumptions
from efface.calibration.first_outputs import left_after
from efface.data.ids import Forget
from efface.data.splits import Splits, leave_out, make_splits
from efface.errors import collect_errors
from efface.methods import class_of
from efface.methods.base import Method, Problem
from efface.models.init import unfreeze
from efface.models.running import copy_model, counted, own_weights
from efface.models.wrappers import plain_network
from efface.request import Request, make_task
from efface.runtime.cost import Meter
from efface.runtime.notices import warn_caller
from efface.runtime.options import as_integer, clear_calls, is_integer, type_problems
from efface.runtime.seeds import derive_seed, seeded, unchanged_globals
from efface.runtime.timed import timed
from efface.task import Task
from efface.types import RecordId, SizedDataset
from efface.unlearning.checks import check_unlearn
from efface.unlearning.loop import run_steps
from efface.unlearning.monitor import Monitor, not_judged
from efface.unlearning.nothing import check_something_changed
from efface.unlearning.observer import Observer
from efface.unlearning.options import DEFAULT_OPTIONS, UnlearnOptions
from efface.unlearning.reference import Reference
from efface.unlearning.result import Result
from efface.unlearning.run import Run
from efface.unlearning.stopping import default_rule


@clear_calls("task|train|holdout", method=class_of, options=UnlearnOptions, task=Task)
def unlearn(
    model: nn.Module,
    *,
    forget: Forget,
    task: Task | None = None,
    train: SizedDataset | None = None,
    holdout: SizedDataset | None = None,
    ids: Collection[RecordId] | str | None = None,
    method: str | Method = "steer",
    seed: int = 0,
    options: UnlearnOptions = DEFAULT_OPTIONS,
    progress: bool | None = None,
) -> Result:
    """Erase training records from a copy of `model`.

    `model`, the global random generators and torch's global settings do not change.

    Args:
        model: The trained classifier; it is copied, not changed. Of a model within torch.compile, DataParallel or
            DistributedDataParallel, the network within is copied.
        forget: Ids of the training records to erase, in any sized container; or `ByGroup`, for all records of some
            groups.
        task: The problem. Give either this, or `train` and `holdout`.
        train: All records that `model` was trained on.
        holdout: Records that `model` never saw.
        ids: An id for each record of `train`, in its order; by default the record's index. Where `train` is a Subset,
            "base" or "subset" says which positions are meant, as `Task.ids` does.
        method: The unlearning method, or its key in `efface.methods`.
        seed: Seed of all random draws; the same seed gives the same weights on one machine.
        options: How the run stops, what it checks, and which records are used for what.
        progress: Whether to show a progress bar; by default only on a terminal.

    Returns:
        The unlearned model, with the evidence, the cost and the splits of the run.

    Raises:
        RequestError: The request cannot be honoured. All problems are listed, and no work was done.
        DivergedError: The weights or the logits became NaN or infinite during the run.
        NothingUnlearnedError: No change of the weights could be kept. It holds the evidence, but no model.
    """
    model = plain_network(model)
    meter = Meter()
    with unchanged_globals(), meter.phase("other"):
        with meter.phase("checks"), counted(meter):
            problems: list[str] = []
            seed = as_integer(seed)
            if not is_integer(seed):
                problems.append(f"seed: expected an integer, got {seed!r}")
            problems += type_problems([("progress", progress, bool | None, "True or False")])
            given = collect_errors(problems, make_task, task, train, holdout, ids=ids)
            request, chosen = check_unlearn(problems, model, given, forget, method, options)
            run = Run(model, request, _splits(request, options, seed), chosen, options, seed, meter)
        # seeds the global generators, which Dropout in a descent method draws from, for example
        what = f"unlearning by {chosen.key}: {len(run.splits.forget)} of {len(request.train)} training records"
        with seeded(derive_seed(seed, "run")), timed(logging.getLogger("efface.unlearning"), what) as work:
            result = carry_out(run, progress)
            check_something_changed(result)
            work.result = f"{result.evidence.outcome}, weights of step {result.evidence.chosen_step}"
    warn_caller(result.warnings)
    return result


def _splits(request: Request, options: UnlearnOptions, seed: int) -> Splits:
    drawn = options.splits or make_splits(request.asked, len(request.train), len(request.holdout), seed)
    # records that twins take away leave all others where they are, so that every run of a seed draws the same
    return leave_out(drawn, request.kept, request.shared)


def carry_out(run: Run, progress: bool | None) -> Result:
    """Run the method on a copy of the original, with a monitor if evidence is collected."""
    request, splits, method = run.request, run.splits, run.method
    reference = Reference(run)
    found: tuple[Assumption, ...] = ()
    monitor, rule = None, run.options.stop or default_rule()
    if run.collects_evidence or method.needs_fresh:
        found = assumptions(reference.counterfactual(), request, splits.forget)
    left, known = None, None
    if run.options.first_outputs is not None:
        with run.meter.phase("targets"):
            left, known = left_after(run.options.first_outputs, request, run.original, run.meter)
    working = copy_model(run.original, share_frozen=True)  # once the reference is trained, which takes as much memory
    if run.collects_evidence:
        observer = Observer(run, reference.counterfactual())
        monitor = Monitor(working, run.original, observer, rule, method, found)
    with _trainable(working):
        problem = Problem(
            task=request.task,
            given=request.given,
            model=working,
            original=run.original,
            train=request.train,
            holdout=request.holdout,
            forget=splits.forget,
            retain=np.setdiff1d(splits.retain, splits.audit_reference),
            all_retain=splits.retain,
            calibration=splits.calibration,
            forget_classes=request.forget_classes,
            counterfactual=reference.counterfactual,
            seed=run.seed,
            meter=run.meter,
            known_outputs=known,
        )
        last = run_steps(method, problem, monitor, progress, started=reference.release)
        evidence = monitor.conclude(last) if monitor else not_judged(rule, last)
    own_weights(working, run.original)
    return Result(
        model=working,
        original=run.original,
        task=request.given,
        forget=request.asked_ids,
        records=request.records,
        method=method,
        splits=splits,
        cost=run.meter.cost(),
        evidence=evidence,
        seed=run.seed,
        reference=reference.digest,
        options=run.options,
        warnings=_warnings(run, found),
        assumptions=found,
        twins=request.twins,
        first_outputs=None if method.starts_anew else left,  # which say nothing of a model that was trained anew
    )


@contextmanager
def _trainable(model: nn.Module) -> Iterator[None]:
    """Make all parameters trainable if none is, as in many deployed models, and restore the flags after the block."""
    flags = [p.requires_grad for p in model.parameters()]
    if not any(flags):
        unfreeze(model)
    yield
    for parameter, flag in zip(model.parameters(), flags, strict=True):
        parameter.requires_grad_(flag)
        parameter.grad = None


def _warnings(run: Run, found: Sequence[Assumption]) -> tuple[str, ...]:
    warnings = [*run.request.warnings, *run.method.warnings(run.request.task)]
    if not run.method.is_control:
        warnings += [a.sentence for a in found if not a.met]
    return tuple(warnings)
