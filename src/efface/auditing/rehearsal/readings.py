"""The outputs of all models of a rehearsal on requested, rehearsed and never-seen records, and what they show."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from efface.attacks import ATTACKS
from efface.attacks.label_margin import mean_margin
from efface.attacks.outputs import ModelOutputs, RecordOutputs, RecordSet, collect_outputs, join_outputs, on_others
from efface.auditing.attack_tests import attack_tests
from efface.auditing.audit_test import EQUIVALENCE, AuditTest, adjust_tests
from efface.auditing.config import MAX_HEAD
from efface.auditing.inputs import AuditInputs
from efface.auditing.rehearsal.findings import PROCESS, Agreement, Standing
from efface.auditing.rehearsal.known import fallen, in_order, lira_scores, rows_of, signs, statistics
from efface.auditing.rehearsal.like import as_members, draw_like
from efface.auditing.rehearsal.size import NO_TRACE
from efface.auditing.rehearsal.standing import by_group, stand
from efface.auditing.scores import Scores
from efface.metrics.membership import AucResult
from efface.metrics.standing_out import standing_out
from efface.numerics.clusters import count_clusters, repeats
from efface.request import Request
from efface.runtime.cost import Meter
from efface.runtime.printing import Brief
from efface.runtime.seeds import derive_seed
from efface.types import Indices

NEVER_SEEN = 400  # records that the requested ones are looked for among, at most
IN_REHEARSAL = "among the rehearsed records, in models that forgot both"
IN_DEPLOYED = "among never-seen records of their difficulty, in the deployed model"


@dataclass(frozen=True, repr=False)
class Readings(Brief):
    """The outputs of models on requested records, on rehearsed ones, and on never-seen ones.

    Args:
        inputs: The checked audit.
        positions: Positions of the requested records, and then of the rehearsed ones.
        original: Outputs of the original on both (as `forget`), and on never-seen records.
        deployed: Those of the judged model.
        references: Those of the reference models.
        rehearsed: Those of the runs of the rehearsal, each record's by one of these; None before they are made.
        requested_by_run: What each run says of the requested records.
    """

    inputs: AuditInputs
    positions: Indices
    original: ModelOutputs
    deployed: ModelOutputs
    references: Sequence[ModelOutputs]
    rehearsed: ModelOutputs | None = None
    requested_by_run: Sequence[RecordOutputs] = ()

    @property
    def requested(self) -> int:
        """How many records were requested."""
        return len(self.inputs.request.forget)

    @property
    def requested_groups(self) -> int:
        """How many groups were requested; records where each is a group of its own."""
        return self.requested if self.groups is None else count_clusters(self.groups[: self.requested])

    @property
    def groups(self) -> Tensor | None:
        """The number of each record's group, requested ones first; None where each is a group of its own."""
        numbers = self.inputs.request.clusters_of(self.positions)
        return numbers if repeats(numbers) else None

    def kept(self, rehearsed: Indices) -> "Readings":
        """The readings with some of the rehearsed records only.

        Args:
            rehearsed: Their positions in the training set.
        """
        rows = np.concatenate([np.ones(self.requested, bool), np.isin(self.positions[self.requested :], rehearsed)])
        at = torch.from_numpy(rows)

        def fewer(models: Sequence[ModelOutputs]) -> list[ModelOutputs]:
            return [replace(m, forget=rows_of(m.forget, at)) for m in models]

        original, deployed = fewer([self.original, self.deployed])
        return Readings(self.inputs, self.positions[rows], original, deployed, fewer(self.references))

    def with_runs(self, models: Iterable[nn.Module], joined: Sequence[Request], meter: Meter) -> "Readings":
        """The readings with those of the runs of the rehearsal.

        A rehearsed record is read by the run that forgot it. Requested groups and never-seen records are dealt among
        the runs in proportion to the rehearsed records of each, so that all are read by the same mixture of models:
        what one run does to all records then tells none of them apart.

        Args:
            models: The model of each run; none is kept when the next is made.
            joined: What each run forgot.
            meter: Charged with what is read.
        """
        request, q, unseen = self.inputs.request, self.requested, self.inputs.nonmembers
        turns = _turns([int(np.isin(self.positions[q:], run.forget).sum()) for run in joined])
        groups = np.arange(q) if self.groups is None else self.groups[:q].numpy()
        of_asked = turns[groups % len(turns)]
        order = np.random.default_rng(derive_seed(self.inputs.seed, "dealt")).permutation(len(unseen))
        of_unseen = turns[order % len(turns)]
        retain = RecordSet(request.train, self.inputs.reference_records[:MAX_HEAD])
        found, kept, rows, others = list[ModelOutputs](), list[RecordOutputs](), list[Indices](), list[Indices]()
        for number, (model, run) in enumerate(zip(models, joined, strict=True)):
            dealt, own = np.flatnonzero(of_asked == number), np.flatnonzero(np.isin(self.positions[q:], run.forget))
            positions = np.concatenate([self.positions[:q], self.positions[q + own]])
            rows.append(np.concatenate([dealt, q + own]))
            others.append(np.flatnonzero(of_unseen == number))
            sets = RecordSet(request.train, positions), RecordSet(request.holdout, unseen[others[-1]])
            task = request.task.after(positions)
            found += collect_outputs(task, [model], *sets, retain, self.inputs.seed, meter)
            at = np.concatenate([dealt, np.arange(q, len(positions))])
            kept.append(rows_of(found[-1].forget, torch.from_numpy(at)))
        asked = [rows_of(m.forget, torch.arange(q)) for m in found]
        read = ModelOutputs(in_order(kept, rows), in_order([m.nonmembers for m in found], others))
        return replace(self, rehearsed=read, requested_by_run=asked)

    @property
    def judged(self) -> ModelOutputs:
        """The outputs of the runs of the rehearsal."""
        if self.rehearsed is None:
            raise RuntimeError("the runs of the rehearsal are judged after they are made")
        return self.rehearsed

    def results(self, model: ModelOutputs) -> dict[str, AucResult]:
        """The AUC of each deciding attack on a model, for the rehearsed records."""
        scores = self._scores(model)
        found = {a.key: scores.auc_result(a, 1) for a in ATTACKS if scores.decides(a)}
        return {key: result for key, result in found.items() if result is not None}

    def tests(self) -> list[AuditTest]:
        """The tests of the process: of the runs of the rehearsal, on the rehearsed records."""
        tests = adjust_tests(attack_tests(self._scores(self.judged)))
        return [replace(t, p_adjusted=min(1.0, t.p_adjusted / PROCESS)) for t in tests]

    def no_trace(self) -> bool:
        """Whether every attack shows that original and rehearsal lie within NO_TRACE of a model that never saw them."""
        found = [r for model in (self.original, self.judged) for r in self.results(model).values()]
        return bool(found) and all(r.effect().estimate(EQUIVALENCE).within(0.0, NO_TRACE) for r in found)

    def standings(self) -> list[Standing]:
        """How the requested records stand among the rehearsed ones, and among never-seen ones."""
        seed, groups, references = self.inputs.seed, self.groups, [r.forget for r in self.references]
        turned, run = signs(self.results(self.original)), self.judged.forget
        was, left = (lira_scores(o, references) for o in (self.original.forget, run))
        # beside what is known of them, how far they fell tells records that were skipped from those that were not
        now = torch.cat([statistics(run, references, turned), fallen(left, was)[None]])
        skipped = statistics(self.original.forget, references, turned, beside=run)
        now, before = (
            by_group(rows, groups) for rows in (now, torch.cat([skipped, fallen(was, was, left, was)[None]]))
        )
        count = self.requested_groups
        among = now, before[:, count:], count, derive_seed(seed, "rehearsed")
        if groups is not None:  # never-seen records are no persons with several records
            return [stand(IN_REHEARSAL, *among, tests=1)]
        return [stand(IN_REHEARSAL, *among, tests=2), self._among_never_seen(turned)]

    def agreement(self) -> Agreement:
        """Whether the deployed model treats the requested records as the runs of the rehearsal do."""
        q, references = self.requested, [r.forget for r in self.references]
        was, deployed, now = (lira_scores(m.forget, references) for m in (self.original, self.deployed, self.judged))
        own = fallen(deployed[:q], was[:q], now[q:], was[q:])
        away = torch.cat([own, fallen(now[q:], was[q:])]).abs()
        beside = [rows_of(r, torch.arange(q)) for r in references]
        by_run = torch.stack([lira_scores(outputs, beside) for outputs in self.requested_by_run])
        shift = float((deployed[:q] - by_run.mean(0)).mean())
        spread = float(by_run.var(0).mean().sqrt())
        p = standing_out(away[None], q, derive_seed(self.inputs.seed, "agree")).p
        return Agreement(p, shift, spread)

    def _among_never_seen(self, turned: dict[str, int]) -> Standing:
        q, seed = self.requested, derive_seed(self.inputs.seed, "never seen")
        rows = torch.arange(len(self.positions))
        expected = mean_margin([r.forget for r in self.references])
        unseen = mean_margin([r.nonmembers for r in self.references])
        asked = as_members(self.positions[:q], expected[:q])
        others = as_members(np.arange(len(unseen)), unseen)
        near = torch.from_numpy(np.sort(draw_like(asked, others, min(NEVER_SEEN, len(unseen) // 2), seed).positions))

        def with_near(model: ModelOutputs, at: Tensor) -> RecordOutputs:
            return join_outputs(rows_of(model.forget, at), rows_of(model.nonmembers, near))

        def shown(forget: RecordOutputs, at: Tensor, beside: RecordOutputs | None = None) -> Tensor:
            return statistics(forget, [with_near(r, at) for r in self.references], turned, beside)

        now = shown(with_near(self.deployed, rows[:q]), rows[:q])
        # the rehearsed records as the original has them, beside never-seen ones as the deployed model has them
        left = join_outputs(rows_of(self.original.forget, rows[q:]), rows_of(self.deployed.nonmembers, near))
        before = shown(left, rows[q:])[:, : len(rows) - q]
        return stand(IN_DEPLOYED, now, before, q, seed, tests=2, apart=True)

    def _scores(self, model: ModelOutputs) -> Scores:
        """The attacks on the original and one other model, for the rehearsed records."""
        at = torch.arange(self.requested, len(self.positions))
        own = [replace(m, forget=rows_of(m.forget, at)) for m in (self.original, model, *self.references)]
        request = self.inputs.request
        clusters = request.clusters_of(self.positions[self.requested :])
        nonmembers = request.clusters_of(self.inputs.nonmembers, "holdout")
        return Scores(own[0], own[1], [], own[2:], {}, clusters=(clusters, nonmembers), by_margin=True)


def _turns(sizes: Sequence[int]) -> Indices:
    """Numbers of runs, each as often as its size, and each spread evenly over all."""
    places = [((k + 0.5) / size, number) for number, size in enumerate(sizes) for k in range(size)]
    return np.array([number for _, number in sorted(places)], dtype=np.int64)


def read_all(
    inputs: AuditInputs, rehearsed: Indices, references: Sequence[nn.Module], audited: Scores, meter: Meter
) -> Readings:
    """Read the original, the judged and the reference models on the requested and the rehearsed records.

    Args:
        inputs: The checked audit.
        rehearsed: Positions of the rehearsed records.
        references: The reference models.
        audited: What the audit read of all these models on never-seen records.
        meter: Charged with what is read.
    """
    request, positions = inputs.request, np.concatenate([inputs.request.forget, rehearsed])
    models, known = [inputs.original, inputs.unlearned, *references], [*audited.models[:2], *audited.references]
    found = on_others(request.task, models, known, RecordSet(request.train, positions), inputs.seed, meter)
    return Readings(inputs, positions, found[0], found[1], found[2:])
