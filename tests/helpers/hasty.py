"""Parts of an audit that take seconds and are left out, or cut short, where no test reads them."""

from dataclasses import replace
from typing import Any

import pytest

from efface.auditing.report import plots, receipt_pdf
from efface.auditing.single import relearning
from efface.models.training import train

LOOKS = relearning.MAX_RECORDS  # how many records an audit learns again for users


def undrawn(patch: pytest.MonkeyPatch) -> None:
    """Let reports have no figures, and receipts in PDF no content."""
    for name in plots.__all__:
        patch.setattr(plots, name, lambda *_: None)
    patch.setattr(receipt_pdf, "receipt_pdf", lambda _: b"%PDF-1.3\n%%EOF\n")


def few_looks(patch: pytest.MonkeyPatch, records: int = 1) -> None:
    """Let audits of few records learn one of them again, since each takes as long as the rest of a small audit."""
    patch.setattr(relearning, "MAX_RECORDS", records)


def brief_audits(patch: pytest.MonkeyPatch) -> None:
    """Let audits train and fit next to nothing, for tests of what an audit does and not of what it finds."""

    def briefly(*given: Any) -> Any:
        *before, recipe, seed, meter = given
        return train(*before, replace(recipe, epochs=1, least_steps=20), seed, meter)

    patch.setattr("efface.auditing.references.train", briefly)
    patch.setattr("efface.numerics.minimise.ROUNDS", 3)
    patch.setattr("efface.auditing.run.single_record_ranks", lambda *_: ())
