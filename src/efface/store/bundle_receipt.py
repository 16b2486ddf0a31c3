"""The receipt of a request of a store: made from its bundle alone, so that it holds nothing beyond that."""

from collections.abc import Iterator, Mapping
from typing import Any

from efface.auditing.report.receipt import Line, Receipt
from efface.runtime.printing import how_many
from efface.store import bundle_text

TITLE = "Receipt for an erasure request"
NOTHING_ERASED = "Nothing was erased, so nothing was tested."
REJECTED = (
    "No model that honours this request is in use. Tests of a model that was rejected are not part of this receipt."
)


def receipt_of(bundle: Mapping[str, Any]) -> Receipt:
    """The receipt of a bundle; the note of the request is left out, since anything may stand in it."""
    audit, checked = bundle["audit"], bundle_text.checked(bundle)
    tested = checked[1:]
    if audit is None and bundle["stage"] != "honoured":
        tested = [REJECTED if bundle["rejected"] else NOTHING_ERASED]
    return Receipt(
        title=TITLE,
        conclusion=bundle_text.title(bundle),
        status=bundle["stage"] if audit is None else audit["conclusion"],
        made=bundle["exported"][:10],
        parts=(
            ("The request", list(_request(bundle))),
            ("Versions of the model", list(_models(bundle))),
            ("What was tested", [Line(s) for s in tested]),
            ("Result", [Line(s) for s in (*bundle_text.summary(bundle), *checked[:1])]),
            ("Limits, and what else may hold the data", [Line(s) for s in bundle_text.kept(bundle)]),
            ("What cannot be checked any more", [Line(s) for s in bundle_text.unchecked(bundle)]),
        ),
        footer=(
            f"This receipt holds no record and no id of a record, and nothing about other requests. Made with efface "
            f"{bundle['made_with']['efface']}; the same facts and more are in request.json. Last event of the whole "
            f"history on that day: {bundle['head']}"
        ),
    )


def _request(bundle: Mapping[str, Any]) -> Iterator[Line]:
    yield Line(bundle["reference"], "Reference")
    yield Line(how_many(bundle["records"], "training record"), "Records")
    for name, at in (
        ("Asked on", bundle["requested"]),
        ("Due by", bundle["due"]),
        ("Cancelled on", bundle["cancelled"]),
        ("Honoured on", bundle["honoured"]),
    ):
        if at is not None:
            yield Line(at[:10], name)


def _models(bundle: Mapping[str, Any]) -> Iterator[Line]:
    if bundle["models"] is not None:
        yield Line(bundle["models"]["honoured_by"]["file"], "First that honours it")
        yield Line(bundle["models"]["in_service"]["file"], "In use on this day")
