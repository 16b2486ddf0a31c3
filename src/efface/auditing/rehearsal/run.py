"""A rehearsal: the process that made an unlearned model is tried on other records of the requested kind."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch import nn

from efface.auditing.inputs import AuditInputs
from efface.auditing.rehearsal.candidates import draw
from efface.auditing.rehearsal.findings import Rehearsal
from efface.auditing.rehearsal.readings import Readings, read_all
from efface.auditing.rehearsal.runs import deal, rehearse
from efface.auditing.rehearsal.size import choose_size
from efface.auditing.scores import Scores
from efface.auditing.verdict import Forgotten, decide
from efface.methods.base import Method
from efface.numerics.clusters import count_clusters
from efface.runtime.cost import Meter
from efface.runtime.progress import track


def rehearsal(
    inputs: AuditInputs, method: Method, references: Sequence[nn.Module], audited: Scores, meter: Meter
) -> Rehearsal:
    """Rehearse the request of an audit.

    Records of the requested kind are drawn, as many as doing nothing says are needed, and dealt into batches. The
    request is unlearned together with each batch, from a copy of the original. The process is judged on the rehearsed
    records, each by the model that forgot it, and the requested ones are looked for among them. No model is kept.

    Args:
        inputs: The checked audit.
        method: The method that made the judged model.
        references: The audit's reference models.
        audited: What the audit read of these and of both models.
        meter: Charged with the runs, and with what is read.

    Raises:
        NoRehearsalError: There are too few records that could be rehearsed, or they fill no two batches.
        NothingUnlearnedError: A run kept no change of the weights.
        DivergedError: The weights or the logits became NaN or infinite.
    """
    like = draw(inputs, references, meter)
    before = read_all(inputs, like.positions, references, audited, meter)
    size = choose_size(before.results(before.original), len(like.positions), before.requested_groups == 1)
    joined = deal(inputs, like.positions[: group_end(before, size.records)])
    with track("rehearsing", len(joined), inputs.options.progress) as advance:

        def made() -> Iterator[nn.Module]:
            for number, request in enumerate(joined):
                yield rehearse(inputs, method, request, number, meter)
                advance()

        kept = before.kept(np.concatenate([request.forget for request in joined]))
        read = kept.with_runs(made(), joined, meter)
    records = len(read.positions) - read.requested
    tests = read.tests()
    groups = None if read.groups is None else count_clusters(read.groups[read.requested :])
    process = decide(tests, None, Forgotten(records, groups), "never-seen records of equal difficulty")
    return Rehearsal(
        records=records,
        runs=len(joined),
        size=size,
        tests=tests,
        process=process,
        doing_nothing_fails=any(t.original.excludes(0.0) for t in tests if not t.uninformative_reason),
        no_trace=read.no_trace(),
        standings=read.standings(),
        agreement=read.agreement(),
        alone=like.alone,
    )


def group_end(read: Readings, records: int) -> int:
    """How many of the drawn records are to be taken, so that whole groups are: `records`, or a few more.

    Args:
        read: The readings of all that were drawn.
        records: How many are wanted.
    """
    if read.groups is not None:
        groups = read.groups[read.requested :]
        while records < len(groups) and groups[records] == groups[records - 1]:
            records += 1
    return records
