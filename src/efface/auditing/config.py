"""What an audit is asked for."""

from enum import StrEnum

REFERENCES = 4  # reference models of an audit, by default
MODELS = 32  # models of each ensemble, by default
MIN_MODELS = 8


class Level(StrEnum):
    """How much an audit spends on evidence."""

    QUICK = "quick"  # no extra models; only requests that look like a random sample
    STANDARD = "standard"  # a few reference models
    STRONG = "strong"  # ensembles of originals, unlearned and retrained models
