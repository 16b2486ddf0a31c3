"""The checked inputs of an audit: the judged models, and the records and models that they are compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from efface.auditing.checks import AuditCall, check_audit_call, idle_note
from efface.auditing.config import Level
from efface.auditing.options import AuditOptions
from efface.data.splits import Splits, leave_out, make_splits
from efface.methods import Method
from efface.models.checkpoint import weights_digest
from efface.request import Request
from efface.runtime.printing import Brief
from efface.runtime.seeds import derive_seed
from efface.types import Indices
from efface.unlearning.options import UnlearnOptions
from efface.unlearning.result import Result

MAX_RETAIN = 2000  # retain records on which utility is read
MAX_NONMEMBERS = 5000
ENTIRE_HOLDOUT = "no run of efface is known to have made these weights: all of the holdout was taken as used by nobody"
RUN_NOT_CHECKED = (
    "which run made these weights, and so which holdout records it used, was stated with them and is not checked"
)
OTHER_SEED = "the audit drew from seed"  # begins a remark, which is no warning
UNCHANGED = "the unlearned weights are bit for bit the original's: nothing was unlearned"


@dataclass(frozen=True, repr=False)
class AuditInputs(Brief):
    """The checked inputs of an audit.

    Args:
        result: The run that made the unlearned model; None for two models of any origin.
        level: Level of the audit.
        options: Options of the audit.
        seed: Seed that all random draws of the audit derive from.
        report_seed: Seed that the report states: that of the run, else the one given to the audit.
        method: The method that made the unlearned model; None if it is not known.
        request: The request.
        original: The model before unlearning.
        unlearned: The model after it.
        retrained: Models trained without the forget set.
        references: Reference models that were given; empty if none were.
        reference_count: How many reference models to train; 0 if they were given.
        splits: The splits of the run that made the model; if it is not known, those of a run drawn by the audit.
        nonmembers: Positions in the holdout of the never-seen records to compare with.
        retain: Positions in the training set of the retain records on which utility is read.
        reference_records: Positions in the training set of the retain records that reference models are trained on.
        kinds: Kinds of forget records, as masks over `request.ids`.
        digests: Digests of the weights of `original` and `unlearned`.
        used_reference: Digest of the weights of the reference model that the method and its stop rule used; None if
            it is not known.
        notes: Warnings of the run and of the checks.
    """

    result: Result | None
    level: Level
    options: AuditOptions
    seed: int
    report_seed: int
    method: Method | None
    request: Request
    original: nn.Module
    unlearned: nn.Module
    retrained: Sequence[nn.Module]
    references: Sequence[nn.Module]
    reference_count: int
    splits: Splits
    nonmembers: Indices
    retain: Indices
    reference_records: Indices
    kinds: Mapping[str, Tensor]
    digests: tuple[str, str]
    used_reference: str | None
    notes: tuple[str, ...]

    @property
    def run_is_known(self) -> bool:
        """Whether `splits` are those of the run that made the unlearned model."""
        return self.result is not None or self.options.run_seed is not None

    @property
    def run_options(self) -> UnlearnOptions:
        """Options of the run that made the unlearned model; the defaults if it is not known."""
        if self.result is None:
            return UnlearnOptions(first_outputs=self.options.first_outputs)
        return self.result.options


def prepare(call: AuditCall) -> AuditInputs:
    """Check all arguments, and choose records that the method did not use; RequestError with every problem."""
    request, kinds = check_audit_call(call)
    judged, result, options, own = call.judged, call.result, call.options, call.draws_seed
    run_seed = options.run_seed if result is None else result.seed
    if result is not None:
        drawn = result.splits
    else:
        sizes = len(request.train), len(request.holdout)
        drawn = make_splits(request.asked, *sizes, own if run_seed is None else run_seed)
    splits = leave_out(drawn, request.kept, request.shared)
    # shuffled, since only the first MAX_NONMEMBERS are used and data sets are often sorted by class
    shuffled = np.random.default_rng(derive_seed(own, "audit", "holdout")).permutation(len(request.holdout))
    unseen = shuffled[~np.isin(shuffled, request.shared)]
    nonmembers = unseen if run_seed is None else splits.audit
    digests = weights_digest(judged.original), weights_digest(judged.model)
    notes = [*(() if result is None else result.warnings), *request.warnings]
    if not options.show_ids:
        notes = [request.without_ids.get(line, line) for line in notes]
    notes += [UNCHANGED] if digests[0] == digests[1] else []
    notes += idle_note(call)
    return AuditInputs(
        result=result,
        level=Level(call.level),
        options=options,
        seed=own,
        report_seed=call.seed or 0 if result is None else result.seed,
        method=call.method,
        request=request,
        original=judged.original,
        unlearned=judged.model,
        retrained=tuple(call.retrained),
        references=() if isinstance(call.references, int) else tuple(call.references),
        reference_count=call.references if isinstance(call.references, int) else 0,
        splits=splits,
        nonmembers=nonmembers[:MAX_NONMEMBERS],
        retain=_retain_sample(splits, derive_seed(own, "audit", "retain")),
        reference_records=splits.audit_reference,
        kinds=kinds,
        digests=digests,
        used_reference=call.used_reference,
        notes=tuple(dict.fromkeys([*notes, *_origin_notes(result, run_seed, call.seed)])),
    )


def _retain_sample(splits: Splits, seed: int) -> Indices:
    """Retain records for utility; if there are enough, ones that no model but the original was trained on."""
    unused = np.setdiff1d(
        splits.retain, np.concatenate([splits.reference, splits.heldout_retain, splits.audit_reference])
    )
    pool = unused if len(unused) >= MAX_RETAIN else splits.retain
    return np.random.default_rng(seed).permutation(pool)[:MAX_RETAIN]


def _origin_notes(result: Result | None, run_seed: int | None, seed: int | None) -> list[str]:
    """Notes on the run that made the model, and on the audit's seed if it differs from the run's."""
    if result is None:
        return [ENTIRE_HOLDOUT if run_seed is None else RUN_NOT_CHECKED]
    return [f"{OTHER_SEED} {seed}"] if seed not in (None, result.seed) else []
