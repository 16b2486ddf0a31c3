"""What reports call the statistics of a kind, and what they show of records besides."""

from typing import NamedTuple

from torch import Tensor


class Words(NamedTuple):
    """What reports call the statistics of a kind.

    Args:
        margin: The margin, in a few words that follow its name in brackets.
        definition: The margin, as one sentence that a reader who knows no more understands.
        utility: What is lost where answers get worse, within a sentence.
        other: The statistic that the margin does not determine, as the title of a test.
        other_short: What it is a gap of, as a part of a title.
        values: All that is compared, as a part of a title.
    """

    margin: str
    definition: str
    utility: str = "accuracy"
    other: str = "Gap between the two best other classes"
    other_short: str = "other classes"
    values: str = "all logits"


class Measure(NamedTuple):
    """A number for each record that reports show and that decides nothing.

    Args:
        key: Short name, unique among those of the kind.
        title: Name for people, with the unit.
        of_records: The numbers, (n,), float64.
    """

    key: str
    title: str
    of_records: Tensor
