"""What an audit is asked for."""

from enum import StrEnum


class Level(StrEnum):
    """How much an audit spends on evidence."""

    QUICK = "quick"  # no extra models; only requests that look like a random sample
    STANDARD = "standard"  # a few reference models
    STRONG = "strong"  # ensembles of originals, unlearned and retrained models
