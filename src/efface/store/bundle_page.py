"""The page of a bundle: one file in HTML without scripts, which needs no network, with all text escaped."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from efface.auditing.report.wording import OUTCOMES, number
from efface.store import bundle_text

SIGNS = {
    "pending": ("undecided", "\N{HORIZONTAL ELLIPSIS}"),
    "cancelled": ("undecided", "\N{EN DASH}"),
    "honoured": ("verified", "\N{CHECK MARK}"),
}


def render_bundle(bundle: Mapping[str, Any]) -> str:
    """Render the page of a bundle; the same bundle always gives the same bytes."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda name: files("efface").joinpath(name).read_text(encoding="utf-8")),
    )
    environment.filters.update(number=number)
    colour, sign = SIGNS[bundle["stage"]]
    if bundle["audit"] is not None and bundle["audit"]["conclusion"] == "not_verified":
        colour = "not_verified"
    return environment.get_template("store/bundle.html.j2").render(
        doc=bundle,
        colour=colour,
        sign=sign,
        title=bundle_text.TITLES[bundle["stage"]],
        summary=bundle_text.summary(bundle),
        checked=bundle_text.checked(bundle),
        kept=bundle_text.kept(bundle),
        unchecked=bundle_text.unchecked(bundle),
        kinds=bundle_text.KINDS,
        nothing_of_others=bundle_text.NOTHING_OF_OTHERS,
        outcomes=OUTCOMES,
    )
