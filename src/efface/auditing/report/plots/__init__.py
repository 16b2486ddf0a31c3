"""The figures of a report as inline SVG; each function takes one part of a valid document.

matplotlib is imported inside the functions because it is slow to import. pyplot and the caller's rcParams are not
changed, and the same document always gives the same bytes.
"""

from efface.auditing.report.plots.cost import cost
from efface.auditing.report.plots.effects import effects
from efface.auditing.report.plots.evidence import evidence
from efface.auditing.report.plots.roc import roc
from efface.auditing.report.plots.scores import distributions

__all__ = ["cost", "distributions", "effects", "evidence", "roc"]
