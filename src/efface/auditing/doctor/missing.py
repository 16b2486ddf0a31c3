"""What a task lacks without being refused, each with the next step."""

from collections.abc import Iterator

from efface.auditing.doctor.evidence_facts import FEW_BOTH, FEW_NEVER_SEEN, FEW_TRAINING, TOO_LITTLE
from efface.task import Task

UNNAMED = (
    "Task.ids: records are named by position, which changes with the data; give the permanent ids that requests name"
)
NO_TEST = (
    "Task.test: the accuracy of an unlearned model is read on no records of its own; give records that nothing used"
)
NO_FIT = (
    "Task.fit: level strong, and training anew where unlearning does not suffice, need the training recipe; give "
    "fit(model, dataset, seed)"
)
NO_BUILD = (
    "Task.build_model: untrained networks are made by resetting copies of the model, and weights files have no network "
    "to be loaded into; give the function that makes it"
)
NO_GROUPS = "Task.groups: where one person may have several records, give each record the key of its person"
NO_HOLDOUT_GROUPS = (
    "Task.holdout_groups: holdout records of one person are taken for several; give the same keys as for Task.groups"
)
NO_DESCRIBE = "Task.describe: whoever checks a request sees ids and labels alone; give what describes a record"

WAYS_OUT = {
    FEW_NEVER_SEEN: "give a larger holdout, or rehearse small requests (--rehearse)",
    FEW_TRAINING: "rehearse small requests (--rehearse)",
    FEW_BOTH: "give a larger holdout, and rehearse small requests (--rehearse)",
    TOO_LITTLE: "a request of records that the model memorised may show more",
}


def missing_parts(task: Task, shortage: str) -> Iterator[str]:
    """What a task lacks.

    Args:
        task: The task.
        shortage: Why a test could clear no request of random records; empty if it could, or that was not measured.
    """
    if shortage:
        yield f"evidence for random records: {shortage}; {WAYS_OUT[shortage]}"
    absent = {
        NO_TEST: task.test is None,
        NO_FIT: task.fit is None,
        NO_BUILD: task.build_model is None,
        UNNAMED: task.ids is None or isinstance(task.ids, str),
        NO_GROUPS: task.groups is None,
        NO_HOLDOUT_GROUPS: task.groups is not None and task.holdout_groups is None,
        NO_DESCRIBE: task.describe is None,
    }
    yield from (line for line, is_absent in absent.items() if is_absent)
