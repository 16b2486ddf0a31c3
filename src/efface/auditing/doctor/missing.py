"""What a task lacks without being refused, each with the next step."""

from collections.abc import Iterator

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


def missing_parts(task: Task, least_request: int | None, is_measured: bool) -> Iterator[str]:
    """What a task lacks.

    Args:
        task: The task.
        least_request: The least number of random records for which a test could clear a model; None if there is none.
        is_measured: Whether that could be measured.
    """
    if is_measured and least_request is None:
        yield (
            "evidence for random records: doing nothing shows too little for the sizes of request and holdout here; "
            "give a larger holdout, or rehearse small requests (--rehearse)"
        )
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
