"""The step loop of a run."""

from collections.abc import Callable

from efface.errors import DivergedError
from efface.methods.base import Method, Problem, Step
from efface.models.running import all_finite
from efface.runtime.progress import track
from efface.unlearning.monitor import Monitor


def run_steps(
    method: Method,
    problem: Problem,
    monitor: Monitor | None,
    progress: bool | None,
    started: Callable[[], None] = lambda: None,
) -> Step:
    """Run the steps of a method until it has no further step or the monitor ends the run.

    Args:
        method: The method.
        problem: The problem that the method works on; `problem.model` is changed.
        monitor: Evaluates the model at the start and at each evaluation point, and may end the run.
        progress: Whether to show a progress bar; by default only on a terminal.
        started: Called after the first step, when the method has read all that it steers by.

    Returns:
        The last step; step 0 if the method made none.

    Raises:
        DivergedError: The weights or the logits became NaN or infinite.
    """
    step = Step(0, float("nan"))
    if monitor is not None:
        monitor.evaluate(step)
    steps = method.run(problem)
    with track(f"unlearning by {method.key}", method.most_steps(len(problem.forget)), progress) as advance:
        while monitor is None or not monitor.has_decided:
            with problem.meter.phase("steps"):
                following = next(steps, None)
            if following is None:
                break
            step = following
            if step.index == 1:
                started()
            advance()
            if step.is_eval_point:
                _check_weights(method, problem, step)
                if monitor is not None:
                    monitor.evaluate(step)
    return step


def _check_weights(method: Method, problem: Problem, step: Step) -> None:
    if not all_finite(problem.model):
        raise DivergedError(f"{method.key} gave NaN or infinite weights at step {step.index}; nothing was saved")
