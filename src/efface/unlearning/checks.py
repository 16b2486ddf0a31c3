"""The checks of a call of `efface.unlearn`, which `efface.check` makes alone."""

import numpy as np
from torch import nn

from efface.calibration.first_outputs import outputs_problems
from efface.data.ids import Forget
from efface.data.splits import leave_out
from efface.data.twin_policy import TwinPolicy
from efface.errors import RequestError, collect_errors, kind_of
from efface.methods import get
from efface.methods.base import Method
from efface.request import Request, check_request
from efface.task import Task
from efface.unlearning.options import DEFAULT_OPTIONS, UnlearnOptions
from efface.unlearning.run import collects_evidence


def check_unlearn(
    problems: list[str],
    model: nn.Module,
    task: Task | None,
    forget: Forget,
    method: str | Method,
    options: UnlearnOptions,
) -> tuple[Request, Method]:
    """Check a request, the method and the options.

    Args:
        problems: What is wrong with other arguments of the call.
        model: The model.
        task: The problem; None if it could not be made, which is among `problems`.
        forget: As in `efface.unlearn`.
        method: As in `efface.unlearn`.
        options: As in `efface.unlearn`.

    Raises:
        RequestError: Something is wrong, `problems` included; all problems are listed.
    """
    if not isinstance(options, UnlearnOptions):
        problems.append(f"options: expected an efface.UnlearnOptions, got {kind_of(options)}")
    known = options if isinstance(options, UnlearnOptions) else DEFAULT_OPTIONS
    chosen = collect_errors(problems, get, method)
    unfit = chosen.unfit(model) if chosen is not None and isinstance(model, nn.Module) else None
    if unfit is not None:
        problems.append(unfit)
    request = None
    if task is not None:
        fresh = chosen is not None and (chosen.needs_fresh or collects_evidence(chosen, known))
        policy = TwinPolicy(known.twins, known.confirmed)
        request = collect_errors(
            problems, check_request, model, task, forget, full=known.checks, fresh=fresh, policy=policy
        )
    if chosen is not None and request is not None and (unfit := chosen.unfit_task(request.given)):
        problems.append(unfit)
    if request is not None:
        problems += outputs_problems(known.first_outputs, request, model)
    if problems or chosen is None or request is None:
        raise RequestError(problems)
    if known.splits is not None:
        splits = leave_out(known.splits, request.kept, request.shared)
        if not np.array_equal(np.sort(request.forget), splits.forget):
            raise RequestError("splits: they are those of another request; leave them out, or give this one's own")
    return request, chosen
