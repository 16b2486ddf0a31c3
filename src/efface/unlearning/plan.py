"""`efface.check`: everything that `efface.unlearn` checks, and which records it would take, without doing anything."""

from collections.abc import Collection
from dataclasses import dataclass

from torch import nn

from efface.data.described import ForgetRecord
from efface.data.ids import Forget
from efface.errors import collect_errors
from efface.methods import class_of
from efface.methods.base import Method
from efface.models.wrappers import plain_network
from efface.request import Request, make_task
from efface.runtime.options import clear_calls
from efface.runtime.printing import how_many
from efface.runtime.seeds import unchanged_globals
from efface.task import Task
from efface.types import RecordId, SizedDataset
from efface.unlearning.checks import check_unlearn
from efface.unlearning.options import DEFAULT_OPTIONS, UnlearnOptions

SHOWN_RECORDS = 20
SHOWN_WARNINGS = 8


@dataclass(frozen=True, repr=False)
class Plan:
    """What `efface.unlearn` would do; `print` shows it on one screen.

    Args:
        records: The records that would go, in the order of the request.
        names: What the ids are, in a few words.
        training_records: The number of training records.
        method: The method.
        warnings: Findings of the checks that are no reason to refuse the request.
    """

    records: tuple[ForgetRecord, ...]
    names: str
    training_records: int
    method: Method
    warnings: tuple[str, ...]

    @property
    def summary(self) -> str:
        """One sentence: how many records would go."""
        return (
            f"{len(self.records)} of {how_many(self.training_records, 'training record')} would go, by "
            f"{self.method.key}; ids are {self.names}. All checks passed; nothing was done."
        )

    def __repr__(self) -> str:
        """The summary, the first records and the first warnings."""
        lines = [self.summary, *(f"  {record}" for record in self.records[:SHOWN_RECORDS])]
        if (more := len(self.records) - SHOWN_RECORDS) > 0:
            lines.append(f"  and {more} more")
        lines += [f"Warning: {line}" for line in self.warnings[:SHOWN_WARNINGS]]
        if (more := len(self.warnings) - SHOWN_WARNINGS) > 0:
            lines.append(f"and {how_many(more, 'more warning')}")
        return "\n".join(lines)


@clear_calls("task|train|holdout", method=class_of, options=UnlearnOptions, task=Task)
def check(
    model: nn.Module,
    *,
    forget: Forget,
    task: Task | None = None,
    train: SizedDataset | None = None,
    holdout: SizedDataset | None = None,
    ids: Collection[RecordId] | str | None = None,
    method: str | Method = "steer",
    options: UnlearnOptions = DEFAULT_OPTIONS,
) -> Plan:
    """Make all checks of `efface.unlearn`, and do nothing else.

    Args:
        model: As in `efface.unlearn`.
        forget: As in `efface.unlearn`.
        task: As in `efface.unlearn`.
        train: As in `efface.unlearn`.
        holdout: As in `efface.unlearn`.
        ids: As in `efface.unlearn`.
        method: As in `efface.unlearn`.
        options: As in `efface.unlearn`.

    Returns:
        Which records would go, and what to know before.

    Raises:
        RequestError: `efface.unlearn` would refuse the call. All problems are listed.
    """
    model = plain_network(model)
    with unchanged_globals():
        problems: list[str] = []
        given = collect_errors(problems, make_task, task, train, holdout, ids=ids)
        request, chosen = check_unlearn(problems, model, given, forget, method, options)
    return plan_of(request, chosen)


def plan_of(request: Request, method: Method) -> Plan:
    """The plan of a request that has passed its checks."""
    return Plan(request.records, request.names.where, len(request.train), method, request.warnings)
