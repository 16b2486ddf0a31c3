"""Looks at single requested records, where a request has few of them; they are reported and never decide."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from efface.attacks.label_margin import mean_margin
from efface.attacks.outputs import ModelOutputs, RecordOutputs, RecordSet, on_others
from efface.auditing.inputs import AuditInputs
from efface.auditing.scores import Scores
from efface.auditing.single.from_outputs import ranks_by_outputs
from efface.auditing.single.record_ranks import RecordRanks
from efface.auditing.single.relearning import Pool, ranks_by_relearning
from efface.numerics.logits import symlog
from efface.runtime.cost import Meter
from efface.runtime.seeds import derive_seed

MAX_REQUEST = 50  # records; a larger request speaks by its tests
TRAINING = 400  # training records that stay, which say what a look could have seen
MIN_TRAINING = 60  # with fewer, the nearest quarter of them is too few to say what a look could have seen


def single_record_ranks(
    inputs: AuditInputs, scores: Scores, retrained: Sequence[nn.Module], references: Sequence[nn.Module], meter: Meter
) -> tuple[RecordRanks, ...]:
    """Look at each requested record by itself, where the request is small and the audit trains reference models.

    Reference models that were given may know the training records that stay, which say what a look could have seen.

    Args:
        inputs: The checked audit.
        scores: The attacks on all models.
        retrained: Models trained without the forget set.
        references: The audit's reference models.
        meter: Charged with what is read and trained.
    """
    request, splits = inputs.request, inputs.splits
    free = np.setdiff1d(splits.retain, splits.audit_reference)  # the references know the others
    known_references = references and not inputs.references
    if len(request.forget) > MAX_REQUEST or not known_references or len(free) < MIN_TRAINING:
        return ()
    rng = np.random.default_rng(derive_seed(inputs.seed, "single records"))
    staying = np.sort(rng.choice(free, min(TRAINING, len(free)), replace=False))
    models, known = [inputs.original, *references], [scores.original, *scores.references]
    training = on_others(request.task, models, known, RecordSet(request.train, staying), inputs.seed, meter)
    requested = Pool(request.forget, *_difficulty(scores.references, "forget"))
    never_seen = Pool(inputs.nonmembers, *_difficulty(scores.references, "nonmembers"))
    stay = Pool(staying, *_difficulty(training[1:], "forget"))
    distance = (requested.difficulty[:, None] - stay.difficulty).abs()
    return (
        *ranks_by_outputs(scores, training, distance),
        ranks_by_relearning(inputs, retrained, requested, never_seen, stay, meter),
    )


def _difficulty(references: Sequence[ModelOutputs], place: str) -> tuple[Tensor, Tensor | None]:
    """The mean margin of records under the references, on the symmetric log, and their classes, if any."""
    read: list[RecordOutputs] = [getattr(r, place) for r in references]
    return symlog(mean_margin(read)), read[0].rules.classes(read[0].targets)
