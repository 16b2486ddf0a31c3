"""A rehearsal: the process that made an unlearned model is tried on other records of the requested kind."""

from collections.abc import Sequence

from torch import nn

from efface.auditing.inputs import AuditInputs
from efface.auditing.rehearsal.candidates import draw
from efface.auditing.rehearsal.findings import Rehearsal
from efface.auditing.rehearsal.readings import read_all
from efface.auditing.rehearsal.runs import join, rehearse
from efface.auditing.rehearsal.size import choose_size
from efface.auditing.scores import Scores
from efface.auditing.verdict import Forgotten, decide
from efface.methods.base import Method
from efface.numerics.clusters import count_clusters
from efface.runtime.cost import Meter

RUNS = 2


def rehearsal(
    inputs: AuditInputs, method: Method, references: Sequence[nn.Module], audited: Scores, meter: Meter
) -> Rehearsal:
    """Rehearse the request of an audit.

    Records of the requested kind are drawn, as many as doing nothing says are needed; both are unlearned together,
    twice, from copies of the original; the process is judged on the rehearsed records of the first of these models, and
    the requested ones are looked for among them. Neither model is kept.

    Args:
        inputs: The checked audit.
        method: The method that made the judged model.
        references: The audit's reference models.
        audited: What the audit read of these and of both models.
        meter: Charged with the runs, and with what is read.

    Raises:
        NoRehearsalError: There are too few records that could be rehearsed.
        NothingUnlearnedError: A run kept no change of the weights.
        DivergedError: The weights or the logits became NaN or infinite.
    """
    like = draw(inputs, references, meter)
    before = read_all(inputs, like.positions, references, audited, meter)
    single = before.requested == 1
    size = choose_size(before.results(before.original), len(like.positions), single)
    joined = join(inputs, like.positions[: size.records])
    models = [rehearse(inputs, method, joined, number, meter) for number in range(RUNS)]
    # read on all drawn records first, so that the copies that every model sees are the same ones
    read = before.with_runs(models, meter).kept(joined.forget)
    records = len(read.positions) - read.requested
    tests = read.tests()
    groups = None if read.groups is None else count_clusters(read.groups[read.requested :])
    process = decide(tests, None, Forgotten(records, groups), "never-seen records of equal difficulty")
    return Rehearsal(
        records=records,
        size=size,
        tests=tests,
        process=process,
        doing_nothing_fails=any(t.original.excludes(0.0) for t in tests if not t.uninformative_reason),
        no_trace=read.no_trace(),
        standings=read.standings(),
        agreement=read.agreement(),
        alone=like.alone,
    )
