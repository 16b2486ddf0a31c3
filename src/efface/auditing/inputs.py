"""What an audit judges, and the records and models that it judges by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from efface.auditing.checks import Judged, check_call, method_of, used_reference_of
from efface.auditing.config import Level
from efface.auditing.options import AuditOptions
from efface.data.splits import Splits, make_splits
from efface.methods import Method
from efface.models.checkpoint import weights_digest
from efface.request import Request
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
UNCHANGED = "the unlearned weights are bit for bit the original's: nothing was unlearned"


@dataclass(frozen=True)
class AuditInputs:
    """What is judged, the records and models to judge it by, and how: all of it checked.

    Args:
        result: The run that made the unlearned model; None for two models of any origin.
        level: How much is spent on evidence.
        options: What was asked for beside it.
        seed: Seed that all draws of the audit derive from.
        report_seed: Seed that the report states: that of the run, else the one that the audit was given.
        method: The method that made the unlearned model; None where it is not known.
        request: The request.
        original: The model before unlearning.
        unlearned: The model after it.
        retrained: Models trained without the forget set.
        references: Reference models that were handed in.
        reference_count: How many reference models to train where none were handed in.
        splits: The parts of the run that made the model, or of a run as it would have been.
        nonmembers: Positions in the holdout of the never-seen records to compare with.
        retain: Positions in the training set of the retain records on which utility is read.
        reference_records: Positions in the training set of the retain records that reference models are trained on.
        groups: Kinds of forget records, as masks over `request.ids`.
        digests: Digests of the weights of `original` and `unlearned`.
        used_reference: Digest of the weights of the reference model that the method was steered and stopped by; None
            where none is known.
        notes: What the checks found that did not refuse the audit.
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
    groups: Mapping[str, Tensor]
    digests: tuple[str, str]
    used_reference: str | None
    notes: tuple[str, ...]

    @property
    def run_is_known(self) -> bool:
        """Whether `splits` are those of the run that made the unlearned model."""
        return self.result is not None or self.options.run_seed is not None

    @property
    def run_options(self) -> UnlearnOptions:
        """How the run that made the unlearned model was made beside its method, or the defaults."""
        return UnlearnOptions() if self.result is None else self.result.options


def audit_seed(judged: Judged, seed: int | None) -> int:
    """The seed that the draws of an audit derive from, of the one that it was given, else of the run's."""
    run_seed = judged.seed if isinstance(judged, Result) else 0
    return derive_seed(seed if isinstance(seed, int) else run_seed, "audit")


def prepare(
    judged: Judged,
    level: Level | str,
    references: int | Sequence[nn.Module],
    retrained: Sequence[nn.Module],
    seed: int | None,
    options: AuditOptions,
) -> AuditInputs:
    """Check all that was asked for, and choose records that the method did not use.

    The arguments are those of `efface.audit`.

    Raises:
        RequestError: With every problem.
    """
    request, groups = check_call(judged, level, references, retrained, seed, options)
    result = judged if isinstance(judged, Result) else None
    own = audit_seed(judged, seed)
    run_seed = options.run_seed if result is None else result.seed
    if result is not None:
        splits = result.splits
    else:
        sizes = len(request.train), len(request.holdout)
        splits = make_splits(request.forget, *sizes, own if run_seed is None else run_seed)
    # all of the holdout; where it is too much, a sample, since data sets are often sorted by class
    shuffled = np.random.default_rng(derive_seed(own, "audit", "holdout")).permutation(len(request.holdout))
    nonmembers = shuffled if run_seed is None else splits.audit
    digests = weights_digest(judged.original), weights_digest(judged.model)
    notes = [*(() if result is None else result.warnings), *request.warnings]
    notes += [UNCHANGED] if digests[0] == digests[1] else []
    return AuditInputs(
        result=result,
        level=Level(level),
        options=options,
        seed=own,
        report_seed=seed or 0 if result is None else result.seed,
        method=method_of(judged, options),
        request=request,
        original=judged.original,
        unlearned=judged.model,
        retrained=tuple(retrained),
        references=() if isinstance(references, int) else tuple(references),
        reference_count=references if isinstance(references, int) else 0,
        splits=splits,
        nonmembers=nonmembers[:MAX_NONMEMBERS],
        retain=_retain_sample(splits, derive_seed(own, "audit", "retain")),
        reference_records=splits.audit_reference,
        groups=groups,
        digests=digests,
        used_reference=used_reference_of(judged, options),
        notes=tuple(dict.fromkeys([*notes, *_origin_notes(result, run_seed, seed)])),
    )


def _retain_sample(splits: Splits, seed: int) -> Indices:
    """Retain records for utility; those that no model was trained on beside the original, where there are enough."""
    unused = np.setdiff1d(
        splits.retain, np.concatenate([splits.reference, splits.heldout_retain, splits.audit_reference])
    )
    pool = unused if len(unused) >= MAX_RETAIN else splits.retain
    return np.random.default_rng(seed).permutation(pool)[:MAX_RETAIN]


def _origin_notes(result: Result | None, run_seed: int | None, seed: int | None) -> list[str]:
    """What the report says of the run that made the model, and of the audit's own seed where it is another."""
    if result is None:
        return [ENTIRE_HOLDOUT if run_seed is None else RUN_NOT_CHECKED]
    return [f"the audit drew from seed {seed}"] if seed not in (None, result.seed) else []
