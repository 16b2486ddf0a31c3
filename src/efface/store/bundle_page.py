"""The page of a bundle: one file in HTML without scripts, which needs no network, with all text escaped."""

from collections.abc import Mapping
from typing import Any

from efface.auditing.report.wording import OUTCOMES, number
from efface.runtime.templates import page_templates
from efface.store import bundle_text

# the colour and the sign beside the title, by the stage or by the audit's conclusion
SIGNS = {
    "pending": ("undecided", "\N{HORIZONTAL ELLIPSIS}"),
    "cancelled": ("undecided", "\N{EN DASH}"),
    "honoured": ("undecided", "?"),
    "verified": ("verified", "\N{CHECK MARK}"),
    "verified_by_rehearsal": ("verified", "\N{CHECK MARK}"),
    "no_trace_found": ("no_trace_found", "\N{EMPTY SET}"),
    "retrained": ("verified", "\N{CHECK MARK}"),
    "not_verified": ("not_verified", "\N{BALLOT X}"),
}


def render_bundle(bundle: Mapping[str, Any]) -> str:
    """Render the page of a bundle; the same bundle always gives the same bytes."""
    environment = page_templates("efface")
    environment.filters.update(number=number)
    conclusion = None if bundle["audit"] is None else bundle["audit"]["conclusion"]
    colour, sign = SIGNS[conclusion if conclusion in SIGNS else bundle["stage"]]
    return environment.get_template("store/bundle.html.j2").render(
        doc=bundle,
        colour=colour,
        sign=sign,
        title=bundle_text.title(bundle),
        noted=bundle_text.noted(bundle),
        summary=bundle_text.summary(bundle),
        checked=bundle_text.checked(bundle),
        kept=bundle_text.kept(bundle),
        unchecked=bundle_text.unchecked(bundle),
        rows=bundle["rows"][: bundle_text.SHOWN_ROWS],
        more_rows=bundle_text.shown_rows(bundle),
        kinds=bundle_text.KINDS,
        nothing_of_others=bundle_text.NOTHING_OF_OTHERS,
        outcomes=OUTCOMES,
    )
